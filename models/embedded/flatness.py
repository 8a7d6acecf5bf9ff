"""The background of what is drawn, made as flat as that of the pictures it was learnt from.

The generator leaves grain of a level or two where the gallery has one colour. Owns telling such a
background from a faint thing. NumPy only.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pipeline.values import Uint8

LEVELS = (4, 8)
"""What differs from the background by no more than the first, with all that is near, is background;
what differs by the second is none of it; between, in part."""
_NEAR = 5
"""Side of the neighbourhood, pixels."""


def background_of(pixels: Uint8) -> Uint8:
    """Colour (3,) that most of a picture's rim has, channel by channel."""
    rim = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    colour: Uint8 = np.median(rim, axis=0).astype(np.uint8)
    return colour


def flattened(pixels: Uint8) -> Uint8:
    """Give the background its own colour wherever nothing else is, (height, width, 3) sRGB.

    A pixel is background where neither it nor any within two pixels differs from the background's
    colour by more than `LEVELS` in any channel: fainter than that is nothing that is drawn.
    """
    colour = background_of(pixels).astype(np.int16)
    away = pixels - colour
    far = np.abs(away).max(axis=2)
    far = ndimage.maximum_filter1d(ndimage.maximum_filter1d(far, _NEAR, 0), _NEAR, 1)
    low, high = LEVELS
    stays = np.clip(far - low, 0, high - low)[..., None]
    made: Uint8 = (colour + np.rint(away * (stays / np.float32(high - low)))).astype(np.uint8)
    return made
