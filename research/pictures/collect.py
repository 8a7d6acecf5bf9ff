"""Features of every picture that the image encoder learns from, once, into a folder.

    python -m research.pictures.collect --renders TGZ --names TGZ --classes FILE --out DIR

The pictures are those that `research.embedded.build_gallery` made the table of (each concept in
six poses, the gallery's and the 884 outside of it), and each concept twice over any background at
any size. FILE names ImageNet's classes in order, one a line (torchvision's
`_IMAGENET_CATEGORIES`). One thread, about ten minutes of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file

from pipeline.values import Float32
from research.embedded import renders as pictures
from research.embedded.build_gallery import Stimulus, extra_stimuli, gallery_stimuli
from research.embedded.features import Looks, layout, meaning

SEED = 11
N_WILD = 2
"""Pictures of a concept over any background."""


def wild(stimulus: Stimulus, render: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A concept at any size, place and colour, over anything."""
    pose = pictures.Pose(
        angle=float(rng.normal(0, 8)),
        scale=float(rng.uniform(0.6, 1.25)),
        shift=(float(rng.normal(0, 0.06)), float(rng.normal(0, 0.06))),
        mirror=bool(rng.integers(2)),
        saturation=float(rng.uniform(0.6, 1.3)),
        brightness=float(rng.uniform(0.7, 1.2)),
    )
    return pictures.compose(render, pose, pictures.random_background(rng, stimulus.sides[0].width))


def features(images: Sequence[Image.Image], looks: Looks) -> dict[str, Float32]:
    """Pooled features (n, 1280) and layout (n, 192) of pictures, 256 at a time."""
    rows: list[tuple[Float32, Float32]] = []
    for start in range(0, len(images), 256):
        part = np.stack([pictures.to_array(image) for image in images[start : start + 256]])
        rows.append((looks(part), layout(part)))
    looked, laid = zip(*rows, strict=True)
    return {"looks": np.concatenate(looked), "layout": np.concatenate(laid)}


def class_sentences(classes: Sequence[str], stimuli: Sequence[Stimulus]) -> list[str]:
    """Each class in the form of the gallery's names: with the category of the nearest concept."""
    near = meaning(classes) @ meaning([each.name for each in stimuli]).T
    kinds = [each.sentence.rpartition(", ")[2] for each in stimuli]
    return [f"{name}, {kinds[int(row.argmax())]}" for name, row in zip(classes, near, strict=True)]


def main() -> None:
    """Collect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True, help="fluent-emoji-3d npm tarball")
    parser.add_argument("--names", type=Path, required=True, help="emoji-datasource npm tarball")
    parser.add_argument("--classes", type=Path, required=True, help="names of ImageNet's classes")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    renders = pictures.read_renders(options.renders, side=256)
    names = pictures.read_names(options.names)
    gallery = gallery_stimuli(renders, names)
    extras = extra_stimuli(renders, names, {str(each.code_point) for each in gallery})
    concepts = [each for each in gallery if each.kind == "upright"] + extras
    rng = np.random.default_rng(SEED)
    over = [
        wild(each, renders[str(each.code_point)], rng) for each in concepts for _ in range(N_WILD)
    ]
    looks = Looks()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, images in (
        ("gallery", [side for each in gallery for side in each.sides]),
        ("extras", [side for each in extras for side in each.sides]),
        ("wild", over),
    ):
        save_file(features(images, looks), options.out / f"{name}.safetensors")
        print(f"{name}: {len(images)} pictures", flush=True)
    classes = options.classes.read_text(encoding="utf-8").split("\n")[:1000]
    save_file(
        {
            "gallery": meaning([each.sentence for each in gallery]),
            "extras": meaning([each.sentence for each in extras]),
            "classes": meaning(class_sentences(classes, concepts)),
        },
        options.out / "meaning.safetensors",
    )
    lists = {
        name: {"labels": [s.label for s in each], "counts": [len(s.sides) for s in each]}
        for name, each in (("gallery", gallery), ("extras", extras))
    }
    (options.out / "lists.json").write_text(json.dumps(lists), encoding="utf-8")


if __name__ == "__main__":
    main()
