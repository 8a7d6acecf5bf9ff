"""Text recordings, one sample a row: from rows with a package counter and stamps to even times.

Owns what OpenBCI's and BrainFlow's files share: rows that are damaged (skipped and counted), a
counter that wraps (loss is exact), stamps of arrival (bursts: good for gaps only). Reads one row
after the other, so an hour takes no more memory than a minute. Knows nothing of columns' names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Final

import numpy as np

from devices.files.base import Block, FileBreak, FileEvent, OfFile, Piece, cut, marker_info
from pipeline.counter import PLAIN, CounterPattern, SampleCounter
from pipeline.counter_watch import TRUST, CounterWatch
from pipeline.values import StreamInfo, to_float32

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
    n_twice: int = 0
    note: str = ""

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
        if self.n_twice:
            found.append(
                f"{path.name} has {self.n_twice} rows whose package number had come before; they "
                "are left out."
            )
        if self.note:
            found.append(f"{path.name}: {self.note}")
        return tuple(found)


def open_text(path: Path) -> IO[str]:
    """Open a text recording: a byte-order mark is skipped, a damaged byte costs its row only."""
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def read_lines(file: IO[str]) -> Iterator[str]:
    """Lines of a text file; one that is far too long comes in pieces, each of them damaged."""
    while line := file.readline(_LONGEST_LINE):
        yield line


class _Numbering:
    """The number of each row's sample: by the package counter as far as it is believed."""

    def __init__(self, sfreq: float, pattern: CounterPattern | None) -> None:
        self._sfreq = sfreq
        self._watch = CounterWatch(sfreq, pattern)
        self._counter: SampleCounter | None = SampleCounter(pattern or PLAIN)
        self._unread: list[Row] = []
        self._before: Row | None = None
        self._number = -1
        # The row before, where it had the number of the one before it and other values.
        self._doubtful: Row | None = None
        self.n_lost = 0
        self.n_twice = 0

    @property
    def note(self) -> str:
        """One sentence once the counter is not believed; else ""."""
        return self._watch.note

    def number(self, rows: list[Row], *, is_last: bool = False) -> Iterator[tuple[int, Row]]:
        """The rows with their numbers; some may wait for those that follow."""
        rows, self._unread = self._unread + rows, []
        counts = [math.nan if row.package is None else float(row.package) for row in rows]
        stamps = [math.nan if row.stamp is None else row.stamp for row in rows]
        at = 0
        for reading in self._watch.read(counts, stamps, is_last=is_last):
            self.n_lost = max(0, self.n_lost - reading.n_untrue)
            self._number -= min(reading.n_untrue, max(0, self._number))
            if reading.pattern is None:
                self._counter = None
            elif self._counter is None:
                self._counter = SampleCounter(reading.pattern)
            elif reading.pattern is not self._counter.pattern:
                self._counter = self._counter.moved(reading.pattern)
            for row in rows[at : at + reading.n_times]:
                before, advance = self._before, self._advance(row)
                if advance <= 0:
                    self.n_twice += 1
                    is_other = before is not None and list(row.values) != list(before.values)
                    self._doubtful = row if advance == 0 and is_other else None
                    continue
                if self._doubtful is not None and advance == 2:
                    # Its number was the one before's in the place of its own.
                    self.n_twice -= 1
                    self._number, advance = self._number + 1, 1
                    yield self._number, self._doubtful
                self._doubtful = None
                self._number += advance
                self.n_lost += advance - 1
                self._before = row
                yield self._number, row
            at += reading.n_times
        self._unread = rows[at:]

    def _advance(self, row: Row) -> int:
        """Samples from the row before to this one; 0 or less: it came before."""
        counter, before = self._counter, self._before
        count = math.nan if row.package is None else float(row.package)
        elapsed = math.nan
        if before is not None and row.stamp is not None and before.stamp is not None:
            elapsed = row.stamp - before.stamp
        if counter is None:
            return self._by_stamps(elapsed)
        advance = counter.advance(count, elapsed * self._sfreq)
        if counter.is_next(count):
            counter.accept([count], 0, 1)
            # Whole laps that were lost show in the stamps alone.
            laps = advance if elapsed > TRUST and advance is not None else 1
            return laps if abs(elapsed - laps / self._sfreq) <= TRUST else 1
        is_far = advance is None or abs(elapsed * self._sfreq - advance) > TRUST * self._sfreq
        if advance is None or (is_far and abs(elapsed) < _LONGEST_LOSS):
            counter.begin(count)
            return self._by_stamps(elapsed)
        if advance > _LONGEST_LOSS * self._sfreq:
            advance = 1  # jumped so far only in a damaged row
        if advance > 0:
            counter.expect(count)
            counter.accept([count], 0, 1)
        return advance

    def _by_stamps(self, elapsed: float) -> int:
        return max(1, round(elapsed * self._sfreq)) if _GAP < elapsed < _LONGEST_LOSS else 1


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
    pattern : CounterPattern, optional
        How the board's package number counts, where that is known.
    """

    path: Path
    parse: ParseRow
    sfreq: float
    pattern: CounterPattern | None = None
    counts: RowCounts = field(default_factory=RowCounts)
    _newest: int = field(default=-1, init=False)
    _is_first: bool = field(default=True, init=False)

    def pieces(self, start: float = 0.0) -> Iterator[Piece]:
        """Pieces from `start` (s) on; times count samples, the lost ones included."""
        self.counts = RowCounts()
        self._newest, self._is_first = -1, True
        with open_text(self.path) as file:
            yield from self._timed(self._rows(file), start)

    def peek(self) -> list[Row]:
        """The first rows."""
        with open_text(self.path) as file:
            rows = list(islice(self._rows(file), _PEEK))
        self.counts = RowCounts()
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

    def _timed(self, rows: Iterator[Row], start: float) -> Iterator[Piece]:
        numbering, counts = _Numbering(self.sfreq, self.pattern), self.counts
        first = max(0, int(np.ceil(start * self.sfreq - 1e-9)))
        batch: list[Row] = []
        is_last = False
        while not is_last:
            batch = list(islice(rows, _PIECE_ROWS))
            is_last = len(batch) < _PIECE_ROWS
            numbered = list(numbering.number(batch, is_last=is_last))
            counts.n_lost, counts.n_twice = numbering.n_lost, numbering.n_twice
            counts.note = numbering.note
            taken = [(number, row) for number, row in numbered if number >= first]
            if taken:
                yield from self._pieces_of(taken)

    def _pieces_of(self, taken: list[tuple[int, Row]]) -> Iterator[Piece]:
        """The rows, cut where samples are missing: their number is known, stamps would blur it."""
        numbers = np.array([number for number, _ in taken])
        cuts = np.flatnonzero(np.diff(numbers, prepend=self._newest) > 1)
        self._newest = int(numbers[-1])
        for low, high in pairwise(sorted({0, *cuts.tolist(), len(taken)})):
            is_cut = low in cuts and int(numbers[low]) > 0 and not self._is_first
            self._is_first = False
            reason = "Samples are missing here, by the package numbers and stamps."
            pause = FileBreak(float(numbers[low]) / self.sfreq, reason, is_pause=True)
            yield self._piece(taken[low:high], (pause,) if is_cut else ())

    def _piece(self, taken: list[tuple[int, Row]], breaks: Sequence[FileBreak]) -> Piece:
        numbers = np.array([number for number, _ in taken])
        data = to_float32(np.array([row.values for _, row in taken], np.float64))
        events = [
            FileEvent(number / self.sfreq, f"{row.marker:g}")
            for number, row in taken
            if row.marker and math.isfinite(row.marker)
        ]
        return Piece(data, numbers / self.sfreq, events, breaks)


class RowRecording(OfFile):
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
