"""The shipped encoder on a real person: as it is, and with a small adapter on top.

Only the calibration part of the faces-and-houses recording is used (cross-validation over
contiguous blocks), so that nothing here is a look at its test part.

    python -m research.figures.encoder_comparison --data faces-houses
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.output import write_text
from models.adapters import Window
from models.adapters.lda import softmax
from models.adapters.selection import N_BLOCKS, validate
from models.adapters.targets import prototypes
from models.embedded.encoder import load_encoder
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Float64, Info
from research.figures import scores
from research.figures.real_brain import N_FACES, N_PICTURES, face_scores, truth_of
from research.figures.recording import (
    CALIBRATION,
    FILTER,
    MONTAGES,
    SITES,
    TARGETS,
    duration_of,
    find_recording,
    live_epochs,
    session_config,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m research.figures.encoder_comparison", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    path = find_recording(args.data)
    split = CALIBRATION * duration_of(path)
    config = session_config(tuple(SITES), filter_config=FILTER)
    live = live_epochs(path, config, stop=split).epochs
    epochs = [epoch for epoch in live if epoch.t_onset + epoch.tmax < split]
    truth = truth_of(epochs)
    encoder: Any = load_encoder()
    toward = prototypes(TARGETS, load_gallery()).astype(np.float64).T
    rows = []
    for montage in ("8", "16", "32"):
        names = MONTAGES[montage]
        vectors = np.stack([encoder.encode(_named(e, names)).vector for e in epochs])
        vectors = vectors.astype(np.float64)
        window = Window(names, epochs[0].info.sfreq)
        found = validate(window.stack(epochs), truth, n_classes=len(TARGETS))
        zero_shot = softmax(vectors @ toward / encoder.temperature)
        rows += [
            (montage, "shipped encoder, zero-shot", *_cells(zero_shot, truth)),
            (montage, "LDA on its embedding", *_cells(_embedded_lda(vectors, truth), truth)),
            (montage, "adapter of its own", *_cells(softmax(found.logits), truth)),
        ]
    headings = ("channels", "decoder", "six classes, %", "face against house, AUC")
    write_text(scores.markdown(headings, rows))
    return 0


def _named(epoch: Epoch, names: tuple[str, ...]) -> Epoch:
    """The epoch on these channels, under their 10-20 names."""
    rows = [epoch.info.ch_names.index(name) for name in names]
    info = Info(tuple(SITES[name] for name in names), epoch.info.sfreq)
    return replace(epoch, data=np.array(epoch.data[rows]), info=info)


def _embedded_lda(vectors: Float64, truth: NDArray[np.intp]) -> Float64:
    """Out-of-block probabilities of a shrinkage LDA on embeddings."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    probability = np.empty((len(truth), len(TARGETS)))
    for block in np.array_split(np.arange(len(truth)), N_BLOCKS):
        rest = np.setdiff1d(np.arange(len(truth)), block)
        lda: Any = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        probability[block] = lda.fit(vectors[rest], truth[rest]).predict_proba(vectors[block])
    return probability


def _cells(probability: Float64, truth: NDArray[np.intp]) -> tuple[str, str]:
    pictures = truth < N_PICTURES
    two = face_scores(probability)[pictures]
    return (
        scores.percent(scores.proportion(probability.argmax(axis=1) == truth)),
        scores.decimal(scores.area_estimate(two, truth[pictures] < N_FACES)),
    )


if __name__ == "__main__":
    raise SystemExit(main())
