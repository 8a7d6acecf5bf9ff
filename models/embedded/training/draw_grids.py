"""Draw the figures of the gallery and the generator for `docs/img`.

    python -m models.embedded.training.draw_grids --extras FILE --renders TGZ --out docs/img

None is picked: rows are taken at even steps through the gallery, seeds count from 0.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open

from models.embedded.generator import WEIGHTS, load_generator
from models.embedded.sampler import EmbeddedSampler
from models.embedded.training import renders as pictures
from models.embedded.training.evaluate_generator import NORMS, draw
from models.embedded.training.latents import HELD_OUT
from pipeline.gallery import Gallery, Kind, load_gallery

Float32 = npt.NDArray[np.float32]
Uint8 = npt.NDArray[np.uint8]
PAIRS = (
    ("dog", "lion"), ("house", "castle"), ("smiling-face", "smiling-face-inverted"),
    ("apple", "sunflower"), ("red-car", "rocket"), ("guitar", "violin"),
)  # fmt: skip

CROWDS: tuple[tuple[Kind, str], ...] = (
    ("upright", "face"),
    ("inverted", "face"),
    ("upright", "house"),
    ("inverted", "house"),
    ("upright", "mammal"),
    ("upright", "food"),
)


def sheet(rows: list[list[Uint8]], *, gap: int = 4, side: int | None = None) -> Image.Image:
    """Tile pictures into one, row by row."""
    side = side or rows[0][0].shape[0]
    width = max(len(row) for row in rows) * (side + gap) + gap
    whole = Image.new("RGB", (width, len(rows) * (side + gap) + gap), (255, 255, 255))
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            picture = Image.fromarray(tile)
            if picture.width != side:
                picture = picture.resize((side, side), Image.Resampling.LANCZOS)
            whole.paste(picture, (gap + x * (side + gap), gap + y * (side + gap)))
    return whole


def captioned(image: Image.Image, captions: list[str], *, left: int = 150) -> Image.Image:
    """Write one caption left of each row."""
    whole = Image.new("RGB", (image.width + left, image.height), (255, 255, 255))
    whole.paste(image, (left, 0))
    font = ImageFont.load_default(size=14)
    pen = ImageDraw.Draw(whole)
    step = image.height / len(captions)
    for i, caption in enumerate(captions):
        pen.text((8, step * (i + 0.5)), caption, fill=(40, 44, 52), font=font, anchor="lm")
    return whole


def chunked(tiles: Uint8, n_columns: int) -> list[list[Uint8]]:
    """Rows of a grid."""
    return [list(tiles[i : i + n_columns]) for i in range(0, len(tiles), n_columns)]


def shown_pictures(gallery: Gallery) -> Uint8:
    """The gallery's own pictures."""
    return np.stack([gallery.image(label) for label in gallery.labels])


def figure_pairs(gallery: Gallery, sampler: EmbeddedSampler) -> Image.Image:
    """Real above drawn, for every fifth upright concept."""
    part = gallery.subset(kind="upright")
    part = part.subset(labels=part.labels[::5])
    real, made = chunked(shown_pictures(part), 12), chunked(draw(sampler, part.embeddings), 12)
    return sheet([row for pair in zip(real, made, strict=True) for row in pair], side=96)


def figure_seeds(gallery: Gallery, sampler: EmbeddedSampler) -> Image.Image:
    """The same embedding with eight seeds."""
    part = gallery.subset(kind="upright")
    labels = part.labels[11::30]
    rows = [list(draw(sampler, np.repeat(part.embedding(each)[None], 8, 0))) for each in labels]
    return captioned(sheet(rows, side=96), list(labels))


def figure_steps(gallery: Gallery, samplers: dict[int, EmbeddedSampler]) -> Image.Image:
    """The same embeddings and seeds with 1, 2, 4 and 50 steps, under the real picture."""
    part = gallery.subset(kind="upright")
    part = part.subset(labels=part.labels[4::20])
    rows = [list(shown_pictures(part))]
    rows += [list(draw(sampler, part.embeddings)) for sampler in samplers.values()]
    return captioned(sheet(rows, side=96), ["gallery", *(f"{n} steps" for n in samplers)], left=80)


