"""Text recordings, one sample a row: from rows with a package counter and stamps to even times.

Owns what OpenBCI's and BrainFlow's files share: rows that are damaged (skipped and counted), a
counter that wraps (loss is exact), stamps of arrival (bursts: good for gaps only). Reads one row
after the other, so an hour takes no more memory than a minute. Knows nothing of columns' names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Final

import numpy as np

from devices.files.base import Block, FileEvent, Piece, cut, marker_info
from pipeline.values import StreamInfo

_PIECE_ROWS: Final = 1000
_LONGEST_LINE: Final = 1 << 16
_PEEK: Final = 512
_LONGEST_LOSS: Final = 1e6
_GAP: Final = 1.0
"""Without a counter, stamps that jump by more than this mean lost samples, s."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sample: `values` of the EEG channels, its package number, stamp (s), marker (0: none)."""

    values: Sequence[float]
    package: int | None
    stamp: float | None
    marker: float = 0.0


ParseRow = Callable[[str], Row | None]
"""Row of a line, None for a comment; ValueError or IndexError for a damaged one."""


@dataclass(slots=True)
class RowCounts:
    """What a reading met."""

    n_rows: int = 0
    n_damaged: int = 0
    n_lost: int = 0

    def sentences(self, path: Path) -> tuple[str, ...]:
        """What the user should know of it."""
        found = []
        if self.n_damaged:
            found.append(f"{path.name} has {self.n_damaged} damaged rows; they are left out.")
        if self.n_lost:
            share = 100 * self.n_lost / (self.n_rows + self.n_lost)
            found.append(
                f"{path.name} lacks {self.n_lost} samples ({share:.2g} %), by its package numbers "
                "and stamps; they are gaps in time."
            )
        return tuple(found)


def open_text(path: Path) -> IO[str]:
    """Open a text recording: a byte-order mark is skipped, a damaged byte costs its row only."""
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def read_lines(file: IO[str]) -> Iterator[str]:
    """Lines of a text file; one that is far too long comes in pieces, each of them damaged."""
    while line := file.readline(_LONGEST_LINE):
        yield line


@dataclass(slots=True)
class _Counter:
    """How the package number grows: by `step`, modulo `period`; step 0 means it says nothing."""

    step: int = 0
    period: int = 256

    @classmethod
    def learn(cls, rows: Sequence[Row]) -> _Counter:
        packages = [row.package for row in rows if row.package is not None]
        if len(packages) < 10 or len(packages) < len(rows):
            return cls()
        # OpenBCI's counters are one byte; a larger number never wraps in a recording's time.
        period = 256 if max(packages) < 256 else 1 << 62
        steps = np.diff(packages) % period
        step = int(np.median(steps))
        if step <= 0 or period % step or (steps == step).mean() < 0.8:
            return cls()
        return cls(step, period)

    def n_lost(self, before: Row, row: Row, sfreq: float) -> int:
        """Samples missing between two rows."""
        elapsed = (
            row.stamp - before.stamp if row.stamp is not None and before.stamp is not None else None
        )
        if self.step and before.package is not None and row.package is not None:
            moved = (row.package - before.package) % self.period
            if moved % self.step:
                return 0
            lost = (moved // self.step - 1) % (self.period // self.step)
            turn = self.period // self.step
            if turn > 1 << 30:
                # A number that never wraps jumps this far only in a damaged row.
                return lost if lost < _LONGEST_LOSS * sfreq else 0
            if elapsed is not None and 0 < elapsed < _LONGEST_LOSS:
                # The counter forgets whole turns; the stamps know about how many there were.
                lost += turn * max(0, round((elapsed * sfreq - 1 - lost) / turn))
            return lost
        if elapsed is not None and _GAP < elapsed < _LONGEST_LOSS:
            return max(0, round(elapsed * sfreq) - 1)
        return 0


@dataclass(slots=True)
class RowReader:
    """Reads a text recording's rows into pieces.

    Parameters
    ----------
    path : Path
    parse : callable
        A line's row.
    sfreq : float
        Nominal rate, Hz.
    """

    path: Path
    parse: ParseRow
    sfreq: float
    counts: RowCounts = field(default_factory=RowCounts)

    def pieces(self, start: float = 0.0) -> Iterator[Piece]:
        """Pieces from `start` (s) on; times count samples, the lost ones included."""
        self.counts.n_rows = self.counts.n_damaged = self.counts.n_lost = 0
        with open_text(self.path) as file:
            rows = self._rows(file)
            peeked = list(islice(rows, _PEEK))
            yield from self._timed(peeked, rows, start)

    def peek(self) -> list[Row]:
        """The first rows."""
        with open_text(self.path) as file:
            rows = list(islice(self._rows(file), _PEEK))
        self.counts.n_rows = self.counts.n_damaged = 0
        return rows

    def _rows(self, file: IO[str]) -> Iterator[Row]:
        for line in read_lines(file):
            try:
                row = self.parse(line)
            except (ValueError, IndexError, OverflowError):
                self.counts.n_damaged += 1
                continue
            if row is not None:
                self.counts.n_rows += 1
                yield row

    def _timed(self, peeked: list[Row], rest: Iterator[Row], start: float) -> Iterator[Piece]:
        counter = _Counter.learn(peeked)
        values: list[Sequence[float]] = []
        numbers: list[int] = []
        events: list[FileEvent] = []
        number, before = -1, None
        first = max(0, int(np.ceil(start * self.sfreq - 1e-9)))
        for rows in (peeked, rest):
            for row in rows:
                lost = counter.n_lost(before, row, self.sfreq) if before is not None else 0
                self.counts.n_lost += lost
                number += 1 + lost
                before = row
                if number < first:
                    continue
                values.append(row.values)
                numbers.append(number)
                if row.marker and math.isfinite(row.marker):
                    events.append(FileEvent(number / self.sfreq, f"{row.marker:g}"))
                if len(values) == _PIECE_ROWS:
                    yield self._piece(values, numbers, events)
                    values, numbers, events = [], [], []
        if values:
            yield self._piece(values, numbers, events)

    def _piece(
        self, values: list[Sequence[float]], numbers: list[int], events: list[FileEvent]
    ) -> Piece:
        with np.errstate(over="ignore"):
            data = np.array(values, dtype=np.float64).astype(np.float32)
        return Piece(data, np.array(numbers) / self.sfreq, events)


class RowRecording:
    """A text file as a `Recording`; a format adds its header and its columns.

    Parameters
    ----------
    path : Path
    eeg : StreamInfo
    reader : RowReader
    """

    def __init__(self, path: Path, eeg: StreamInfo, reader: RowReader) -> None:
        self._path = path
        self._streams = (eeg, marker_info(path))
        self._reader = reader

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def streams(self) -> Sequence[StreamInfo]:
        """EEG and markers."""
        return self._streams

    @property
    def duration(self) -> float | None:
        """Unknown before the end is read."""
        return None

    @property
    def warnings(self) -> Sequence[str]:
        """Damaged rows, lost samples."""
        return self._reader.counts.sentences(self._path)

    def blocks(self, *, start: float = 0.0) -> Iterator[Block]:
        """Blocks in order of their end, from `start` (s) on."""
        return cut(self._reader.pieces(start), self._reader.sfreq)

    def close(self) -> None:
        """Nothing is held open between reads."""
