"""Pictures changed before CLIP reads them, in training only.

Owns the chances and ranges (arXiv 2305.18274, section A.2); the operations are Pillow's. Every
draw comes from a generator.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps

CROP_CHANCE, CROP_AREA, CROP_RATIO, CROP_SIDE = 0.3, (0.6, 1.0), (3 / 4, 4 / 3), 224
FLIP_CHANCE, COLOUR_CHANCE, GREY_CHANCE = 0.5, 0.3, 0.3
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1


def augmented(picture: Image.Image, generator: torch.Generator) -> Image.Image:
    """Crop, mirror, colour or grey a picture, each with its chance."""
    chances = torch.rand(4, generator=generator).tolist()
    if chances[0] < CROP_CHANCE:
        picture = _cropped(picture, generator)
    if chances[1] < FLIP_CHANCE:
        picture = ImageOps.mirror(picture)
    if chances[2] < COLOUR_CHANCE:
        picture = coloured(picture, generator)
    if chances[3] < GREY_CHANCE:
        picture = picture.convert("L").convert("RGB")
    return picture


def coloured(picture: Image.Image, generator: torch.Generator) -> Image.Image:
    """Change brightness, contrast, saturation and hue: every pixel stays in its place."""
    draws = (2 * torch.rand(4, generator=generator) - 1).tolist()
    picture = ImageEnhance.Brightness(picture).enhance(1 + BRIGHTNESS * draws[0])
    picture = ImageEnhance.Contrast(picture).enhance(1 + CONTRAST * draws[1])
    picture = ImageEnhance.Color(picture).enhance(1 + SATURATION * draws[2])
    hue, saturation, value = picture.convert("HSV").split()
    turned = (np.asarray(hue, dtype=np.int16) + round(255 * HUE * draws[3])) % 256
    turned_hue = Image.fromarray(turned.astype(np.uint8))
    return Image.merge("HSV", (turned_hue, saturation, value)).convert("RGB")


def _cropped(picture: Image.Image, generator: torch.Generator) -> Image.Image:
    draws = torch.rand(4, generator=generator).tolist()
    width, height = picture.size
    area = width * height * (CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * draws[0])
    low, high = (math.log(each) for each in CROP_RATIO)
    ratio = math.exp(low + (high - low) * draws[1])
    w = min(width, max(1, round(math.sqrt(area * ratio))))
    h = min(height, max(1, round(math.sqrt(area / ratio))))
    left, top = round(draws[2] * (width - w)), round(draws[3] * (height - h))
    box = (left, top, left + w, top + h)
    return picture.resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BICUBIC, box=box)
