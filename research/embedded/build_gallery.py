"""Build `pipeline/gallery/fluent_emoji`: pictures, list of stimuli and the embedding table.

    python -m research.embedded.build_gallery --renders TGZ --names TGZ --extras FILE

An embedding joins what a stimulus looks like (EfficientNet-Lite0), where its colours lie (an 8 x 8
thumbnail), what its name means (all-MiniLM-L6-v2) and which way up it stands. Each block is
standardised over the stimuli, reduced by PCA, mostly whitened, weighted and joined; the rows are
then centred and brought to unit norm until both hold, so that a vector without content ranks
every stimulus alike. The signs of PCA are fixed, and so is the seed.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors.numpy import save_file

from research.embedded import renders as pictures
from research.embedded.features import Looks, layout, meaning

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

SCHEMA = 1
SIZE = 128
SEED = 7
N_VARIANTS = 5
"""Pictures beside the gallery's own that a stimulus is averaged over."""
N_FEATURES = 64
BLOCKS = {"looks": (24, 0.60), "layout": (15, 0.40), "meaning": (24, 0.60)}
"""Components and weight of each block; orientation takes the last dimension."""
ORIENTATION = 0.36
WHITENING = 0.85
"""0 keeps the spread of the principal components, 1 makes all alike."""
CHECKERBOARDS = {
    "checkerboard-left": "black and white checkerboard pattern, left half",
    "checkerboard-right": "black and white checkerboard pattern, right half",
    "checkerboard-full": "black and white checkerboard pattern, full field",
}
SKIPPED = ("Flags", "Symbols", "Component")
SKIPPED_PARTS = ("time", "family", "person-gesture", "person-symbol", "hand-single-finger")


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One picture that can be shown, with what the networks are asked about it."""

    label: str
    name: str
    category: str
    kind: str
    code_point: str | None
    sentence: str
    sides: tuple[Image.Image, ...]
    """The picture in the gallery's pose first, then variants of it to average over."""

    @property
    def record(self) -> dict[str, Any]:
        """What `gallery.json` says of it."""
        base = self.label.removesuffix("-inverted")
        ways: dict[str, dict[str, object]] = {
            "upright": {"image": f"images/{base}.webp"},
            "inverted": {"image": f"images/{base}.webp", "rotate": 180},
            "checkerboard": {"checkerboard": base.removeprefix("checkerboard-")},
        }
        return {
            "label": self.label, "name": self.name, "category": self.category,
            "kind": self.kind, "concept": base, "code_point": self.code_point, **ways[self.kind],
        }  # fmt: skip


def variants(
    render: Image.Image, *, angle: float, rng: np.random.Generator, n_variants: int
) -> tuple[Image.Image, ...]:
    """The gallery's own picture, and more over small changes of pose and background."""
    first = pictures.compose(render, pictures.Pose(angle=angle), pictures.flat_background(SIZE))
    others = []
    for _ in range(n_variants):
        grey = int(rng.integers(150, 250))
        pose = pictures.Pose(
            angle=angle + float(rng.normal(0, 5)),
            scale=float(rng.uniform(0.88, 1.08)),
            shift=(float(rng.normal(0, 0.015)), float(rng.normal(0, 0.015))),
        )
        background = pictures.flat_background(SIZE, (grey, grey, min(255, grey + 6)))
        others.append(pictures.compose(render, pose, background))
    return (first, *others)


def gallery_stimuli(
    renders: Mapping[str, Image.Image],
    names: Sequence[dict[str, Any]],
    *,
    n_variants: int = N_VARIANTS,
) -> list[Stimulus]:
    """Every concept upright, every concept inverted, and the checkerboards, in that order."""
    listed = tomllib.loads(Path(__file__).with_name("concepts.toml").read_text())
    known = {entry["short_name"]: entry for entry in names}
    rng = np.random.default_rng(SEED)
    upright: list[Stimulus] = []
    inverted: list[Stimulus] = []
    for category, concepts in listed.items():
        for concept in concepts:
            short_name, _, slug = concept.partition("=")
            label = (slug or short_name).replace("_", "-")
            stem = pictures.code_point(known[short_name], renders)
            if stem is None:
                raise ValueError(f"{short_name!r} has no render in the package: leave it out.")
            name = label.replace("-", " ")
            sentence = f"{name}, {category}"
            for kind, angle, into in (("upright", 0.0, upright), ("inverted", 180.0, inverted)):
                inverse = kind == "inverted"
                into.append(
                    Stimulus(
                        label=f"{label}-inverted" if inverse else label,
                        name=f"{name} (inverted)" if inverse else name,
                        category=category,
                        kind=kind,
                        code_point=stem,
                        sentence=sentence,
                        sides=variants(renders[stem], angle=angle, rng=rng, n_variants=n_variants),
                    )
                )
    return upright + inverted + checkerboards()


