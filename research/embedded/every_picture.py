"""The vector of every render in the gallery's space, and which are kept apart.

    python -m research.embedded.every_picture --renders TGZ --names TGZ \
        --features FILE --extras FILE --out FILE

The gallery's table stays what it is: encoders and adapters live in it. From the features that it
was made of follows its recipe; with that, the package's other renders get vectors as if they had
been stimuli: flags, symbols, tones of skin, families. The last FILE holds vectors and code points,
no pictures: those are composed from the package.
"""

from __future__ import annotations

import argparse
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from pipeline.gallery import load_gallery
from pipeline.values import Float32
from research.embedded import renders as pictures
from research.embedded.build_gallery import SEED, SIZE, Recipe, Stimulus, raw_features, variants
from research.embedded.features import Looks

TONES = {
    "1f3fb": "light", "1f3fc": "medium light", "1f3fd": "medium", "1f3fe": "medium dark",
    "1f3ff": "dark",
}  # fmt: skip
N_VARIANTS = 1
"""Beside the gallery's pose; the stimuli's vectors are means over five."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Every render with its vector.

    Attributes
    ----------
    stems : tuple of str
        Code points, sorted: names of the package's files.
    vectors : ndarray, shape (n_pictures, 64), float32
        Unit norm, in the gallery's space.
    apart : ndarray, shape (n_pictures,), bool
        Kept from every training.
    """

    stems: tuple[str, ...]
    vectors: Float32
    apart: np.ndarray[Any, np.dtype[np.bool_]]


def sentences(names: Sequence[Mapping[str, Any]], stems: Sequence[str]) -> dict[str, str]:
    """What each render shows, in words as `build_gallery` has them."""
    found: dict[str, str] = {}
    for entry in names:
        name = str(entry["short_name"]).replace("_", " ").replace("-", " ")
        kind = str(entry["subcategory"]).replace("-", " ")
        shown = {"": entry, **entry.get("skin_variations", {})}
        for tones, each in shown.items():
            tone = " and ".join(TONES[part.lower()] for part in tones.split("-") if part)
            words = f"{name}, {tone} skin" if tone else name
            unified = str(each["unified"]).lower()
            for stem in (unified, unified.replace("-fe0f", "")):
                found.setdefault(stem, f"{words}, {kind}")
    return {stem: found.get(stem) or _spelt(stem) for stem in stems}


def _spelt(stem: str) -> str:
    """Unicode's names of a sequence that the list lacks."""
    points = [int(part, 16) for part in re.split("[-_]", stem)]
    known = [unicodedata.name(chr(each), "") for each in points]
    return ", ".join(name.lower() for name in known if name and "JOINER" not in name) or stem


def stimuli_of(
    stems: Sequence[str], renders: Mapping[str, Image.Image], words: Mapping[str, str]
) -> list[Stimulus]:
    """Renders as stimuli, upright."""
    made = []
    for stem in stems:
        # Each with its own seed: a vector does not change with what is asked for beside it.
        rng = np.random.default_rng([SEED, *(int(part, 16) for part in stem.split("-"))])
        sides = variants(renders[stem], angle=0.0, rng=rng, n_variants=N_VARIANTS)
        made.append(Stimulus(stem, stem, "render", "upright", stem, words[stem], sides))
    return made


def write(path: Path, stems: Sequence[str], vectors: Float32) -> None:
    """Write vectors by code point."""
    save_file({"vectors": vectors}, path, metadata={"stems": json.dumps(list(stems))})


def read(path: Path) -> Pictures:
    """Read what `write` wrote; the split follows from the names."""
    with safe_open(path, "np") as file:
        vectors, stems = file.get_tensor("vectors"), json.loads(file.metadata()["stems"])
    apart = set(pictures.split(stems)[1])
    return Pictures(tuple(stems), vectors, np.array([stem in apart for stem in stems]))


def main() -> None:
    """Features of what the table does not have yet; vectors of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True, help="fluent-emoji-3d npm tarball")
    parser.add_argument("--names", type=Path, required=True, help="emoji-datasource npm tarball")
    parser.add_argument("--features", type=Path, required=True, help="of build_gallery")
    parser.add_argument("--extras", type=Path, required=True, help="as build_gallery wrote it")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one in N: a test")
    options = parser.parse_args()
    torch.set_num_threads(1)
    raw = load_file(options.features)
    recipe = Recipe(raw, raw["inverted"])
    gallery = load_gallery()
    known = {
        str(each.code_point): row
        for each, row in zip(gallery.stimuli, gallery.embeddings, strict=True)
        if each.kind == "upright"
    }
    with safe_open(options.extras, "np") as file:
        codes = json.loads(file.metadata()["code_points"])
        known |= dict(zip(codes, file.get_tensor("embeddings"), strict=True))
    renders = pictures.read_renders(options.renders, side=2 * SIZE)
    words = sentences(pictures.read_names(options.names), list(renders))
    missing = [stem for stem in renders if stem not in known][:: options.every]
    looks = Looks()
    for start in range(0, len(missing), 256):
        stems = missing[start : start + 256]
        seen = raw_features(stimuli_of(stems, renders, words), looks)
        rows = recipe(seen, np.zeros(len(stems), dtype=bool))
        known |= dict(zip(stems, rows, strict=True))
        print(f"{start + len(stems)} of {len(missing)} pictures", flush=True)
    stems = sorted(known)
    write(options.out, stems, np.stack([known[stem] for stem in stems]))
    print(json.dumps({"n": len(stems), "kept_apart": int(read(options.out).apart.sum())}))


if __name__ == "__main__":
    main()
