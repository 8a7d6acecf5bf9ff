"""How often a decoded embedding is drawn from a gallery's own picture, and whether it is that one.

    python -m research.embedded.own_share

The twenty pictures of `research.figures.own_pictures` as a gallery; virtual people under two
boards, the shipped encoder without calibration, as `blend_share`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from models.embedded.encoder import load_encoder
from models.embedded.own_pictures import OwnPictures
from models.pictures import picture_encoder
from pipeline.gallery import SPACE, Gallery
from pipeline.gallery.making import find_pictures, make_gallery
from research.embedded.evaluate_encoder import TEST_SEED, sessions
from research.figures.own_pictures import write_pictures


def share(gallery: Gallery, board: str, snr: float, *, people: int, n: int) -> dict[str, float]:
    """Share of epochs drawn from an own picture, and how many of these show what was shown."""
    encoder, own = load_encoder(), OwnPictures(gallery, torch.clone, size=128)
    made = sessions(board, gallery, range(1000, 1000 + people), n=n, snr=snr, seed=TEST_SEED)
    vectors = np.stack([encoder.encode(epoch).vector for one in made for epoch in one.epochs])
    rows = np.concatenate([one.rows for one in made])
    found = np.array([-1 if (row := own.find(v)) is None else row for v in vectors])
    is_own = found >= 0
    return {
        "n": len(rows),
        "nearest_is_shown": round(
            float((np.argmax(vectors @ gallery.tables[SPACE].T, 1) == rows).mean()), 3
        ),
        "drawn_from_own": round(float(is_own.mean()), 3),
        "of_these_shown": round(float((found == rows)[is_own].mean()), 3) if is_own.any() else 0.0,
        "mean_length": round(float(np.linalg.norm(vectors, axis=1).mean()), 3),
    }


def main() -> None:
    """Print a line for each board and strength of the answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--stimuli", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given"
        write_pictures(given)
        encoders = {SPACE: picture_encoder(SPACE)}
        out = Path(folder) / "made"
        gallery = make_gallery(find_pictures(given), out, name="own", encoders=encoders)
        for board in ("cap32", "cap63"):
            for snr in (0.0, 1.0, 2.0, 4.0):
                found = share(gallery, board, snr, people=options.people, n=options.stimuli)
                print(f"{board}, SNR {snr:g}", json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
