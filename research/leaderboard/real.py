"""Rows of the faces-and-houses recording: one person, six classes, eight electrodes.

Owns the rows; the recording, its split in time and its classes are `research.figures`'s. The first
60 % of its time calibrate, the rest is asked once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.adapters import Adapter
from models.adapters.classes import class_probabilities, fit_classes
from models.adapters.data import CalibrationData
from models.adapters.fit import fit_adapter
from models.adapters.methods.classes import window_of
from models.embedded.encoder import load_encoder
from models.evaluation.audit import Material
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Float64, Info
from research.figures.real_brain import plain_lda, truth_of
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
from research.leaderboard.rows import Asked, Row, audited, row_of

MONTAGE = "8"
DATA = (
    f"a real person, six classes, {MONTAGE} electrodes; the first 60 % of the time calibrate, the "
    "rest is asked"
)


def real_rows(folder: Path) -> Iterator[Row]:
    """Every decoder of classes, a peer, and the encoder that knows virtual brains alone."""
    path = find_recording(folder)
    epochs = live_epochs(path, session_config(MONTAGES[MONTAGE])).epochs
    split = CALIBRATION * duration_of(path)
    first = [e for e in epochs if e.t_onset + e.tmax < split]
    rest = [e for e in epochs if e.t_onset >= split]
    truth = truth_of(rest)
    audit = audited([_material(epochs)])
    discriminant = fit_classes(first, TARGETS, load_gallery(), filter_config=FILTER)
    ensemble = fit_adapter(data_of(first), with_curve=False)
    window = window_of(discriminant.manifest)
    peer = plain_lda(window.stack(first), truth_of(first), window.stack(rest))
    found = {
        "adapter: class-ensemble (what `calibrate` fits)": _logs(ensemble, rest),
        "adapter: spatio-temporal-lda": _logs(discriminant, rest),
        "shrinkage LDA of scikit-learn, same features": np.log(np.maximum(peer, 1e-300)),
        "embedded default, as it is": _of_pictures(rest),
    }
    for name, evidence in found.items():
        yield row_of(DATA, name, [Asked(evidence, truth)], audit=audit, by_trial=True)


def data_of(epochs: Sequence[Epoch]) -> CalibrationData:
    """Epochs as a calibration keeps them."""
    one = epochs[0]
    return CalibrationData(
        epochs=np.stack([e.data for e in epochs]),
        labels=tuple(e.event for e in epochs),
        onsets=np.array([e.t_onset for e in epochs]),
        channels=one.info.ch_names,
        sfreq=one.info.sfreq,
        tmin=one.tmin,
        filter=FILTER,
        classes=TARGETS,
    )


def _logs(adapter: Adapter, epochs: Sequence[Epoch]) -> Float64:
    """Log probabilities of the classes, in the order of `TARGETS`."""
    names = [target.event for target in adapter.manifest.event_classes.targets]
    order = [names.index(target.event) for target in TARGETS]
    found = np.stack([class_probabilities(adapter, each) for each in epochs])[:, order]
    return np.asarray(np.log(np.maximum(found, 1e-300)))


def _of_pictures(epochs: Sequence[Epoch]) -> Float64:
    """How near the shipped encoder comes to the picture that stands for each class."""
    gallery, encoder = load_gallery(), load_encoder()
    rows = [gallery.labels.index(t.typical or t.labels[0]) for t in TARGETS]
    # The file has BioSemi's labels.
    info = Info(tuple(SITES[name] for name in epochs[0].info.ch_names), epochs[0].info.sfreq)
    placed = [replace(each, info=info) for each in epochs]
    vectors = np.stack([encoder.encode(each).vector for each in placed]).astype(np.float64)
    return np.asarray(vectors @ gallery.embeddings[rows].T.astype(np.float64))


def _material(epochs: Sequence[Epoch]) -> Material:
    one = epochs[0]
    return Material(
        labels=[e.event for e in epochs],
        epochs=np.stack([e.data for e in epochs]),
        sfreq=one.info.sfreq,
        tmin=one.tmin,
    )
