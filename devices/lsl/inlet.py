"""A session's live streams as one `pipeline.ports.Source`: EEG, markers, clock offsets, states.

Owns the order of what arrives and the hand-over between threads: one thread calls `read`, any
may inject a marker or close. Looking for streams happens in scouts' threads, so that a pull never
waits for anything but samples.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType

import pylsl

from configs import MarkersConfig, SourceConfig
from devices.lsl.eeg import EegReader
from devices.lsl.markers import MarkerReader
from pipeline.values import SourceItem, StateChange, StreamInfo, StreamRole, StreamState


class LslSource:
    """Reads one EEG stream and one marker stream from LSL.

    Opening blocks until the EEG stream is there (`source.resolve_timeout`), with its description
    and first clock offset. The marker stream may come later, go, and come back.

    Parameters
    ----------
    source : SourceConfig
        Which EEG stream.
    markers : MarkersConfig or None
        Which marker stream; with neither name nor `source_id` the only one in reach, if there is
        exactly one. None: manual markers only.
    clock_offset_interval : float
        Time between `ClockOffset` items, s.
    marker_wait : float
        How long opening may take in all to find the marker stream, s.
    stop : threading.Event or None
        Gives up opening when set.

    Raises
    ------
    SourceError
        The EEG stream is not there, not the only one, or cannot be used.
    """

    def __init__(
        self,
        source: SourceConfig,
        markers: MarkersConfig | None = None,
        *,
        clock_offset_interval: float = 5.0,
        marker_wait: float = 1.5,
        stop: threading.Event | None = None,
    ) -> None:
        self._chunk = source.chunk_ms / 1000.0
        self._interval = clock_offset_interval
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._farewell: list[SourceItem] = []
        began = pylsl.local_clock()
        # Both searches at once: each takes its probe's 0.6 s.
        self._markers = MarkerReader(markers, not_type=source.type, any_host=source.any_host)
        try:
            self._eeg = EegReader(source, stop or threading.Event())
        except BaseException:
            _close(self._markers)
            raise
        self._markers.wait(marker_wait - (pylsl.local_clock() - began))
        self._probed_at = pylsl.local_clock()

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        """Infos of the open streams; EEG is always there, markers once there are some."""
        streams = {StreamRole.EEG: self._eeg.info}
        if self._markers.info is not None:
            streams[StreamRole.MARKERS] = self._markers.info
        return MappingProxyType(streams)

    @property
    def is_live(self) -> bool:
        """True: `received_at` is the present."""
        return True

    @property
    def n_overflowed(self) -> int:
        """Samples that were dropped because `read` came too late, by their stamps."""
        return self._eeg.n_overflowed

    def read(self, timeout: float) -> list[SourceItem]:
        """Wait up to `timeout` s for data; see `pipeline.ports.Source`.

        Raises
        ------
        SourceError
            A stream came back as something else. A `StateChange` `ENDED` with the same sentence
            came before.
        """
        deadline = pylsl.local_clock() + timeout
        while True:
            with self._lock:
                if self._closing.is_set():
                    farewell, self._farewell = self._farewell, []
                    return farewell
                for reader in (self._eeg, self._markers):
                    if reader.failure is not None:
                        raise reader.failure
                items = self._step(max(0.0, deadline - pylsl.local_clock()))
            if items or pylsl.local_clock() >= deadline:
                return items

    def inject_marker(self, label: str) -> float:
        """Stamp a manual marker now; `read` hands it out in its turn. Safe from any thread.

        Returns the stamp (`local_clock`, s). How it becomes a packet: `devices.lsl.markers`.

        Raises
        ------
        SourceError
            The marker stream carries numbers and `label` is none.
        """
        return self._markers.inject(label)

    @property
    def foreign_hosts(self) -> tuple[str, ...]:
        """Hosts whose namesakes of a lost stream are refused now. Safe from any thread."""
        return tuple(dict.fromkeys((*self._eeg.foreign_hosts, *self._markers.foreign_hosts)))

    def admit(self, host: str) -> None:
        """Take namesakes on `host` for the lost streams from now on. Safe from any thread."""
        for reader in (self._eeg, self._markers):
            reader.admit(host)

    def close(self) -> None:
        """Release the streams; `read` then gives `ENDED` once a stream, then empty lists."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._lock:  # waits for a running pull: at most one chunk length
            now = pylsl.local_clock()
            self._farewell = [
                StateChange(role, StreamState.ENDED, now, "The session ended.")
                for role in self.streams
            ]
            _close(self._eeg, self._markers)

    def __enter__(self) -> LslSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _step(self, wait: float) -> list[SourceItem]:
        """One turn: EEG first, then at once the markers, so that none waits for two chunks."""
        eeg, markers = self._eeg, self._markers
        eeg.step(0.0 if markers.has_manual else min(self._chunk, wait))
        markers.step()
        if pylsl.local_clock() - self._probed_at >= self._interval:
            self._probed_at = pylsl.local_clock()
            eeg.probe()
            markers.probe()
        eeg.tell_note()
        markers.tell_note()
        items = [*eeg.items, *markers.items]
        eeg.items, markers.items = [], []
        return items


def _close(*readers: EegReader | MarkerReader) -> None:
    released = [reader.release() for reader in readers]
    for _, scouts in released:
        for scout in scouts:
            scout.cancel()
    for connections, scouts in released:
        for connection in connections:
            connection.close()
        for scout in scouts:
            scout.close()
