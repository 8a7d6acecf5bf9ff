"""Draw the figures of the gallery and the generator for `docs/img`.

    python -m research.embedded.draw_grids --pictures FILE --renders TGZ --out docs/img

None is picked: rows are taken at even steps through the gallery, seeds count from 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from configs import DecoderConfig
from models.embedded.generator import WEIGHTS, load_generator
from models.embedded.sampler import EmbeddedSampler
from pipeline.gallery import Gallery, Kind, load_gallery
from research.embedded import every_picture
from research.embedded import renders as pictures
from research.embedded.evaluate_generator import NORMS, draw, shown_pictures
from research.embedded.latents import outside
from research.embedded.picture_quality import from_tensor, midpoints, pairs_of
from research.embedded.train_autoencoder import canonical

Float32 = npt.NDArray[np.float32]
Uint8 = npt.NDArray[np.uint8]
_TILE, _GAP = 96, 4
_COLUMN = _TILE + _GAP

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


def sheet(rows: list[list[Uint8]], *, gap: int = _GAP, side: int | None = None) -> Image.Image:
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


def headed(
    image: Image.Image, heading: str, columns: Sequence[str] = (), *, step: int = _COLUMN
) -> Image.Image:
    """Write a heading above a grid, and what its columns are.

    `columns` stand `step` pixels apart over the right part of the grid, left of which its
    captions stand.
    """
    top = 34 + (24 if columns else 0)
    whole = Image.new("RGB", (image.width, image.height + top), (255, 255, 255))
    whole.paste(image, (0, top))
    pen = ImageDraw.Draw(whole)
    pen.text((8, 8), heading, fill=(20, 24, 32), font=ImageFont.load_default(size=17))
    font = ImageFont.load_default(size=14)
    left = image.width - step * len(columns) - 4
    for i, column in enumerate(columns):
        place = (left + step * (i + 0.5), top - 12)
        pen.text(place, column, fill=(40, 44, 52), font=font, anchor="mm")
    return whole


def chunked(tiles: Uint8, n_columns: int) -> list[list[Uint8]]:
    """Rows of a grid."""
    return [list(tiles[i : i + n_columns]) for i in range(0, len(tiles), n_columns)]


def figure_pairs(gallery: Gallery, sampler: EmbeddedSampler) -> Image.Image:
    """Real above drawn, for every fifth upright concept."""
    part = gallery.subset(kind="upright")
    part = part.subset(labels=part.labels[::5])
    real, made = chunked(shown_pictures(part), 12), chunked(draw(sampler, part.embeddings), 12)
    return paired(real, made)


def paired(
    real: list[list[Uint8]], made: list[list[Uint8]], *, above: str = "gallery"
) -> Image.Image:
    """Rows of real pictures, each above the row of what was drawn."""
    rows = [row for pair in zip(real, made, strict=True) for row in pair]
    return captioned(sheet(rows, side=_TILE), [above, "drawn"] * len(real), left=80)


def figure_seeds(gallery: Gallery, sampler: EmbeddedSampler) -> Image.Image:
    """The same embedding with eight seeds."""
    part = gallery.subset(kind="upright")
    labels = part.labels[11::30]
    rows = [list(draw(sampler, np.repeat(part.embedding(each)[None], 8, 0))) for each in labels]
    return captioned(sheet(rows, side=_TILE), list(labels))


def figure_steps(gallery: Gallery, samplers: dict[int, EmbeddedSampler]) -> Image.Image:
    """The same embeddings and seeds with 1, 2, 4 and 50 steps, under the real picture."""
    part = gallery.subset(kind="upright")
    part = part.subset(labels=part.labels[4::20])
    rows = [list(shown_pictures(part))]
    rows += [list(draw(sampler, part.embeddings)) for sampler in samplers.values()]
    return captioned(
        sheet(rows, side=_TILE),
        ["gallery", *(f"{n} step{'s' if n > 1 else ''}" for n in samplers)],
        left=80,
    )


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
    return captioned(sheet(rows, side=_TILE), captions, left=170)


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
    return captioned(sheet(rows, side=_TILE), [*labels, "random direction", "random direction"])


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


def figure_outside(
    sampler: EmbeddedSampler, known: every_picture.Pictures, package: Path
) -> Image.Image:
    """Renders kept apart from every training, at even steps: real above drawn."""
    renders = pictures.read_renders(package)
    picked = np.flatnonzero(known.apart)[:: max(1, int(known.apart.sum()) // 36)][:36]
    real = from_tensor(canonical(renders, [known.stems[i] for i in picked]))
    made = draw(sampler, known.vectors[picked])
    return paired(chunked(real, 12), chunked(made, 12), above="render")


def figure_blends(gallery: Gallery, sampler: EmbeddedSampler) -> Image.Image:
    """All fifty pairs of `picture_quality`: one end, half way, the other end."""
    first, second = np.array(pairs_of(gallery)).T
    columns = [gallery.embeddings[first], midpoints(gallery), gallery.embeddings[second]]
    shown = np.stack([draw(sampler, vectors) for vectors in columns], axis=1)
    gutter = np.full_like(shown[:, :1, :, :8], 255)
    triples = np.concatenate([*np.moveaxis(shown, 1, 0), gutter[:, 0]], axis=2)
    whole = np.concatenate([np.concatenate(list(row), axis=1) for row in chunked(triples, 5)])
    image = Image.fromarray(whole)
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def figure_map(gallery: Gallery) -> Image.Image:
    """t-SNE of the uprights' embeddings, each picture moved to a free cell near its place.

    Who lies beside whom is kept as well as a grid can; distances are not.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.manifold import TSNE

    part = gallery.subset(kind="upright")
    model = TSNE(metric="cosine", perplexity=12, init="pca", random_state=0, n_jobs=1)
    where = model.fit_transform(part.embeddings.astype(np.float64))
    low, high = where.min(0), where.max(0)
    n_cells, tile = 20, 68
    places = (where - low) / (high - low) * (n_cells - 1)
    cells = np.stack(np.meshgrid(range(n_cells), range(n_cells)), -1).reshape(-1, 2)
    far = ((places[:, None] - cells[None]) ** 2).sum(-1)
    whole = Image.new("RGB", (n_cells * tile, n_cells * tile), pictures.BACKGROUND)
    for row, cell in zip(*linear_sum_assignment(far), strict=True):
        x, y = (int(value) * tile for value in cells[cell])
        whole.paste(Image.fromarray(part.image(part.labels[row], size=tile - 4)), (x + 2, y + 2))
    return whole


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, required=True, help="of every_picture")
    parser.add_argument("--renders", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    gallery = load_gallery()
    known = every_picture.read(options.pictures)
    generator = load_generator(options.weights)
    samplers = {n: EmbeddedSampler(generator, num_inference_steps=n) for n in (1, 2, 4, 50)}
    drawn = samplers[DecoderConfig().num_inference_steps]
    upright = gallery.subset(kind="upright")
    lengths = [f"length {norm:g}" for norm in reversed(NORMS)]
    figures = {
        "gallery": headed(
            sheet(chunked(shown_pictures(upright), 19), side=72, gap=2),
            f"The gallery's {len(upright)} upright concepts",
        ),
        "gallery-map": headed(
            figure_map(gallery), "Who lies beside whom in the embedding space (t-SNE, on a grid)"
        ),
        "generator-gallery": headed(
            figure_pairs(gallery, drawn),
            "Every fifth concept of the gallery, and what is drawn of it",
        ),
        "generator-steps": headed(
            figure_steps(gallery, samplers), "The same embeddings and seeds in 1, 2, 4 and 50 steps"
        ),
        "generator-seeds": headed(
            figure_seeds(gallery, drawn),
            "One embedding a row, eight seeds",
            [f"seed {seed}" for seed in range(8)],
        ),
        "generator-between": headed(
            figure_between(gallery, drawn),
            "From one embedding to another along the sphere, one seed",
            [f"{share:.0%}" for share in np.linspace(0, 1, 9)],
        ),
        "generator-blends": headed(
            figure_blends(upright, drawn),
            "Fifty random pairs, none picked: one end, half way along the sphere, the other end",
        ),
        "generator-norms": headed(
            figure_norms(gallery, drawn),
            "Shorter and shorter embeddings: less and less sure",
            lengths,
        ),
        "generator-categories": headed(
            figure_crowds(gallery, drawn),
            "What a decoder draws that knows no more than the category",
            [f"{category}, {kind}" for kind, category in CROWDS],
            step=128 + _GAP,
        ),
        "generator-outside": headed(
            figure_outside(drawn, outside(known, gallery), options.renders),
            "Concepts that no step of training has seen: the render above, what is drawn below",
        ),
    }
    for name, image in figures.items():
        image.save(options.out / f"{name}.webp", quality=90)


if __name__ == "__main__":
    main()
