"""Pixels as perceptual colours, and back: OKLab (Ottosson 2020), in which equal steps look equal.

Owns the two conversions. NumPy only.
"""

from __future__ import annotations

import numpy as np

from pipeline.values import Float32, Uint8, read_only

_LEVELS = np.arange(256) / 255
_LINEAR = read_only(
    np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )
)
"""Light of each sRGB level (IEC 61966-2-1)."""
_N_FINE = 8192
_FINE = np.arange(_N_FINE + 1) / _N_FINE
_ENCODED = read_only(
    np.rint(
        255 * np.where(_FINE <= 0.0031308, 12.92 * _FINE, 1.055 * _FINE ** (1 / 2.4) - 0.055)
    ).astype(np.uint8)
)
"""sRGB level of evenly spaced light."""
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
).T.astype(np.float32)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
).T.astype(np.float32)
_FROM_LAB, _FROM_CONES = np.linalg.inv(_TO_LAB), np.linalg.inv(_TO_CONES)


def to_perceptual(pixels: Uint8) -> Float32:
    """Lightness, green-red and blue-yellow (..., 3) float32 of sRGB pixels (..., 3)."""
    colours: Float32 = np.cbrt(_LINEAR[pixels] @ _TO_CONES) @ _TO_LAB
    return colours


def from_perceptual(colours: Float32) -> Uint8:
    """Give the sRGB pixels (..., 3) of perceptual colours; what no screen shows is clipped."""
    light = (colours.astype(np.float32) @ _FROM_LAB) ** 3 @ _FROM_CONES
    pixels: Uint8 = _ENCODED[np.rint(np.clip(light, 0, 1) * _N_FINE).astype(np.intp)]
    return pixels
