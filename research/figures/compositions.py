"""Draws `docs/img/attend-compositions.webp`: ten paths of choices and what came of each.

Owns the layout. The choices are those of the simulated person (at random, three changes), seeds 0
to 9, none picked: `python -m research.figures.compositions`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from app.attend.choosing import Pictures, choose_pictures, upright_gallery
from app.attend.composing import Kind
from app.attend.drawing import Here
from configs import load_preset
from pipeline.gallery import Gallery
from pipeline.values import Uint8

OUT = Path(__file__).parents[2] / "docs" / "img" / "attend-compositions.webp"
N_PATHS, N_CELLS, N_CHANGES = 10, 20, 3
SIDE, CAPTION, GAP = 96, 18, 10


def path_of(pictures: Pictures, gallery: Gallery) -> list[tuple[Uint8, str]]:
    """Choose to the end; give the picture and the words of each choice, the result last."""
    composer = pictures.composer
    if composer is None:
        return []
    while not composer.is_done:
        composer.choose(composer.simulated(N_CHANGES))
    found = []
    for cell in composer.path:
        if cell.kind is Kind.DONE:
            break
        label = cell.mix.label
        is_own = label in gallery.labels
        pixels = gallery.image(label) if is_own else pictures.composed(label).pixels
        found.append((pixels, cell.words))
    if composer.mix is not None:
        found.append((pictures.composed(composer.mix.label).pixels, "drawn"))
    return found


def main() -> None:
    """Draw and write it."""
    config = load_preset("attend")
    drawing = Here(config)
    gallery = upright_gallery(config, drawing.space)
    rows = []
    for seed in range(N_PATHS):
        seeded = config.model_copy(update={"seed": seed})
        pictures = choose_pictures(seeded, drawing, N_CELLS, composes=True)
        rows.append(path_of(pictures, gallery))
    n_columns = max(map(len, rows))
    width = n_columns * (SIDE + GAP) + GAP
    height = len(rows) * (SIDE + CAPTION + GAP) + GAP
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    for r, row in enumerate(rows):
        for c, (pixels, words) in enumerate(row):
            x, y = GAP + c * (SIDE + GAP), GAP + r * (SIDE + CAPTION + GAP)
            page.paste(Image.fromarray(np.asarray(pixels)).resize((SIDE, SIDE)), (x, y))
            pen.text((x, y + SIDE + 3), words[:18], fill="black")
    page.save(OUT, quality=88)


if __name__ == "__main__":
    main()