def checkerboards() -> list[Stimulus]:
    """The checkerboards, each with its phase-reversed twin."""
    made = []
    for label, sentence in CHECKERBOARDS.items():
        side = label.removeprefix("checkerboard-")
        boards = tuple(pictures.checkerboard(SIZE, side, swap=swap) for swap in (False, True))
        made.append(
            Stimulus(
                label, label.replace("-", " "), "pattern", "checkerboard", None, sentence, boards
            )
        )
    return made


def extra_stimuli(
    renders: Mapping[str, Image.Image],
    names: Sequence[dict[str, Any]],
    taken: set[str],
    *,
    n_variants: int = N_VARIANTS,
) -> list[Stimulus]:
    """Concepts outside the gallery, upright: they make the generator's space denser."""
    rng = np.random.default_rng(SEED + 1)
    made = []
    for entry in names:
        stem = pictures.code_point(entry, renders)
        skipped = entry["category"] in SKIPPED or entry["subcategory"] in SKIPPED_PARTS
        if stem is None or stem in taken or skipped or "200d" in stem:
            continue
        name = str(entry["short_name"]).replace("_", " ").replace("-", " ")
        made.append(
            Stimulus(
                label=str(entry["short_name"]).replace("_", "-"),
                name=name,
                category=str(entry["subcategory"]),
                kind="upright",
                code_point=stem,
                sentence=f"{name}, {str(entry['subcategory']).replace('-', ' ')}",
                sides=variants(renders[stem], angle=0.0, rng=rng, n_variants=n_variants),
            )
        )
    return made


def raw_features(stimuli: Sequence[Stimulus], looks: Looks) -> dict[str, Float64]:
    """Features of every stimulus, averaged over its variants: one (n, d) array a block."""
    flat = np.stack([pictures.to_array(side) for each in stimuli for side in each.sides])
    counts = np.array([len(each.sides) for each in stimuli])
    ends = np.cumsum(counts)
    seen = {"looks": looks(flat), "layout": layout(flat)}
    averaged = {
        block: np.stack(
            [rows[end - n : end].mean(0) for n, end in zip(counts, ends, strict=True)]
        ).astype(np.float64)
        for block, rows in seen.items()
    }
    averaged["meaning"] = meaning([each.sentence for each in stimuli]).astype(np.float64)
    return averaged


