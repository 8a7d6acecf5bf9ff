"""A picture on the way from one to the next: drawn for who watches, never recorded.

Owns the value, which the decoder's process sends and a view shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.values import Uint8


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """What a smoothed session would show with a part of its newest window.

    Attributes
    ----------
    index : int
        Of the window whose picture it leads to.
    at : float
        How far on the way from the picture before it lies, above 0 and below 1.
    pixels : ndarray, shape (height, width, 3), uint8
        sRGB.
    """

    index: int
    at: float
    pixels: Uint8
