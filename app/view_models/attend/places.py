"""Where the pictures of a grid stand: by the screen's size, the viewing distance and the count.

Owns the geometry, in degrees of sight where the distance is known. Knows nothing of Qt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FILLED: Final = 0.74
"""Part of a cell's side that its picture takes; the rest keeps the neighbours' light away."""
LARGEST: Final = 5.0
"""Side of a picture above which it tells no more, degrees: what is seen sharply is smaller."""
SMALLEST: Final = 1.2
"""Side below which the neighbours are seen as sharply as the picture, degrees."""
FEWEST, MOST = 6, 64


@dataclass(frozen=True, slots=True)
class Box:
    """A square on the screen: its corner and side, pixels."""

    x: int
    y: int
    side: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where each picture stands.

    Attributes
    ----------
    boxes : tuple of Box
        One a picture, row by row.
    n_columns, n_rows : int
    degrees : float or None
        Side of a picture; None where size or distance of the screen are unknown.
    """

    boxes: tuple[Box, ...]
    n_columns: int
    n_rows: int
    degrees: float | None

    @property
    def advice(self) -> str:
        """What should be otherwise; empty where nothing should."""
        if self.degrees is None or self.degrees >= SMALLEST:
            return ""
        return (
            f"Each picture is {self.degrees:.1f}° wide, expected {SMALLEST:g}° or more: sit "
            "closer, use a larger screen or fewer pictures."
        )


def place(
    n_pictures: int,
    width: int,
    height: int,
    *,
    kept: int = 0,
    pixels_per_cm: float | None = None,
    distance_cm: float = 60.0,
) -> Places:
    """Lay out a grid that fills an area, but no larger than what is seen sharply needs.

    Parameters
    ----------
    n_pictures : int
        6 to 64.
    width, height : int
        Of the area, pixels.
    kept : int
        Rows of pixels at the lower and upper edge that a photodiode's square takes.
    pixels_per_cm : float or None
        Of the screen.
    distance_cm : float
        From the eyes to the screen.
    """
    room = max(1, height - 2 * kept)
    n_columns = max(range(1, n_pictures + 1), key=lambda n: _cell(n_pictures, n, width, room))
    n_rows = math.ceil(n_pictures / n_columns)
    cell = _cell(n_pictures, n_columns, width, room)
    side = FILLED * cell
    if pixels_per_cm:
        widest = 2 * distance_cm * math.tan(math.radians(LARGEST) / 2) * pixels_per_cm
        side, cell = min(side, widest), min(cell, widest / FILLED)
    left, top = (width - n_columns * cell) / 2, (height - n_rows * cell) / 2
    boxes = []
    for n in range(n_pictures):
        row, column = divmod(n, n_columns)
        n_here = min(n_columns, n_pictures - row * n_columns)
        shift = (n_columns - n_here) * cell / 2
        x = left + shift + column * cell + (cell - side) / 2
        y = top + row * cell + (cell - side) / 2
        boxes.append(Box(round(x), round(y), max(1, math.floor(side))))
    degrees = None
    if pixels_per_cm:
        degrees = math.degrees(2 * math.atan(side / pixels_per_cm / 2 / distance_cm))
    return Places(tuple(boxes), n_columns, n_rows, degrees)


def _cell(n_pictures: int, n_columns: int, width: int, height: int) -> float:
    return min(width / n_columns, height / math.ceil(n_pictures / n_columns))
