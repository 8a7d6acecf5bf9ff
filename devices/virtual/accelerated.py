"""The virtual headset without LSL and without waiting: a `Source` under a virtual clock.

Owns the interleaving of samples and markers as they would arrive. The brain is the very one that
`phosphene simulate` streams, so that hours of controls (SNR 0, many people) take minutes. Knows
nothing of decoding.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from devices.lsl.metadata import from_pylsl
from devices.virtual.headset import HeadsetSettings, VirtualHeadset, outlet_info
from pipeline.values import (
    ClockOffset,
    Float32,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)

T_START = 1000.0
"""Stamp of the first sample on the virtual clock, s."""
_BATCH = 32
_MARKERS = StreamInfo(
    name="phosphene-stimuli",
    type="Markers",
    source_id="phosphene-stimuli-accelerated",
    n_channels=1,
    sfreq=0.0,
    channel_format="string",
)


class AcceleratedSource:
    """A virtual person who sees given stimuli, as fast as it can be computed.

    Parameters
    ----------
    settings : HeadsetSettings
        Who, which board, SNR and seed; `duration` is how long it streams, s (needed).
    embeddings : mapping of str to ndarray, shape (n_features,), float32
        The stimuli's embeddings by label.
    stimuli : iterable of (float, str)
        Onset in s from the first sample, and label; in order of time.
    """

    def __init__(
        self,
        settings: HeadsetSettings,
        embeddings: Mapping[str, Float32],
        stimuli: Iterable[tuple[float, str]],
    ) -> None:
        if settings.duration is None:
            raise ValueError("settings.duration is None, expected how long to stream, s.")
        self._headset = VirtualHeadset(settings, embeddings)
        self._rate = settings.rate
        self._n_times = math.ceil(settings.duration * settings.rate)
        eeg = from_pylsl(outlet_info(settings))
        self._streams = {StreamRole.EEG: eeg, StreamRole.MARKERS: _MARKERS}
        self._closed = threading.Event()
        self._items = self._generate(iter(stimuli))

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        """Infos of both streams."""
        return MappingProxyType(self._streams)

    @property
    def is_live(self) -> bool:
        """Its clock is virtual: nothing arrives in the present."""
        return False

    def read(self, timeout: float) -> list[SourceItem]:
        """Give the next items at once; after the end, empty lists (after `timeout` s)."""
        items: list[SourceItem] = []
        if not self._closed.is_set():
            for item in self._items:
                items.append(item)
                if len(items) >= _BATCH:
                    break
        if not items:
            self._closed.wait(timeout)
        return items

    def close(self) -> None:
        """End; `read` then gives nothing more."""
        self._closed.set()

    def _generate(self, stimuli: Iterator[tuple[float, str]]) -> Iterator[SourceItem]:
        for role in self._streams:
            yield ClockOffset(role, T_START, 0.0)
        position, upcoming = 0, next(stimuli, None)
        while position < self._n_times:
            # A marker is heard at its onset: in time for the chunk that holds it.
            chunk_end = (position + self._headset.n_chunk) / self._rate
            while upcoming is not None and upcoming[0] < chunk_end:
                at, label = upcoming
                self._headset.answer(label, at)
                stamp = T_START + at
                yield Packet(StreamRole.MARKERS, (label,), np.array([stamp]), received_at=stamp)
                upcoming = next(stimuli, None)
            data = self._headset.next_chunk()
            stamps = T_START + (position + np.arange(len(data))) / self._rate
            position += len(data)
            yield Packet(StreamRole.EEG, data, stamps, received_at=float(stamps[-1]))
        end = T_START + position / self._rate
        for role in self._streams:
            yield StateChange(role, StreamState.ENDED, end, "The simulation is over.")
