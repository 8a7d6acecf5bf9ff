"""Pictures as somebody might have them in a folder, drawn anew for every test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def save_pictures(
    folder: Path, names: Sequence[str], *, suffix: str = ".png", size: tuple[int, int] = (60, 40)
) -> list[Path]:
    """Save a coarse pattern under each name (`category/name`), each another; return their paths."""
    paths = []
    for seed, name in enumerate(names):
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3)).astype(np.uint8)
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).save(path)
        paths.append(path)
    return paths
