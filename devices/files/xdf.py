"""XDF for the player: every stream, on one clock, in order of time.

Owns the synchronisation by clock probes (interpolated between them) and the merge of streams that
a recorder wrote side by side. Samples and labels stay as they are. A session that replays a file
uses `devices.replay` instead, which keeps the order of arrival and leaves synchronising to the
pipeline. Knows nothing of LSL.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from devices.choosing import (
    FileStream,
    StreamChoice,
    choose_eeg,
    choose_markers,
    eeg_candidates,
    marker_candidates,
    several_eeg,
)
from devices.errors import FileError
from devices.files.base import Block, OfFile, block_length
from devices.xdf.reader import XdfFile, XdfOffset, XdfSamples
from pipeline.markers import as_text, join_columns
from pipeline.values import Float64, StreamRole

_LOOKAHEAD: Final = 2.0
"""How far, in s, a recorder may have written one stream behind another (LabRecorder: 0.5)."""
_RESET: Final = 1.0
"""A jump of the offset between two probes above this is a reset, not a drift, s."""


class XdfRecording(OfFile):
    """An XDF file as a `Recording`: its streams that hold samples.

    Parameters
    ----------
    path : Path
    choice : StreamChoice
        An EEG (or a marker stream) that it names is taken without the others of its kind.

    Raises
    ------
    FileError
        It is no XDF, no stream in it can be played, or not the ones that were asked for.
    """

    def __init__(self, path: Path, choice: StreamChoice | None = None) -> None:
        self._path = path
        self._file = XdfFile(path)
        self._notes: list[str] = []
        try:
            ids = self._choose(streams_of(self._file), choice or StreamChoice())
        except FileError:
            self._file.close()
            raise
        self._eeg = ids[0]
        self._number = {stream_id: k for k, stream_id in enumerate(ids)}
        infos = [self._file.streams[s].info for s in ids]
        self._streams = tuple(
            as_text(info) if info.channel_format == "string" else info for info in infos
        )
        self._probes = self._file.clock_probes()
        self._zero = self._find_zero()

    @property
    def duration(self) -> float | None:
        """Unknown before the end is read."""
        return None

    @property
    def warnings(self) -> Sequence[str]:
        """Damaged ranges, and streams that were not told apart."""
        damage = (
            f"{self._path.name}, bytes {d.start} to {d.stop}: {d.reason}."
            for d in self._file.damage
        )
        return (*self._notes, *damage)

    def blocks(self, *, start: float = 0.0) -> Iterator[Block]:
        """Blocks of all streams in order of their end, from `start` (s) on."""
        heap: list[tuple[float, int, Block]] = []
        ticket = count()
        newest = -np.inf
        for item in self._file.iter_chunks(self._first_chunk(start), streams=self._number):
            if not isinstance(item, XdfSamples):
                continue
            for block in self._cut(item):
                if block.times[-1] >= start:
                    heapq.heappush(heap, (float(block.times[-1]), next(ticket), block))
                    newest = max(newest, float(block.times[-1]))
            while heap and heap[0][0] < newest - _LOOKAHEAD:
                yield heapq.heappop(heap)[2]
        while heap:
            yield heapq.heappop(heap)[2]

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _choose(self, streams: Sequence[FileStream], choice: StreamChoice) -> list[int]:
        """Numbers of the streams to take, EEG first."""
        full = [s for s in streams if s.n_samples]
        if not full:
            raise FileError(
                f"{self._path} holds no samples, expected a recording: give another file."
            )
        eeg = eeg_candidates(full, stream_type=choice.source.type)
        kept = full
        if choice.names_eeg or choice.must_fit:
            chosen = choose_eeg(streams, choice, self._path, [])
            kept, eeg = [s for s in kept if s not in eeg or s is chosen], [chosen]
        elif len(eeg) > 1:
            self._notes.append(several_eeg(eeg, self._path))
        if choice.names_markers or choice.markers_must_fit:
            rest = [s for s in streams if s not in eeg]
            wanted = choose_markers(rest, choice, self._path, [])
            texts = [s for s in full if s.info.channel_format == "string"]
            others = [s for s in (*marker_candidates(full), *texts) if s is not wanted]
            kept = [s for s in kept if s not in others]
        return [s.number for s in sorted(kept, key=lambda s: s not in eeg)]

    def _find_zero(self) -> float:
        """The first EEG sample on the recorder's clock: the recording's time 0."""
        for item in self._file.iter_chunks(streams=(self._eeg,)):
            if isinstance(item, XdfSamples) and len(item.timestamps):
                return float(self._local(self._eeg, item.timestamps[:1])[0])
        return 0.0

    def _first_chunk(self, start: float) -> int:
        if start <= 0:
            return 0
        eeg = self._eeg
        probes = self._probes.get(eeg)
        offset = probes[0].offset if probes else 0.0
        # A little early: other streams may lie before; the exact cut is by time.
        return self._file.seek(self._zero + start - _LOOKAHEAD - offset, eeg)

    def _local(self, stream_id: int, stamps: Float64) -> Float64:
        """Stamps on the recorder's clock: offset interpolated, or stepped across a reset."""
        probes = self._probes.get(stream_id)
        if not probes:
            return stamps
        times = np.array([p.collected for p in probes])
        offsets = np.array([p.offset for p in probes])
        if (np.diff(times) <= 0).any() or (np.abs(np.diff(offsets)) > _RESET).any():
            return stamps + _stepped(probes, stamps)
        return np.asarray(stamps + np.interp(stamps, times, offsets), dtype=np.float64)

    def _cut(self, item: XdfSamples) -> Iterator[Block]:
        number = self._number[item.stream_id]
        info = self._streams[number]
        times = self._local(item.stream_id, item.timestamps) - self._zero
        step = block_length(info.sfreq)
        for first in range(0, len(times), step):
            part: Any = item.samples[first : first + step]
            if isinstance(part, tuple):
                part = tuple(s if isinstance(s, str) else join_columns(s) for s in part)
            if np.isfinite(times[first : first + step]).all():
                yield Block(number, part, times[first : first + step])


def streams_of(file: XdfFile) -> list[FileStream]:
    """What an XDF file holds, for a choice among it."""
    return [
        FileStream(s.stream_id, s.info, file.n_samples(s.stream_id), _known_role(s.role))
        for s in file.streams.values()
    ]


def _known_role(word: str) -> str:
    return word if word in set(StreamRole) else ""


def _stepped(probes: Sequence[XdfOffset], stamps: Float64) -> Float64:
    """The offset of the probe nearest in the sender's time (the one way across a reset)."""
    times = np.array([p.collected for p in probes])
    order = np.argsort(times, kind="stable")
    times, offsets = times[order], np.array([p.offset for p in probes])[order]
    right = np.clip(np.searchsorted(times, stamps), 1, len(times) - 1) if len(times) > 1 else 0
    left = np.maximum(np.asarray(right) - 1, 0)
    nearer_left = np.abs(stamps - times[left]) <= np.abs(stamps - times[right])
    return np.asarray(np.where(nearer_left, offsets[left], offsets[right]), dtype=np.float64)