def figure_between(gallery: Gallery, sampler: EmbeddedSampler) -> Image.Image:
    """From one embedding to another along the sphere, one seed."""
    rows = []
    known = [pair for pair in PAIRS if set(pair) <= set(gallery.labels)]
    for first, second in known:
        a, b = gallery.embedding(first), gallery.embedding(second)
        angle = np.arccos(np.clip(a @ b, -1, 1))
        ways = np.linspace(0, 1, 9)[:, None]
        path = (np.sin((1 - ways) * angle) * a + np.sin(ways * angle) * b) / np.sin(angle)
        rows.append(list(sampler.draw(path.astype(np.float32), seeds=(0,) * 9)))
    captions = [f"{first} to\n{second}" for first, second in known]
    return captioned(sheet(rows, side=96), captions, left=170)


def figure_norms(gallery: Gallery, sampler: EmbeddedSampler) -> Image.Image:
    """Shorter and shorter conditions; last rows: random directions, which mean nothing."""
    part = gallery.subset(kind="upright")
    labels = list(part.labels[9::38])
    rng = np.random.default_rng(0)
    strange = rng.standard_normal((2, 64)).astype(np.float32)
    directions = [part.embedding(label) for label in labels]
    directions += [row / np.linalg.norm(row) for row in strange]
    scale = np.array(NORMS, np.float32)[::-1, None]
    rows = [list(sampler.draw(scale * row, seeds=(0,) * len(NORMS))) for row in directions]
    return captioned(sheet(rows, side=96), [*labels, "random direction", "random direction"])


def figure_crowds(gallery: Gallery, sampler: EmbeddedSampler) -> Image.Image:
    """What a decoder that knows only the category would draw: the categories' mean embeddings."""
    means = np.stack(
        [
            gallery.subset(kind=kind, category=category).embeddings.mean(0)
            for kind, category in CROWDS
        ]
    )
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    rows = [list(sampler.draw(v, seeds=(0,) * len(CROWDS))) for v in (means, means / lengths)]
    return captioned(sheet(rows, side=128), ["mean of the\ncategory", "the same at\nfull length"])


def figure_outside(sampler: EmbeddedSampler, extras: Path, package: Path) -> Image.Image:
    """Concepts that no training step has seen: real above drawn."""
    renders = pictures.read_renders(package)
    with safe_open(extras, "np") as file:
        table, stems = file.get_tensor("embeddings"), json.loads(file.metadata()["code_points"])
    picked = list(range(len(stems)))[HELD_OUT][:36]
    background = pictures.flat_background(128)
    real = np.stack(
        [
            pictures.to_array(pictures.compose(renders[stems[i]], pictures.Pose(), background))
            for i in picked
        ]
    )
    rows = zip(chunked(real, 12), chunked(draw(sampler, table[picked]), 12), strict=True)
    return sheet([row for pair in rows for row in pair], side=96)


def figure_map(gallery: Gallery, path: Path) -> None:
    """t-SNE of the uprights' embeddings, with their pictures."""
    from sklearn.manifold import TSNE

    part = gallery.subset(kind="upright")
    model = TSNE(metric="cosine", perplexity=12, init="pca", random_state=0, n_jobs=1)
    where = model.fit_transform(part.embeddings.astype(np.float64))
    low, high = where.min(0), where.max(0)
    size, tile = 1400, 56
    whole = Image.new("RGB", (size, size), pictures.BACKGROUND)
    for spot, label in zip((where - low) / (high - low), part.labels, strict=True):
        x, y = (spot * (size - tile)).astype(int)
        whole.paste(Image.fromarray(part.image(label, size=tile)), (int(x), int(y)))
    whole.save(path, quality=88)


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extras", type=Path, required=True)
    parser.add_argument("--renders", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    gallery = load_gallery()
    generator = load_generator(options.weights)
    samplers = {n: EmbeddedSampler(generator, num_inference_steps=n) for n in (1, 2, 4, 50)}
    upright = gallery.subset(kind="upright")
    sheet(chunked(shown_pictures(upright), 19), side=72, gap=2).save(
        options.out / "gallery.webp", quality=88
    )
    figure_map(gallery, options.out / "gallery-map.webp")
    figures = {
        "generator-gallery": figure_pairs(gallery, samplers[4]),
        "generator-steps": figure_steps(gallery, samplers),
        "generator-seeds": figure_seeds(gallery, samplers[4]),
        "generator-between": figure_between(gallery, samplers[4]),
        "generator-norms": figure_norms(gallery, samplers[4]),
        "generator-categories": figure_crowds(gallery, samplers[4]),
        "generator-outside": figure_outside(samplers[4], options.extras, options.renders),
    }
    for name, image in figures.items():
        image.save(options.out / f"{name}.webp", quality=90)


if __name__ == "__main__":
    main()
