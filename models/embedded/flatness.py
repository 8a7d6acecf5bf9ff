"""The background of what is drawn, made as flat as that of the pictures it was learnt from.

The generator leaves grain of a level or two where the gallery has one colour. Owns telling such a
background from a faint thing. NumPy only.
"""

from __future__ import annotations

import numpy as np

from models.embedded.fog import FOG
from pipeline.gallery.pictures import BACKGROUND
from pipeline.values import Float32, Uint8

LEVELS = (4, 8)
"""What differs from the background by no more than the first, with all that is near, is background;
what differs by the second is none of it; between, in part."""
_NEAR = 5
"""Side of the neighbourhood, pixels."""


def background_of(pixels: Uint8) -> Uint8:
    """Colour (3,) that most of a picture's rim has, channel by channel."""
    rim = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    low, high = (len(rim) - 1) // 2, len(rim) // 2
    ordered = np.partition(rim, (low, high), axis=0).astype(np.float64)
    colour: Uint8 = ((ordered[low] + ordered[high]) / 2).astype(np.uint8)
    return colour


def flattened(pixels: Uint8) -> Uint8:
    """Give the background one colour wherever nothing else is, (height, width, 3) sRGB.

    A pixel is background where neither it nor any within two pixels differs from the background's
    colour by more than `LEVELS` in any channel: fainter than that is nothing that is drawn. The
    colour is the gallery's, as far towards fog as what was drawn. Channel by channel, which is
    three times as fast as all at once.
    """
    colour = background_of(pixels)
    away = [_distance(pixels[..., k], colour[k]) for k in range(3)]
    far = np.maximum(np.maximum(away[0], away[1]), away[2])
    far = _largest_near(_largest_near(far).T.copy()).T
    (low, high), own = LEVELS, _untinted(colour)
    made, is_own = pixels.copy(), far <= low
    for k in range(3):
        np.copyto(made[..., k], own[k].astype(np.uint8), where=is_own)
    part = (far < high) & ~is_own
    stays = (far[part, None] - np.int16(low)) / np.float32(high - low)
    made[part] = np.rint(own + (pixels[part] - own) * stays)
    return made


def _distance(values: Uint8, level: np.uint8) -> Uint8:
    away: Uint8 = np.maximum(values, level) - np.minimum(values, level)
    return away


def _largest_near(values: Uint8) -> Uint8:
    """Largest of each value and those up to two rows away, same shape."""
    largest = values.copy()
    for rows in range(1, _NEAR // 2 + 1):
        np.maximum(largest[rows:], values[:-rows], out=largest[rows:])
        np.maximum(largest[:-rows], values[rows:], out=largest[:-rows])
    return largest


def _untinted(colour: Uint8) -> Float32:
    """Colour (3,) between clear and full fog that is nearest; the same where none is near."""
    clear, fog = (np.array(each, np.float32) for each in (BACKGROUND, FOG))
    way = fog - clear
    share = np.clip((colour - clear) @ way / (way @ way), 0, 1)
    nearest: Float32 = np.rint(clear + share * way)
    return nearest if np.abs(nearest - colour).max() <= LEVELS[1] else colour.astype(np.float32)
