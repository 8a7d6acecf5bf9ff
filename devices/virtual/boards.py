"""The boards that the virtual headset can be: channels, rate, reference.

Owns the table of boards and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from configs import montages
from configs.montages import AVERAGE
from pipeline.errors import ConfigurationError


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
        Board("cyton", montages.CYTON, 250.0, ("A2",)),
        Board("daisy", montages.DAISY, 125.0, ("A2",)),
        Board("cap32", montages.CAP32, 250.0, ("M1", "M2")),
        Board("cap63", montages.CAP63, 500.0, ("Fz",)),
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
