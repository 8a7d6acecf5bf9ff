"""How bright a flickering picture is in its two states, within limits for the eyes.

Owns the arithmetic, in light and not in pixel values: a screen's light goes with a power of them
(sRGB). Knows nothing of codes or Qt.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.values import Uint8

HIGHEST_CONTRAST: Final = 0.8
HIGHEST_LUMINANCE: Final = 0.8


class Flicker(BaseModel):
    """How much the light of a picture goes up and down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contrast: float = Field(default=0.6, ge=0.1, le=HIGHEST_CONTRAST)
    """(bright - dim) / (bright + dim), Michelson."""
    luminance: float = Field(default=0.7, ge=0.1, le=HIGHEST_LUMINANCE)
    """Light of the bright state, in parts of what the screen can."""

    @property
    def bright(self) -> float:
        """Factor on the picture's light in its bright state."""
        return self.luminance

    @property
    def dim(self) -> float:
        """Factor in its dim state."""
        return self.luminance * (1 - self.contrast) / (1 + self.contrast)

    @property
    def rest(self) -> float:
        """Factor while nothing flickers: the mean of both."""
        return (self.bright + self.dim) / 2


def dimmed(pixels: Uint8, factor: float) -> Uint8:
    """Return a picture with `factor` of its light, (height, width, 3) uint8."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) * factor
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table = np.round(255 * np.clip(coded, 0, 1)).astype(np.uint8)
    result: Uint8 = table[pixels]
    return result
