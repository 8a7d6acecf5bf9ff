"""What EDF and BDF headers say that MNE does not hand on: units, kinds, pauses of EDF+D.

Owns the header and the time-stamped annotation lists. Source: edfplus.info.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devices.errors import FileError
from devices.files.base import FileEvent

_WIDTHS: Final = (16, 80, 8, 8, 8, 8, 8, 80, 8)
_TAL: Final = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15([\d.]+))?\x14(.*?)\x14?\x00", re.S)
_NOTES: Final = ("EDF Annotations", "BDF Annotations")


@dataclass(frozen=True, slots=True)
class EdfHeader:
    """A header.

    Attributes
    ----------
    is_interrupted : bool
        EDF+D: each record has its own time.
    n_header, record : int
        Bytes of the header, and of a data record.
    n_records : int
        -1: the recorder never wrote it.
    duration : float
        Of a record, s.
    labels, transducers, units : tuple of str
        By signal, as they stand there.
    counts : tuple of int
        Samples of a record.
    width : int
        Bytes of a sample.
    """

    is_interrupted: bool
    n_header: int
    n_records: int
    duration: float
    labels: tuple[str, ...]
    transducers: tuple[str, ...]
    units: tuple[str, ...]
    counts: tuple[int, ...]
    width: int

    @property
    def record(self) -> int:
        """Bytes of a data record."""
        return self.width * sum(self.counts)

    @property
    def signals(self) -> list[tuple[str, str, str]]:
        """Label, unit and transducer of all but the annotations."""
        said = zip(self.labels, self.units, self.transducers, strict=True)
        return [each for each in said if each[0] not in _NOTES]

    @property
    def has_signal(self) -> bool:
        """Whether there is anything but annotations."""
        return any(label not in _NOTES for label in self.labels)


def read_header(path: Path) -> EdfHeader:
    """Read the header.

    Raises
    ------
    FileError
        Damaged.
    """
    width = 3 if path.suffix.lower() == ".bdf" else 2
    try:
        with path.open("rb") as file:
            fixed = file.read(256)
            n_signals = int(fixed[252:256])
            if not 0 < n_signals <= 10_000:
                raise ValueError(f"{n_signals} signals")
            rest = file.read(256 * n_signals).decode("latin-1")
        columns, at = [], 0
        for size in _WIDTHS:
            cells = [rest[at + size * k : at + size * (k + 1)] for k in range(n_signals)]
            columns.append(tuple(cell.strip(" \0") for cell in cells))
            at += size * n_signals
        return EdfHeader(
            is_interrupted=fixed[192:197] in (b"EDF+D", b"BDF+D"),
            n_header=int(fixed[184:192]),
            n_records=int(fixed[236:244]),
            duration=float(fixed[244:252]),
            labels=columns[0],
            transducers=columns[1],
            units=columns[2],
            counts=tuple(int(count) for count in columns[8]),
            width=width,
        )
    except ValueError as error:
        raise FileError(
            f"{path} has a damaged header ({error}), expected an EDF or BDF file: copy it again."
        ) from error


def read_notes(path: Path, header: EdfHeader) -> tuple[list[float], list[FileEvent]]:
    """Start of each record, and every annotation; both in s from the first record's start."""
    starts: list[float] = []
    events: list[FileEvent] = []
    spans, at = [], 0
    for label, count in zip(header.labels, header.counts, strict=True):
        if label in _NOTES:
            spans.append((at, at + header.width * count))
        at += header.width * count
    with path.open("rb") as file:
        file.seek(header.n_header)
        while len(record := file.read(header.record)) == header.record:
            # The first list of a record begins with its time: an onset without a word.
            start: float | None = None
            for low, high in spans:
                for onset, duration, text in _TAL.findall(record[low:high] + b"\0"):
                    start = float(onset) if start is None else start
                    words = [w for w in text.decode("utf-8", "replace").split("\x14") if w]
                    events += [FileEvent(float(onset), w, float(duration or 0)) for w in words]
            follows = starts[-1] + header.duration if starts else 0.0
            starts.append(follows if start is None else start)
    zero = starts[0] if starts else 0.0
    moved = [FileEvent(e.onset - zero, e.label, e.duration) for e in events]
    return [start - zero for start in starts], moved
