"""BrainFlow CSV files: no header, a column for each row of the board's layout.

Owns the layouts of the boards that are common (so that the file opens without BrainFlow) and asks
BrainFlow for the others. Samples are microvolts. Source: BrainFlow's board descriptors.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from configs.montages import CYTON, DAISY, SYNTHETIC
from devices.boards import COUNTERS
from devices.errors import FileError
from devices.files.base import eeg_info
from devices.files.rows import Row, RowReader, RowRecording, open_text, read_lines


@dataclass(frozen=True, slots=True)
class Layout:
    """A board's columns: count, rate (Hz), EEG columns and labels, the others by number."""

    board_id: int
    name: str
    n_columns: int
    sfreq: float
    eeg: tuple[int, ...]
    ch_names: tuple[str, ...]
    package: int | None
    stamp: int | None
    marker: int | None


def _layout(board_id: int, name: str, n: int, sfreq: float, labels: Sequence[str]) -> Layout:
    eeg = tuple(range(1, 1 + len(labels)))
    return Layout(board_id, name, n, sfreq, eeg, tuple(labels), 0, n - 2, n - 1)


LAYOUTS: Final = (
    _layout(-1, "SYNTHETIC_BOARD", 32, 250.0, SYNTHETIC),
    _layout(0, "CYTON_BOARD", 24, 250.0, CYTON),
    _layout(1, "GANGLION_BOARD", 15, 200.0, ["1", "2", "3", "4"]),
    _layout(2, "CYTON_DAISY_BOARD", 32, 125.0, DAISY),
)


class BrainFlowRecording(RowRecording):
    """A BrainFlow CSV as a `Recording`.

    Parameters
    ----------
    path : Path
    board : str, optional
        BrainFlow's id or name of the board; needed where the count of columns fits several.

    Raises
    ------
    FileError
        The board is unknown or does not fit, or there is not one whole row.
    """

    def __init__(self, path: Path, *, board: str | None = None) -> None:
        self._separator, n_columns = _shape(path)
        self._layout = layout = _choose(path, n_columns, board)
        pattern = COUNTERS.get(layout.name.removesuffix("_BOARD"))
        reader = RowReader(path, self._parse, layout.sfreq, pattern)
        if not reader.peek():
            raise FileError(
                f"{path} holds no whole row of {layout.n_columns} numbers, expected BrainFlow's "
                f"columns of {layout.name}: give another board or copy the file again."
            )
        eeg = eeg_info(path, ch_names=layout.ch_names, sfreq=layout.sfreq, manufacturer=layout.name)
        super().__init__(path, eeg, reader)

    def _parse(self, line: str) -> Row | None:
        if not line.strip():
            return None
        fields = line.split(self._separator)
        layout = self._layout
        if len(fields) != layout.n_columns:
            raise ValueError("another count of columns")
        return Row(
            [float(fields[k]) for k in layout.eeg],
            int(float(fields[layout.package])) if layout.package is not None else None,
            float(fields[layout.stamp]) if layout.stamp is not None else None,
            float(fields[layout.marker]) if layout.marker is not None else 0.0,
        )


def _shape(path: Path) -> tuple[str, int]:
    """Separator and count of columns, by the first whole row of numbers."""
    with open_text(path) as file:
        for _, line in zip(range(100), read_lines(file), strict=False):
            for separator in ("\t", ","):
                fields = line.strip().split(separator)
                if len(fields) >= 4 and all(map(_is_number, fields)):
                    return separator, len(fields)
    raise FileError(
        f"{path} has no row of numbers among its first 100 lines, expected a BrainFlow CSV (tabs "
        "or commas, no header) or an OpenBCI TXT (starts with %): give another file."
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _choose(path: Path, n_columns: int, board: str | None) -> Layout:
    if board is not None:
        layout = _find(board)
        if layout.n_columns != n_columns:
            raise FileError(
                f"{path} has {n_columns} columns, expected {layout.n_columns} of {layout.name}: "
                "give the board that recorded it with --board."
            )
        return layout
    fitting = [layout for layout in LAYOUTS if layout.n_columns == n_columns]
    if len(fitting) != 1:
        names = " or ".join(layout.name for layout in fitting) or "no board known without BrainFlow"
        raise FileError(
            f"{path} has {n_columns} columns, which fits {names}: say which board recorded it, as "
            "in --board CYTON_DAISY_BOARD."
        )
    return fitting[0]


def _find(board: str) -> Layout:
    word = board.strip().upper()
    for layout in LAYOUTS:
        if word in (str(layout.board_id), layout.name, layout.name.removesuffix("_BOARD")):
            return layout
    with warnings.catch_warnings():
        # BrainFlow imports pkg_resources, which warns; nothing a user could act on.
        warnings.simplefilter("ignore")
        return _ask_brainflow(board, word)


def _ask_brainflow(board: str, word: str) -> Layout:
    try:
        from brainflow.board_shim import BoardIds, BoardShim
    except ImportError as error:
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise FileError(
            f"the board {board!r} is not among {known}, and BrainFlow is not installed: install "
            "phosphene[brainflow] to read every board's files."
        ) from error
    for entry in BoardIds:
        if word in (str(entry.value), entry.name, entry.name.removesuffix("_BOARD")):
            return _from_descriptor(entry.name, BoardShim.get_board_descr(entry.value), entry.value)
    raise FileError(
        f"the board {board!r} is unknown to BrainFlow, expected an id or a name as in "
        "`phosphene devices`: check the spelling."
    )


def _from_descriptor(name: str, table: dict[str, object], board_id: int) -> Layout:
    channels = table.get("eeg_channels") or table.get("exg_channels") or []
    rate, n_rows = table.get("sampling_rate"), table.get("num_rows")
    if not isinstance(channels, list) or not channels or not isinstance(rate, int | float):
        raise FileError(f"the board {name} has no EEG columns: give another board.")
    labels = str(table.get("eeg_names") or "").split(",")
    if len(labels) != len(channels):
        labels = [str(k + 1) for k in range(len(channels))]

    def number(key: str) -> int | None:
        value = table.get(key)
        return value if isinstance(value, int) else None

    return Layout(
        board_id,
        name,
        n_rows if isinstance(n_rows, int) else max(channels) + 1,
        float(rate),
        tuple(channels),
        tuple(labels),
        number("package_num_channel"),
        number("timestamp_channel"),
        number("marker_channel"),
    )
