"""The marker stream of a session, of any format, and the manual markers.

Owns that markers come out in one format for a whole session. Knows nothing of EEG or epochs.

Manual markers. A packet's stamps are in its *sender's* clock, and readers add the stream's
`ClockOffset`. A manual marker is stamped here, so the newest offset of the marker stream is
subtracted when it is handed out: adding it again gives back the moment of the key press. Without
a marker stream the offset is 0, and a `ClockOffset` says so.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from configs import MarkersConfig
from devices.errors import SourceError, StreamChangedError
from devices.lsl.changes import same_source, stranger
from devices.lsl.connection import Connection, StreamLostError
from devices.lsl.discovery import SETTLE, describe, is_marker_stream
from devices.lsl.metadata import single_channel_info
from devices.lsl.reader import RoleReader
from devices.lsl.scout import Scout
from pipeline.markers import as_text, join_columns
from pipeline.values import Float64, Packet, StreamInfo, StreamRole, StreamState

BUFFER = 360
"""Hundreds of markers that liblsl keeps for a reader that is late."""
MANUAL_SOURCE_ID = "phosphene-manual"
_AT_ONCE = 1024


class MarkerReader(RoleReader):
    """Reads the marker stream once it is there; looks for it in the background.

    Parameters
    ----------
    config : MarkersConfig or None
        Which stream; with neither name nor `source_id` the only one in reach. None: manual
        markers only.
    not_type : str
        Type that is never a marker stream: MNE-LSL's player gives its annotations the
        `source_id` of its data.
    any_host : bool
        Whether a lost stream's namesake on another machine is taken for it.
    """

    def __init__(
        self, config: MarkersConfig | None, *, not_type: str, any_host: bool = False
    ) -> None:
        super().__init__(StreamRole.MARKERS)
        self._manual: deque[tuple[str, float]] = deque()
        self._wire_format = ""
        self._any_host = any_host
        self.failure: SourceError | None = None
        """Why the stream cannot go on; None while it can."""
        if config is None:
            return
        named = config.name is not None or config.source_id is not None
        self._send(
            Scout(
                lambda candidate: (
                    candidate.type.lower() != not_type.lower()
                    and is_marker_stream(candidate, config)
                ),
                max_buflen=BUFFER,
                settle=0.0 if named else SETTLE,
                name="phosphene-marker-scout",
            )
        )

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` s for the stream to be found."""
        if self._scout is not None and timeout > 0:
            self._scout.wait(timeout)

    @property
    def has_manual(self) -> bool:
        """Whether a manual marker waits to be handed out."""
        return bool(self._manual)

    def inject(self, label: str) -> float:
        """Stamp a manual marker now (`local_clock`, s, returned). Safe from any thread.

        Raises
        ------
        SourceError
            The stream carries numbers and `label` is none.
        """
        now = float(pylsl.local_clock())
        info = self.info
        if info is not None and info.channel_format != "string":
            _number(label, info)
        self._manual.append((label, now))
        return now

    def step(self) -> None:
        """Take what is there, without waiting; put it into `items`."""
        self._adopt()
        if self.connection is not None:
            self._pull(self.connection)
        while self._manual:
            self._hand_out(*self._manual.popleft())

    def _adopt(self) -> None:
        connection = self._take()
        if connection is None:
            return
        self._send(None)
        fresh = connection.info
        if self._wire_format and fresh.channel_format != self._wire_format:
            connection.close()
            self.failure = StreamChangedError(
                f"Marker stream {fresh.name!r} came back with {fresh.channel_format} values, "
                f"expected {self._wire_format}: restore its settings, or start a new session."
            )
            self._tell(StreamState.ENDED, str(self.failure))
            return
        first, self._wire_format = not self._wire_format, fresh.channel_format
        is_text = connection.is_text or (
            self.info is not None and self.info.channel_format == "string"
        )
        # Text has one value a marker; and what began as text (manual markers) stays text.
        self.info = as_text(fresh) if is_text else fresh
        self.connection = connection
        state = StreamState.STREAMING if first else StreamState.RETURNED
        self._tell(state, f"Markers from {describe(fresh)}.")
        self._tell_offset(connection.first_offset)

    def _pull(self, connection: Connection) -> None:
        try:
            samples, stamps = self._pull_samples(connection)
        except StreamLostError as error:
            self._disconnect()
            self._tell(StreamState.LOST, f"{error} Looking for it.")
            self._send(
                Scout(
                    same_source(connection.info, any_host=self._any_host, admitted=self._admitted),
                    max_buflen=BUFFER,
                    refused=None if self._any_host else stranger(connection.info),
                    prefer_uid=connection.info.uid,
                    name="phosphene-marker-scout",
                )
            )
            return
        if len(stamps):
            self.items.append(Packet(self.role, samples, stamps, pylsl.local_clock()))

    def _pull_samples(
        self, connection: Connection
    ) -> tuple[NDArray[Any] | tuple[str, ...], Float64]:
        if connection.is_text:
            rows, stamps = connection.pull_text(_AT_ONCE)
            return tuple(map(join_columns, rows)), stamps
        dest = np.empty((_AT_ONCE, connection.info.n_channels), dtype=connection.dtype)
        stamps = connection.pull(dest, timeout=0.0, at_least_one=False)
        samples = dest[: len(stamps)].copy()
        if self.info is not None and self.info.channel_format == "string":
            texts = (join_columns(tuple(map(_number_text, row))) for row in samples.tolist())
            return tuple(texts), stamps
        return samples, stamps

    def _hand_out(self, label: str, stamp: float) -> None:
        if self.info is None:
            self.info = single_channel_info(
                name="phosphene-manual", stream_type="Markers", source_id=MANUAL_SOURCE_ID
            )
            self._tell(StreamState.STREAMING, "Manual markers.")
            self._tell_offset(0.0)
        samples: NDArray[Any] | tuple[str, ...] = (label,)
        if self.info.channel_format != "string":
            samples = np.zeros((1, self.info.n_channels), dtype=_DTYPES[self.info.channel_format])
            samples[0, 0] = _number(label, self.info)
        stamps = np.array([stamp - self.last_offset])
        self.items.append(Packet(self.role, samples, stamps, pylsl.local_clock()))


_DTYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "double64": np.float64,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
}


def _number(label: str, info: StreamInfo) -> Any:
    """Convert a manual marker's label to the stream's format."""
    dtype = _DTYPES[info.channel_format]
    try:
        if issubclass(dtype, np.integer):
            return np.array([int(label)], dtype=dtype)[0]
        return dtype(float(label))
    except (ValueError, OverflowError):
        raise SourceError(
            f"Manual marker is {label!r}, expected a number of format {info.channel_format}: "
            f"that is what marker stream {info.name!r} carries."
        ) from None


def _number_text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.15g}"
