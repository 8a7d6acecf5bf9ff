"""Draws `docs/img/gallery-own-pictures.webp`: twenty pictures that nothing was trained on.

Above: what was given; below: what the networks alone draw of each vector, and what is drawn, sure
and in doubt.

Owns the pictures: ten photographs that scikit-image and scikit-learn bring, ten drawn here, none
picked by what came out. They become a gallery as anybody's do:
`python -m research.figures.own_pictures`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
import sklearn
from PIL import Image, ImageDraw

from models.embedded.sampler import load_sampler
from models.pictures import picture_encoder
from pipeline.gallery import SPACE, Gallery
from pipeline.gallery.making import find_pictures, make_gallery
from pipeline.gallery.pictures import BACKGROUND
from pipeline.values import Uint8

OUT = Path(__file__).parents[2] / "docs" / "img" / "gallery-own-pictures.webp"
PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "horse": "horse.png",
    "moon": "moon.png",
    "photographer": "camera.png",
    "rocket": "rocket.jpg",
}
"""Of scikit-image, public domain or CC0; two more of scikit-learn, CC BY 2.0."""
LENGTHS = (1.0, 0.5, 0.3)
CELL, GAP, N_ACROSS = 96, 4, 10
_SIDE = 512
_INK = (45, 45, 60)
Draw = Callable[[ImageDraw.ImageDraw], None]


def _house(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((110, 230, 400, 450), (222, 184, 135), _INK, 6)
    pen.polygon([(80, 240), (255, 80), (430, 240)], (178, 60, 50), _INK)
    pen.rectangle((220, 330, 290, 450), (110, 70, 40), _INK, 5)
    pen.rectangle((140, 270, 200, 330), (150, 200, 235), _INK, 5)
    pen.rectangle((310, 270, 370, 330), (150, 200, 235), _INK, 5)


def _tree(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((225, 300, 285, 470), (120, 80, 45))
    for x, y in ((160, 230), (255, 160), (350, 230), (255, 270)):
        pen.ellipse((x - 95, y - 95, x + 95, y + 95), (60, 140, 60))


def _sun(pen: ImageDraw.ImageDraw) -> None:
    for angle in np.arange(0, 2 * np.pi, np.pi / 6):
        end = (256 + 220 * np.cos(angle), 256 + 220 * np.sin(angle))
        pen.line([(256, 256), end], (245, 190, 40), 16)
    pen.ellipse((146, 146, 366, 366), (255, 215, 60), (240, 170, 30), 8)


def _fish(pen: ImageDraw.ImageDraw) -> None:
    pen.polygon([(360, 256), (480, 150), (480, 362)], (240, 120, 50))
    pen.ellipse((60, 150, 400, 362), (250, 150, 60), _INK, 5)
    pen.ellipse((120, 215, 155, 250), (255, 255, 255), _INK, 4)
    pen.ellipse((132, 227, 146, 241), _INK)


def _boat(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((0, 400, 512, 512), (70, 130, 190))
    pen.polygon([(90, 340), (430, 340), (370, 430), (150, 430)], (150, 80, 50), _INK)
    pen.rectangle((245, 80, 257, 340), _INK)
    pen.polygon([(265, 90), (265, 320), (420, 320)], (250, 250, 245), _INK)
    pen.polygon([(235, 130), (235, 320), (120, 320)], (220, 60, 60), _INK)


def _face(pen: ImageDraw.ImageDraw) -> None:
    pen.ellipse((70, 70, 442, 442), (255, 214, 70), _INK, 8)
    for x in (190, 322):
        pen.ellipse((x - 24, 180, x + 24, 245), _INK)
    pen.arc((160, 200, 352, 370), 20, 160, _INK, 14)


def _car(pen: ImageDraw.ImageDraw) -> None:
    pen.polygon([(140, 260), (190, 170), (340, 170), (400, 260)], (170, 215, 240), _INK)
    pen.rounded_rectangle((50, 255, 462, 350), 30, (200, 40, 45), _INK, 6)
    for x in (150, 362):
        pen.ellipse((x - 52, 300, x + 52, 404), (50, 50, 55))
        pen.ellipse((x - 22, 330, x + 22, 374), (190, 190, 195))


def _umbrella(pen: ImageDraw.ImageDraw) -> None:
    pen.line([(256, 90), (256, 420)], _INK, 12)
    pen.arc((196, 370, 256, 460), 0, 180, _INK, 12)
    pen.pieslice((70, 90, 442, 430), 180, 360, (110, 70, 170), _INK, 6)


def _star(pen: ImageDraw.ImageDraw) -> None:
    turn = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 210, 85)
    corners = np.stack([256 + radius * np.cos(turn), 270 + radius * np.sin(turn)], axis=1)
    pen.polygon([(float(x), float(y)) for x, y in corners], (250, 205, 50), _INK)


def _mushroom(pen: ImageDraw.ImageDraw) -> None:
    pen.rounded_rectangle((205, 250, 307, 440), 40, (240, 230, 210), _INK, 6)
    pen.pieslice((80, 90, 432, 430), 180, 360, (205, 45, 45), _INK, 6)
    for x, y in ((170, 190), (256, 140), (340, 200)):
        pen.ellipse((x - 26, y - 26, x + 26, y + 26), (250, 250, 250))


DRAWINGS: dict[str, Draw] = {
    "boat": _boat, "car": _car, "face": _face, "fish": _fish, "house": _house,
    "mushroom": _mushroom, "star": _star, "sun": _sun, "tree": _tree, "umbrella": _umbrella,
}  # fmt: skip


def write_pictures(folder: Path) -> None:
    """Write the twenty pictures, in two subfolders."""
    photographs, drawings = folder / "photograph", folder / "drawing"
    for each in (photographs, drawings):
        each.mkdir(parents=True)
    data = Path(skimage.__file__).parent / "data"
    for name, file in PHOTOGRAPHS.items():
        Image.open(data / file).convert("RGB").save(photographs / f"{name}.png")
    images = Path(sklearn.__file__).parent / "datasets" / "images"
    for name, file in (("dahlia", "flower.jpg"), ("temple", "china.jpg")):
        Image.open(images / file).convert("RGB").save(photographs / f"{name}.png")
    for name, draw in DRAWINGS.items():
        picture = Image.new("RGB", (_SIDE, _SIDE), BACKGROUND)
        draw(ImageDraw.Draw(picture))
        picture.resize((256, 256), Image.Resampling.LANCZOS).save(drawings / f"{name}.png")


def rows_of(gallery: Gallery) -> list[list[Uint8]]:
    """What was given, what the networks alone draw of it, and what is drawn, by length."""
    alone, knowing = load_sampler(), load_sampler()
    knowing.know(gallery)
    vectors = gallery.tables[SPACE]
    rows = [[gallery.image(label) for label in gallery.labels]]
    rows.append([alone.draw(each[None], seeds=(0,))[0] for each in vectors])
    for length in LENGTHS:
        scaled = np.float32(length) * vectors
        rows.append([knowing.draw(each[None], seeds=(0,))[0] for each in scaled])
    return rows


def page_of(rows: list[list[Uint8]]) -> Image.Image:
    """Rows below each other, `N_ACROSS` pictures wide, one block after the other."""
    blocks = -(-len(rows[0]) // N_ACROSS)
    height = blocks * (len(rows) * (CELL + GAP) + 3 * GAP)
    page = Image.new("RGB", (N_ACROSS * (CELL + GAP) + GAP, height), "white")
    for block in range(blocks):
        top = block * (len(rows) * (CELL + GAP) + 3 * GAP) + GAP
        for line, row in enumerate(rows):
            for column, pixels in enumerate(row[block * N_ACROSS : (block + 1) * N_ACROSS]):
                cell = Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.LANCZOS)
                page.paste(cell, (GAP + column * (CELL + GAP), top + line * (CELL + GAP)))
    return page


def main() -> None:
    """Draw and write it."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given"
        write_pictures(given)
        gallery = make_gallery(
            find_pictures(given),
            Path(folder) / "made",
            name="own pictures",
            encoders={SPACE: picture_encoder(SPACE)},
        )
        page = page_of(rows_of(gallery))
    page.save(OUT, quality=85, method=6)
    print(f"{OUT}: {', '.join(gallery.labels)}")


if __name__ == "__main__":
    main()
