"""What a live session sends back over LSL: embeddings, decoded events, the channels' quality.

Owns the session's outlets. A stream that cannot be sent is a warning, never the session's end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from app.port import Result
from app.runtime.folder import result_to_json
from configs import OutletsConfig
from devices.errors import OutletError
from devices.lsl.outlet import EmbeddingOutlet, EventsOutlet, Outlet, QualityOutlet
from pipeline.signal_quality import ChannelQuality, Grade
from pipeline.values import Float32

GRADES = {Grade.GOOD: 1.0, Grade.DOUBTFUL: 0.5, Grade.BAD: 0.0}


def quality_vector(newest: Sequence[ChannelQuality]) -> Float32:
    """Grades as numbers, 0 bad to 1 good, shape (n_channels,)."""
    return np.array([GRADES[each.grade] for each in newest], dtype=np.float32)


class Publisher:
    """The outlets of one session; safe from any thread.

    Parameters
    ----------
    config : OutletsConfig
    ch_names : sequence of str
        Of the quality stream.
    warn : callable
        Takes sentences.

    Raises
    ------
    OutletError
        LSL gives no outlet.
    """

    def __init__(
        self, config: OutletsConfig, ch_names: Sequence[str], *, warn: Callable[[str], None]
    ) -> None:
        self._prefix = config.prefix
        self._warn = warn
        self._lock = threading.Lock()
        self._closed = self._has_failed = False
        self._events = EventsOutlet(name=f"{self._prefix}-events")
        self._quality = QualityOutlet(ch_names, name=f"{self._prefix}-quality")
        self._embedding: EmbeddingOutlet | None = None

    def expect(self, n_features: int) -> None:
        """Open the stream of embeddings, once their length is known; safe to call again."""
        with self._lock:
            if self._embedding is not None or self._closed or self._has_failed:
                return
            try:
                self._embedding = EmbeddingOutlet(n_features, name=f"{self._prefix}-embedding")
            except OutletError as error:
                self._has_failed = True
                self._warn(str(error))

    def send_result(self, result: Result, vector: Float32 | None) -> None:
        """Send an event, and the embedding behind it; both stamped with the onset."""
        try:
            self._events.push(result_to_json(result), result.t_onset)
            if vector is not None:
                self.expect(vector.size)
                if self._embedding is not None:
                    self._embedding.push(vector.ravel(), result.t_onset)
        except OutletError as error:
            self._warn(str(error))

    def send_quality(self, newest: Sequence[ChannelQuality], at: float) -> None:
        """Send a second's grades, stamped with its last sample."""
        try:
            self._quality.push(quality_vector(newest), at)
        except OutletError as error:
            self._warn(str(error))

    def close(self) -> None:
        """Withdraw the streams; safe to call twice."""
        with self._lock:
            self._closed = True
            outlets: list[Outlet | None] = [self._events, self._quality, self._embedding]
        for outlet in outlets:
            if outlet is not None:
                outlet.close()


def open_publisher(
    config: OutletsConfig, ch_names: Sequence[str], *, warn: Callable[[str], None]
) -> Publisher | None:
    """Open the outlets; None where they are switched off, or LSL gives none (a warning).

    What is published is an extra: the session is worth more.
    """
    if not config.enabled:
        return None
    try:
        return Publisher(config, ch_names, warn=warn)
    except OutletError as error:
        warn(str(error))
        return None
