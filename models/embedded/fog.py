"""Fog: what stands before a picture whose embedding is short, since that is how doubt is said.

Owns how much of it belongs to a length and how it looks. Knows no network: the generator learnt it
(`research.embedded.latents`), and pictures that it did not learn are veiled with it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

FOG = (150, 155, 164)
"""Colour of a picture of nothing, sRGB."""
CLEAR, BLIND = 0.85, 0.10
"""Lengths of an embedding from which on a picture is clear, and below which it is all fog."""


def fog_of(length: float | npt.NDArray[np.float64]) -> float | npt.NDArray[np.float64]:
    """Fog of the picture that belongs to an embedding of this length, 0 to 1."""
    return np.clip((CLEAR - np.asarray(length)) / (CLEAR - BLIND), 0.0, 1.0)


def veiled(picture: Image.Image, amount: float) -> Image.Image:
    """Veil a picture: 0 leaves it, 1 leaves nothing but `FOG`; between, blurred and pale."""
    if amount <= 0.0:
        return picture
    side = picture.width
    radius = float(side * (0.005 + 0.06 * amount) * amount)
    blurred = picture.filter(ImageFilter.GaussianBlur(radius))
    pale = ImageEnhance.Color(blurred).enhance(1.0 - amount)
    return Image.blend(pale, Image.new("RGB", (side, side), FOG), min(1.0, amount**1.2))
