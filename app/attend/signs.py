"""The signs of the cells that are no picture: the way back, and the end.

Owns their pixels, drawn by arithmetic so that no file is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from app.attend.composing import Kind
from pipeline.values import Float64, Uint8, read_only

SIZE: Final = 128
_PAPER: Final = np.array([232, 232, 228])
_INK: Final = np.array([40, 44, 52])


def _line(first: tuple[float, float], last: tuple[float, float], width: float = 0.06) -> Float64:
    """How near each pixel is to a line between two places (0 to 1), True inside."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    start, way = np.array(first), np.array(last) - np.array(first)
    along = np.clip(((x - start[0]) * way[0] + (y - start[1]) * way[1]) / (way @ way), 0, 1)
    away: Float64 = np.hypot(x - start[0] - along * way[0], y - start[1] - along * way[1])
    return np.asarray(away < width, dtype=np.float64)


def _sign(*lines: Float64) -> Uint8:
    inked = np.max(lines, axis=0)[:, :, np.newaxis]
    pixels: Uint8 = (inked * _INK + (1 - inked) * _PAPER).astype(np.uint8)
    return read_only(pixels)


SIGNS: Final[Mapping[Kind, Uint8]] = {
    Kind.UNDO: _sign(
        _line((0.22, 0.5), (0.8, 0.5)),
        _line((0.22, 0.5), (0.45, 0.27)),
        _line((0.22, 0.5), (0.45, 0.73)),
    ),
    Kind.DONE: _sign(_line((0.2, 0.52), (0.42, 0.74)), _line((0.42, 0.74), (0.82, 0.28))),
}
"""Pixels (128, 128, 3) of each sign."""
