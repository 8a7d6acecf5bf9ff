"""The background of what is drawn, made as flat as that of the pictures it was learnt from.

The generator leaves grain of a level or two where the gallery has one colour. Owns telling such a
background from a faint thing. NumPy only.
"""

from __future__ import annotations

import numpy as np

from pipeline.gallery.pictures import BACKGROUND
from pipeline.values import Float32, Uint8

LEVELS = (4, 8)
"""What differs from the background by no more than the first, with all that is near, is background;
what differs by the second is none of it; between, in part."""
FOG = (150, 155, 164)
"""Colour of a picture of nothing, sRGB."""
_NEAR = 5
"""Side of the neighbourhood, pixels."""


def background_of(pixels: Uint8) -> Uint8:
    """Colour (3,) that most of a picture's rim has, channel by channel."""
    rim = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    colour: Uint8 = np.median(rim, axis=0).astype(np.uint8)
    return colour


def flattened(pixels: Uint8) -> Uint8:
    """Give the background one colour wherever nothing else is, (height, width, 3) sRGB.

    A pixel is background where neither it nor any within two pixels differs from the background's
    colour by more than `LEVELS` in any channel: fainter than that is nothing that is drawn. The
    colour is the gallery's, as far towards fog as what was drawn.
    """
    colour = background_of(pixels)
    far = np.abs(pixels - colour.astype(np.int16)).max(axis=2)
    for axis in (0, 1):
        rim = [(_NEAR // 2, _NEAR // 2) if axis == each else (0, 0) for each in (0, 1)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(far, rim), _NEAR, axis)
        far = windows.max(axis=-1)
    low, high = LEVELS
    stays = np.clip(far - low, 0, high - low)[..., None] / np.float32(high - low)
    own = _untinted(colour)
    made: Uint8 = np.rint(own + (pixels - own) * stays).astype(np.uint8)
    return made


def _untinted(colour: Uint8) -> Float32:
    """Colour (3,) between clear and full fog that is nearest; the same where none is near."""
    clear, fog = (np.array(each, np.float32) for each in (BACKGROUND, FOG))
    way = fog - clear
    share = np.clip((colour - clear) @ way / (way @ way), 0, 1)
    nearest: Float32 = np.rint(clear + share * way)
    return nearest if np.abs(nearest - colour).max() <= LEVELS[1] else colour.astype(np.float32)
