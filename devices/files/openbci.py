"""OpenBCI GUI text files, versions 3 to 6.

Owns the header's comment lines (`%Number of channels = 8`, `%Sample Rate = 250 Hz`, `%Board`) and
the names of the columns. Samples are microvolts already. The file does not say where the
electrodes were: labels are its column names. Source: the OpenBCI GUI's documentation.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Final

from devices.errors import FileError
from devices.files.base import eeg_info
from devices.files.rows import Row, RowReader, RowRecording, open_text, read_lines

_MOST_CHANNELS: Final = 1024
_HEADER_LINES: Final = 64
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d\d):(\d\d(?:\.\d*)?)")


class OpenBciRecording(RowRecording):
    """An OpenBCI TXT file as a `Recording`.

    Raises
    ------
    FileError
        The header lacks the rate or the channels, or there is not one whole row.
    """

    def __init__(self, path: Path) -> None:
        header, columns = _read_header(path)
        sfreq = _sfreq(path, header)
        exg = [k for k, name in enumerate(columns) if name.lower().startswith("exg channel")]
        n_channels = _n_channels(header)
        if not exg and 0 < n_channels <= _MOST_CHANNELS:
            # Version 4 has no line of column names: the counter, then the channels.
            exg = list(range(1, 1 + n_channels))
        width = _width(path)
        if not exg:
            # Version 3 does not say how many: three columns of acceleration follow the channels.
            exg = next((list(range(1, 1 + n)) for n in (4, 8, 16) if n + 4 <= width <= n + 7), [])
        if not exg:
            raise FileError(
                f"{path} says neither its channels' names nor their number, and its rows of "
                f"{width} columns fit no board (4, 8 or 16 channels, then acceleration): add a "
                "line '%Number of channels = N' at its top."
            )
        self._exg = exg
        self._stamp = _column(columns, "Timestamp")
        if not columns and width > exg[-1] + 1 and _has_time(path):
            self._stamp = width - 1
        self._marker = _column(columns, "Marker Channel", "Marker")
        self._named = bool(columns)
        self._n_columns = len(columns) or exg[-1] + 1
        reader = RowReader(path, self._parse, sfreq)
        if not reader.peek():
            raise FileError(f"{path} holds a header and no sample, expected rows: copy it again.")
        names = [columns[k] if columns else f"EXG Channel {k - 1}" for k in exg]
        board = header.get("board", "")
        maker = board.split("$")[-1] or "OpenBCI"
        super().__init__(
            path, eeg_info(path, ch_names=names, sfreq=sfreq, manufacturer=maker), reader
        )

    def _parse(self, line: str) -> Row | None:
        if line.startswith("%") or not line.strip() or line.startswith("Sample Index"):
            return None
        fields = line.split(",")
        if len(fields) < self._n_columns or (self._named and len(fields) > self._n_columns):
            raise ValueError("another count of columns")
        values = [float(fields[k]) for k in self._exg]
        return Row(
            values,
            int(float(fields[0])),
            _seconds(fields[self._stamp]) if self._stamp is not None else None,
            float(fields[self._marker]) if self._marker is not None else 0.0,
        )


def _read_header(path: Path) -> tuple[dict[str, str], list[str]]:
    header: dict[str, str] = {}
    with open_text(path) as file:
        for line in islice(read_lines(file), _HEADER_LINES):
            if line.startswith("%"):
                key, _, value = line[1:].partition("=")
                header[key.strip().lower()] = value.strip()
            elif line.strip().startswith("Sample Index"):
                return header, [name.strip() for name in line.split(",")]
            elif line.strip():
                break
    return header, []


def _sfreq(path: Path, header: dict[str, str]) -> float:
    match = re.match(r"\s*(\d{1,6}(?:\.\d{1,9})?)", header.get("sample rate", ""))
    sfreq = float(match[1]) if match else 0.0
    if not 0 < sfreq <= 1e5:
        raise FileError(
            f"{path} says '%Sample Rate = {header.get('sample rate', '')}', expected a number of "
            "Hz: mend the header line (Cyton 250, Daisy 125, Ganglion 200)."
        )
    return sfreq


def _n_channels(header: dict[str, str]) -> int:
    match = re.match(r"\d{1,6}", header.get("number of channels", ""))
    return int(match[0]) if match else 0


def _column(columns: list[str], *names: str) -> int | None:
    return next((columns.index(name) for name in names if name in columns), None)


def _rows(path: Path) -> list[list[str]]:
    """The first rows, as fields."""
    with open_text(path) as file:
        lines = (line for line in read_lines(file) if line[:1].isdigit())
        return [line.strip().split(",") for line in islice(lines, 16)]


def _width(path: Path) -> int:
    """Columns of most rows."""
    widths = [len(row) for row in _rows(path)]
    return max(widths, key=widths.count, default=0)


def _has_time(path: Path) -> bool:
    """Whether the rows end with a time of day, or ms since 1970."""
    ends = [row[-1].strip() for row in _rows(path)]
    return bool(ends) and all(
        _CLOCK.fullmatch(end) or re.fullmatch(r"1\d{12}", end) for end in ends
    )


def _seconds(text: str) -> float:
    """Stamps are s (version 5 on) or ms (from version 4) since 1970, or a time of day (3)."""
    clock = _CLOCK.fullmatch(text.strip())
    if clock is not None:
        return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
    value = float(text)
    return value / 1000 if value > 1e11 else value
