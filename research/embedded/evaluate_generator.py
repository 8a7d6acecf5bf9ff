"""Judge the generator: is what it draws what it was asked for, how fast, and how sure.

    python -m research.embedded.evaluate_generator --out FILE

Identification is by EfficientNet-Lite0 features, against which the generator was not trained (the
embeddings were made with their help; see docs/models/generator.md for what that means).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from configs import DecoderConfig
from models.embedded.generator import WEIGHTS, load_generator
from models.embedded.sampler import EmbeddedSampler
from pipeline.gallery import Gallery, load_gallery
from research.embedded.features import Looks

Float32 = npt.NDArray[np.float32]
Uint8 = npt.NDArray[np.uint8]
NORMS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)


def draw(sampler: EmbeddedSampler, vectors: Float32, *, seed: int = 0) -> Uint8:
    """Pictures of vectors (n, 64), eight at a time, each with its own seed."""
    made = []
    for start in range(0, len(vectors), 8):
        part = vectors[start : start + 8]
        seeds = tuple(range(seed + start, seed + start + len(part)))
        made.append(sampler.draw(part, seeds=seeds))
    return np.concatenate(made)


class Judge:
    """Names pictures by the nearest of those shown in the features of another network."""

    def __init__(self, looks: Looks, shown: Uint8) -> None:
        self._looks = looks
        raw = self._looks(shown)
        self._mean, self._spread = raw.mean(0), raw.std(0) + 1e-6
        self.known = self.features_of(raw)

    def features_of(self, raw: Float32) -> Float32:
        """Standardised over what was shown, unit norm: cosine ignores what all pictures share."""
        rows = (raw - self._mean) / self._spread
        unit: Float32 = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def __call__(self, made: Uint8) -> Float32:
        """Features (n, 1280) of pictures."""
        return self.features_of(self._looks(made))

    def identify(self, features: Float32, categories: Sequence[str]) -> dict[str, float]:
        """Share of pictures whose own stimulus is first, or among five, and of right categories."""
        order = np.argsort(-(features @ self.known.T), axis=1)
        own = np.arange(len(features))[:, None]
        category = np.array(categories)
        return {
            "n": len(features),
            "top1": round(float((order[:, :1] == own).mean()), 4),
            "top5": round(float((order[:, :5] == own).any(1).mean()), 4),
            "category": round(float((category[order[:, 0]] == category).mean()), 4),
        }


def shown_pictures(gallery: Gallery) -> Uint8:
    """The gallery's own pictures."""
    return np.stack([gallery.image(label) for label in gallery.labels])


def distance(features: Float32, known: Float32) -> float:
    """Mean cosine distance between pictures and their stimuli."""
    return round(float(1 - (features * known).sum(1).mean()), 4)


def identification(samplers: dict[int, EmbeddedSampler], gallery: Gallery) -> dict[str, Any]:
    """Identification and feature distance over steps, upright and over all stimuli."""
    found: dict[str, Any] = {}
    for name, part in (("upright", gallery.subset(kind="upright")), ("all", gallery)):
        judge = Judge(Looks(), shown_pictures(part))
        for steps in (1, 4):
            features = judge(draw(samplers[steps], part.embeddings))
            found[f"{name}, {steps} steps"] = {
                **judge.identify(features, part.categories),
                "feature_distance": distance(features, judge.known),
            }
    return found


def steps_compared(samplers: dict[int, EmbeddedSampler], gallery: Gallery) -> dict[str, float]:
    """Feature distance to the gallery over steps, on every sixth upright concept."""
    upright = gallery.subset(kind="upright")
    judge = Judge(Looks(), shown_pictures(upright))
    return {
        f"{steps} steps": distance(judge(draw(sampler, upright.embeddings[::6])), judge.known[::6])
        for steps, sampler in samplers.items()
    }


def fog(sampler: EmbeddedSampler, gallery: Gallery) -> dict[str, Any]:
    """Contrast of pictures and of random directions over the length of the condition.

    Contrast is the standard deviation of a picture's pixels, relative to the gallery's own.
    """
    upright = gallery.subset(kind="upright")
    chosen = upright.embeddings[:: max(1, len(upright) // 32)][:32]
    rng = np.random.default_rng(0)
    strange = rng.standard_normal(chosen.shape).astype(np.float32)
    strange /= np.linalg.norm(strange, axis=1, keepdims=True)
    shown = shown_pictures(upright)
    judge = Judge(Looks(), shown)
    table: dict[str, Any] = {}
    for norm in NORMS:
        row = {}
        for name, directions in (("gallery", chosen), ("random direction", strange)):
            made = draw(sampler, directions * np.float32(norm))
            likeness = (judge(made) @ judge.known.T).max(1).mean()
            row[name] = {
                "contrast": round(contrast(made) / contrast(shown), 3),
                "likeness_of_nearest": round(float(likeness), 3),
            }
        table[str(norm)] = row
    return table


def contrast(made: Uint8) -> float:
    """Mean over pictures of the standard deviation over pixels and channels."""
    return float(made.astype(np.float32).std(axis=(1, 2)).mean())


def milliseconds(samplers: dict[int, EmbeddedSampler], vector: Float32) -> dict[str, float]:
    """Time of one picture on two threads: minimum and median over 16."""
    found = {"threads": float(torch.get_num_threads())}
    for steps in (1, 2, 4):
        spent = []
        for _ in range(16):
            start = time.perf_counter()
            samplers[steps].draw(vector[None], seeds=(0,))
            spent.append(1e3 * (time.perf_counter() - start))
        found[f"{steps} steps, min"] = round(min(spent), 1)
        found[f"{steps} steps, median"] = round(float(np.median(spent)), 1)
    return found


def main() -> None:
    """Print and write every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path("docs/models/generator.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="one stimulus in N: tests the chain"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gallery = load_gallery()
    gallery = gallery.subset(labels=gallery.labels[:: options.every])
    generator = load_generator(options.weights)
    samplers = {n: EmbeddedSampler(generator, num_inference_steps=n) for n in (1, 2, 4, 50)}
    found = {
        "weights_sha256": generator.sha256,
        "ms_per_picture": milliseconds(samplers, gallery.embeddings[0]),
        "identification": identification(samplers, gallery),
        "feature_distance_by_steps": steps_compared(samplers, gallery),
        "fog": fog(samplers[DecoderConfig().num_inference_steps], gallery),
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
