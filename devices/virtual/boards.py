"""The boards that the virtual headset can be: channels, rate, reference.

Owns the table of boards and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import ConfigurationError

AVERAGE = "average"
"""The word of `pipeline.virtual_brain`; not imported from there, for it brings SciPy along and
`phosphene --help` shows it."""

_CYTON = "Fp1 Fp2 C3 C4 P7 P8 O1 O2"
_CAP32 = (
    "Fp1 Fp2 AF3 AF4 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz "
    "C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO3 PO4 O1 Oz O2"
)
_CAP63 = (
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz "
    "FC2 FC4 FC6 FT8 FT10 T7 C5 C3 C1 Cz C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 "
    "CP4 CP6 TP8 TP10 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
)


@dataclass(frozen=True, slots=True)
class Board:
    """A headset's montage: labels, rate (Hz), and what it measures against."""

    name: str
    ch_names: tuple[str, ...]
    sfreq: float
    reference: str | tuple[str, ...]
    manufacturer: str = "Phosphene (virtual)"


BOARDS = {
    board.name: board
    for board in (
        Board("cyton", tuple(_CYTON.split()), 250.0, ("A2",)),
        Board("daisy", tuple(f"{_CYTON} F7 F8 F3 F4 T7 T8 P3 P4".split()), 125.0, ("A2",)),
        Board("cap32", tuple(_CAP32.split()), 250.0, ("M1", "M2")),
        Board("cap63", tuple(_CAP63.split()), 500.0, ("Fz",)),
    )
}
"""OpenBCI's Cyton with and without Daisy (ear clip), a 32-channel 10-20 cap (linked mastoids) and
a 63-channel 10-10 cap against Fz."""


def board_of(name: str) -> Board:
    """Return a board by name; raises `ConfigurationError` for one that does not exist."""
    if name not in BOARDS:
        raise ConfigurationError(
            f"board {name!r} does not exist, expected one of {', '.join(BOARDS)}: "
            "choose one of these, or give --montage with electrode labels."
        )
    return BOARDS[name]


def custom_board(labels: str, *, sfreq: float = 250.0) -> Board:
    """Make a board of any labels (`"O1,O2,Pz"`), against the average of its own channels."""
    ch_names = tuple(labels.replace(",", " ").split())
    if len(ch_names) < 2 or len(set(ch_names)) != len(ch_names):
        raise ConfigurationError(
            f"montage {labels!r} has {len(ch_names)} labels, expected at least two and none "
            "twice, such as 'O1,O2,P7,P8'."
        )
    return Board("custom", ch_names, sfreq, AVERAGE)
