"""How often a decoded embedding lies between two known pictures, and so is drawn as a blend.

    python -m research.embedded.blend_share --out JSON

Virtual people under two boards, the shipped encoder without calibration, each epoch by itself and
the exponential means that free-running windows are drawn as (`decoder.smoothing`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from models.embedded.blends import find_blend
from models.embedded.encoder import load_encoder
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Float32
from research.embedded.evaluate_encoder import TEST_SEED, sessions

SMOOTHING = 0.8


def smoothed(vectors: Float32) -> Float32:
    """Exponential means (n, n_features) of embeddings in their order."""
    means = [vectors[0]]
    for vector in vectors[1:]:
        means.append(SMOOTHING * means[-1] + (1 - SMOOTHING) * vector)
    return np.stack(means)


def blended(vectors: Float32, gallery: Gallery, rows: np.ndarray) -> dict[str, float]:
    """Share of embeddings that are drawn as a blend, and where one of its two was shown."""
    known = load_gallery().labels
    found = [find_blend(vector, seed=seed) for seed, vector in enumerate(vectors)]
    shown = [
        gallery.labels[row] in (known[blend.shape], known[blend.colours])
        for blend, row in zip(found, rows, strict=True)
        if blend is not None
    ]
    return {
        "n": len(vectors),
        "blended": round(float(np.mean([blend is not None for blend in found])), 4),
        "of_these_shown": round(float(np.mean(shown)), 3) if shown else 0.0,
        "mean_length": round(float(np.linalg.norm(vectors, axis=1).mean()), 3),
    }


def main() -> None:
    """Print and write every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/models/blend_share.json"))
    parser.add_argument("--stimuli", type=int, default=60)
    parser.add_argument("--people", type=int, default=4)
    options = parser.parse_args()
    gallery, encoder = load_gallery().subset(kind="upright"), load_encoder()
    people = range(1000, 1000 + options.people)
    table = {}
    for board in ("cyton", "cap63"):
        for snr in (0.0, 0.5, 1.0, 2.0):
            made = sessions(board, gallery, people, n=options.stimuli, snr=snr, seed=TEST_SEED)
            each = [np.stack([encoder.encode(e).vector for e in s.epochs]) for s in made]
            rows = np.concatenate([s.rows for s in made])
            table[f"{board}, SNR {snr:g}"] = {
                "single": blended(np.concatenate(each), gallery, rows),
                "smoothed": blended(np.concatenate([smoothed(v) for v in each]), gallery, rows),
            }
            print(f"{board}, SNR {snr:g}", json.dumps(table[f"{board}, SNR {snr:g}"]), flush=True)
    options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