class Recipe:
    """The map from raw features to 64 numbers, fitted on the gallery's stimuli."""

    def __init__(self, raw: dict[str, Float64], inverted: npt.NDArray[np.bool_]) -> None:
        self._bases: dict[str, tuple[Float64, Float64, Float64]] = {}
        for block, (n_components, _) in BLOCKS.items():
            rows = raw[block]
            mean, spread = rows.mean(0), rows.std(0) + 1e-6
            _, values, axes = np.linalg.svd((rows - mean) / spread, full_matrices=False)
            axes = axes[:n_components]
            # SVD leaves the sign open; the largest loading is made positive.
            peak = np.abs(axes).argmax(1)
            axes *= np.sign(axes[np.arange(len(axes)), peak])[:, None]
            scale = (values[:n_components] / np.sqrt(len(rows))) ** WHITENING
            self._bases[block] = (mean, spread, axes / scale[:, None])
        self._norms = {
            block: float(np.linalg.norm(self._project(raw, block), axis=1).mean())
            for block in BLOCKS
        }
        self._mean = np.zeros(N_FEATURES)
        joined = self._join(raw, inverted)
        for _ in range(50):
            rows = joined - self._mean
            self._mean += (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(0)

    @property
    def centre(self) -> Float64:
        """What is taken from a joined row before it is brought to unit norm, (64,)."""
        return self._mean

    def linear(self, block: str) -> tuple[Float64, Float64]:
        """Matrix (k, d) and offset (k,) that map a block's raw features to its coordinates."""
        mean, spread, axes = self._bases[block]
        matrix = axes / spread * (BLOCKS[block][1] / self._norms[block])
        return matrix, -matrix @ mean

    def _project(self, raw: dict[str, Float64], block: str) -> Float64:
        mean, spread, axes = self._bases[block]
        projected: Float64 = ((raw[block] - mean) / spread) @ axes.T
        return projected

    def _join(self, raw: dict[str, Float64], inverted: npt.NDArray[np.bool_]) -> Float64:
        parts = [
            self._project(raw, block) * (weight / self._norms[block])
            for block, (_, weight) in BLOCKS.items()
        ]
        parts.append(np.where(inverted, -ORIENTATION, ORIENTATION)[:, None])
        return np.concatenate(parts, axis=1)

    def __call__(self, raw: dict[str, Float64], inverted: npt.NDArray[np.bool_]) -> Float32:
        """Embeddings (n, 64) float32, unit norm."""
        rows = self._join(raw, inverted) - self._mean
        unit: Float32 = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


def report(stimuli: Sequence[Stimulus], table: Float32) -> dict[str, Any]:
    """Nearest neighbours among the uprights and the table's moments, for the docs."""
    keep = np.array([each.kind == "upright" for each in stimuli])
    labels = [each.label for each in stimuli if each.kind == "upright"]
    cosine = table[keep] @ table[keep].T - 2 * np.eye(len(labels))
    nearest = cosine.max(1)
    twin = (table[keep] * table[np.roll(keep, len(labels))]).sum(1)
    shown = ("house", "smiling-face", "dog", "pizza", "guitar", "rocket", "sunflower", "key")
    return {
        "n_stimuli": len(table),
        "n_upright": len(labels),
        "norm_of_mean": float(np.linalg.norm(table.mean(0))),
        "nearest_cosine": {
            str(q): round(float(np.quantile(nearest, q / 100)), 3) for q in (5, 25, 50, 75, 95, 100)
        },
        "closest_pairs": [
            (labels[i], labels[int(cosine[i].argmax())], round(float(nearest[i]), 3))
            for i in nearest.argsort()[::-1][:12]
        ],
        "upright_to_inverted_cosine": [
            round(float(f(twin)), 3) for f in (np.min, np.median, np.max)
        ],
        "neighbours": {
            label: [labels[j] for j in cosine[labels.index(label)].argsort()[::-1][:5]]
            for label in shown
            if label in labels
        },
    }


def write_gallery(folder: Path, stimuli: Sequence[Stimulus], table: Float32) -> None:
    """Write pictures, `gallery.json` and `phosphene-gallery-64.safetensors` into the package."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for each in stimuli:
        if each.kind == "upright":
            path = folder / "images" / f"{each.label}.webp"
            each.sides[0].save(path, quality=92, method=6)
    document = {
        "schema": SCHEMA,
        "n_features": N_FEATURES,
        "background": pictures.BACKGROUND,
        "stimuli": [each.record for each in stimuli],
    }
    text = json.dumps(document, indent=1) + "\n"
    (folder / "gallery.json").write_text(text, encoding="utf-8")
    save_file({"embeddings": table}, folder / "phosphene-gallery-64.safetensors")


def main() -> None:
    """Build the package data, and the table of concepts outside the gallery for training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True, help="fluent-emoji-3d npm tarball")
    parser.add_argument("--names", type=Path, required=True, help="emoji-datasource npm tarball")
    parser.add_argument("--out", type=Path, default=Path("pipeline/gallery/fluent_emoji"))
    parser.add_argument("--extras", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--features", type=Path, help="safetensors file of the raw features")
    parser.add_argument("--variants", type=int, default=N_VARIANTS, metavar="N")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="one extra in N: tests the chain"
    )
    options = parser.parse_args()
    renders = pictures.read_renders(options.renders, side=256)
    names = pictures.read_names(options.names)
    stimuli = gallery_stimuli(renders, names, n_variants=options.variants)
    looks = Looks()
    raw = raw_features(stimuli, looks)
    inverted = np.array([each.kind == "inverted" for each in stimuli])
    recipe = Recipe(raw, inverted)
    table = recipe(raw, inverted)
    if options.features is not None:
        save_file({**raw, "inverted": inverted}, options.features)
    write_gallery(options.out, stimuli, table)
    print(json.dumps(report(stimuli, table), indent=1))
    taken = {str(each.code_point) for each in stimuli}
    extras = extra_stimuli(renders, names[:: options.every], taken, n_variants=options.variants)
    rows = recipe(raw_features(extras, looks), np.zeros(len(extras), dtype=bool))
    stems = {"code_points": json.dumps([each.code_point for each in extras])}
    save_file({"embeddings": rows}, options.extras, metadata=stems)
    print(f"{len(extras)} concepts outside the gallery in {options.extras}")


if __name__ == "__main__":
    main()
