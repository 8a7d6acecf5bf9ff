"""Pictures changed before CLIP reads them, in training only.

Owns the chances and ranges (arXiv 2305.18274, section A.2); the operations are Pillow's. Every
draw comes from a generator, and none depends on the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps

CROP_CHANCE, CROP_AREA, CROP_RATIO, CROP_SIDE = 0.3, (0.6, 1.0), (3 / 4, 4 / 3), 224
FLIP_CHANCE, COLOUR_CHANCE, GREY_CHANCE = 0.5, 0.3, 0.3
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1


Four = tuple[float, float, float, float]
"""Draws of 0..1."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What was drawn for a picture: whether and how it is cropped and coloured, and the rest."""

    crop: Four | None
    is_mirrored: bool
    colour: Four | None
    is_grey: bool


def draw_four(generator: torch.Generator) -> Four:
    """Draw what a crop or a change of colours needs."""
    a, b, c, d = torch.rand(4, generator=generator).tolist()
    return a, b, c, d


def draw_changes(generator: torch.Generator) -> Changes:
    """Draw the changes of a picture, each with its chance."""
    crops, mirrors, colours, greys = draw_four(generator)
    return Changes(
        draw_four(generator) if crops < CROP_CHANCE else None,
        mirrors < FLIP_CHANCE,
        draw_four(generator) if colours < COLOUR_CHANCE else None,
        greys < GREY_CHANCE,
    )


def augmented(picture: Image.Image, changes: Changes) -> Image.Image:
    """Crop, mirror, colour or grey a picture."""
    if changes.crop is not None:
        picture = _cropped(picture, changes.crop)
    if changes.is_mirrored:
        picture = ImageOps.mirror(picture)
    if changes.colour is not None:
        picture = coloured(picture, changes.colour)
    return picture.convert("L").convert("RGB") if changes.is_grey else picture


def coloured(picture: Image.Image, four: Four) -> Image.Image:
    """Change brightness, contrast, saturation and hue: every pixel stays in its place."""
    draws = [2 * each - 1 for each in four]
    picture = ImageEnhance.Brightness(picture).enhance(1 + BRIGHTNESS * draws[0])
    picture = ImageEnhance.Contrast(picture).enhance(1 + CONTRAST * draws[1])
    picture = ImageEnhance.Color(picture).enhance(1 + SATURATION * draws[2])
    hue, saturation, value = picture.convert("HSV").split()
    turned = (np.asarray(hue, dtype=np.int16) + round(255 * HUE * draws[3])) % 256
    turned_hue = Image.fromarray(turned.astype(np.uint8))
    return Image.merge("HSV", (turned_hue, saturation, value)).convert("RGB")


def _cropped(picture: Image.Image, draws: Four) -> Image.Image:
    width, height = picture.size
    area = width * height * (CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * draws[0])
    low, high = (math.log(each) for each in CROP_RATIO)
    ratio = math.exp(low + (high - low) * draws[1])
    w = min(width, max(1, round(math.sqrt(area * ratio))))
    h = min(height, max(1, round(math.sqrt(area / ratio))))
    left, top = round(draws[2] * (width - w)), round(draws[3] * (height - h))
    box = (left, top, left + w, top + h)
    return picture.resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BICUBIC, box=box)
