"""What a live session sends back: over LSL, and to whatever else its settings name.

Owns the session's LSL outlets and the list of its outputs. A stream that cannot be sent is a
warning, never the session's end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from app.outputs.feed import PictureFeed
from app.outputs.opening import open_outputs
from app.outputs.port import Output, Sent
from app.port import Result
from app.runtime.folder import result_to_json
from configs import OutletsConfig, SessionConfig
from devices.errors import OutletError
from devices.lsl.outlet import (
    CodesOutlet,
    EmbeddingOutlet,
    EventsOutlet,
    Outlet,
    QualityOutlet,
    own_source_id,
    withdraw,
)
from pipeline.errors import PhospheneError
from pipeline.signal_quality import GRADES, ChannelQuality
from pipeline.values import Float32, Marker

_Outlet = TypeVar("_Outlet", bound=Outlet)


def quality_vector(newest: Sequence[ChannelQuality]) -> Float32:
    """Grades as numbers, 0 bad to 1 good, shape (n_channels,)."""
    return np.array([GRADES[each.grade] for each in newest], dtype=np.float32)


class LslStreams:
    """The LSL outlets of one session; satisfies `Output`, safe from any thread.

    Parameters
    ----------
    config : OutletsConfig
    ch_names : sequence of str
        Of the quality stream.
    labels : sequence of str
        Markers that are known beforehand.
    session : str
        Ends each `source_id`, so that two sessions on one machine have different ones.
    warn : callable
        Takes sentences.

    Raises
    ------
    OutletError
        LSL gives no outlet.
    """

    def __init__(
        self,
        config: OutletsConfig,
        ch_names: Sequence[str],
        *,
        labels: Sequence[str] = (),
        session: str = "",
        warn: Callable[[str], None],
    ) -> None:
        self._prefix, self._session, self._warn = config.prefix, session, warn
        self._lock = threading.Lock()
        self._closed = self._has_failed = False
        self._open: list[Outlet] = []
        try:
            self.events = self._keep(EventsOutlet(**self._named("events")))
            self.quality = self._keep(QualityOutlet(ch_names, **self._named("quality")))
            self.codes = (
                self._keep(CodesOutlet(labels, **self._named("codes"))) if config.codes else None
            )
        except OutletError:
            self.close()
            raise
        self.embedding: EmbeddingOutlet | None = None

    @property
    def about(self) -> str:
        """Names of the streams."""
        return f"LSL streams {self._prefix}-*"

    def expect(self, n_features: int) -> None:
        """Open the stream of embeddings, once their length is known; safe to call again."""
        with self._lock:
            if self.embedding is not None or self._closed or self._has_failed:
                return
            try:
                self.embedding = self._keep(EmbeddingOutlet(n_features, **self._named("embedding")))
            except OutletError as error:
                self._has_failed = True
                self._warn(str(error))

    def send(self, sent: Sent) -> None:
        """Send an event, and the embedding behind it; both stamped with the onset."""
        self.events.push(sent.line, sent.t_onset)
        if sent.vector is not None:
            self.expect(sent.vector.size)
            if self.embedding is not None:
                self.embedding.push(sent.vector.ravel(), sent.t_onset)

    def send_quality(self, newest: Sequence[ChannelQuality], at: float) -> None:
        """Send a second's grades, stamped with its last sample."""
        self.quality.push(quality_vector(newest), at)

    def send_marker(self, marker: Marker) -> None:
        """Send a marker's number, stamped with its onset."""
        if self.codes is not None:
            self.codes.push(marker.label, marker.t_onset)

    def close(self) -> None:
        """Withdraw the streams; safe to call twice."""
        with self._lock:
            self._closed = True
            opened, self._open = self._open, []
        withdraw(*opened)

    def _named(self, kind: str) -> dict[str, str]:
        name = f"{self._prefix}-{kind}"
        return {"name": name, "source_id": own_source_id(name, self._session)}

    def _keep(self, outlet: _Outlet) -> _Outlet:
        self._open.append(outlet)
        return outlet


class Publisher:
    """Everything that one session sends out; safe from any thread.

    Parameters
    ----------
    streams : LslStreams or None
    outputs : sequence of Output
        Beside LSL.
    warn : callable
        Takes sentences.
    """

    def __init__(
        self,
        streams: LslStreams | None,
        outputs: Sequence[Output],
        *,
        warn: Callable[[str], None],
    ) -> None:
        self.streams = streams
        self._outputs = tuple(outputs)
        self._all: tuple[Output, ...] = (*([streams] if streams is not None else []), *outputs)
        self._warn = warn

    @property
    def about(self) -> tuple[str, ...]:
        """Where the outputs beside LSL send to."""
        return tuple(output.about for output in self._outputs)

    @property
    def feed(self) -> str:
        """Address of the picture feed, token and all; empty where there is none."""
        return next((one.url for one in self._outputs if isinstance(one, PictureFeed)), "")

    @property
    def codes(self) -> dict[str, int]:
        """Numbers of the markers that were sent as such."""
        if self.streams is None or self.streams.codes is None:
            return {}
        return dict(self.streams.codes.codes)

    def expect(self, n_features: int) -> None:
        """Open the stream of embeddings, once their length is known; safe to call again."""
        if self.streams is not None:
            self.streams.expect(n_features)

    def send_result(self, result: Result, vector: Float32 | None) -> None:
        """Send what became of an epoch."""
        sent = Sent(result_to_json(result), result.t_onset, vector, result.pixels)
        self._try(lambda output: output.send(sent))

    def send_quality(self, newest: Sequence[ChannelQuality], at: float) -> None:
        """Send a second's grades; `at` is its last sample's stamp, s."""
        self._try(lambda output: output.send_quality(newest, at))

    def send_marker(self, marker: Marker) -> None:
        """Send a marker as a number."""
        try:
            if self.streams is not None:
                self.streams.send_marker(marker)
        except OutletError as error:
            self._warn(str(error))

    def close(self) -> None:
        """End all; safe to call twice."""
        for output in self._all:
            output.close()

    def _try(self, action: Callable[[Output], None]) -> None:
        for output in self._all:
            try:
                action(output)
            except PhospheneError as error:
                self._warn(str(error))


def open_publisher(
    config: SessionConfig,
    ch_names: Sequence[str],
    *,
    labels: Sequence[str],
    session: str,
    out: Path,
    is_simulated: bool,
    warn: Callable[[str], None],
) -> Publisher | None:
    """Open what the settings ask for; what cannot be opened is a warning. None: nothing is open.

    What is published is an extra: the session is worth more.
    """
    streams = None
    if config.outlets.enabled:
        try:
            streams = LslStreams(
                config.outlets, ch_names, labels=labels, session=session, warn=warn
            )
        except OutletError as error:
            warn(str(error))
    outputs = open_outputs(config, out=out, is_simulated=is_simulated, warn=warn)
    return Publisher(streams, outputs, warn=warn) if streams is not None or outputs else None
