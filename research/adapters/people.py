"""Calibrations and tests of virtual people, recorded as a session would.

Owns who is used for what (no person serves two purposes) and which pictures are shown: those of
the test are never among the calibration's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.adapters.data import CalibrationData
from pipeline.gallery import Gallery, load_gallery
from research.embedded.encoder_batches import MONTAGES
from research.embedded.encoder_sessions import Session, record_session

TABLE_PEOPLE = tuple(range(1301, 1311))
"""Of the table; nothing was ever chosen on them. (2001-2004 served development.)"""
MONTAGE_PEOPLE = tuple(range(1401, 1407))
"""Of the expectations by montage."""
GAP_PEOPLE = tuple(range(1501, 1507))
"""Of the gap between zero-shot and a person's own decoder."""
SOA = 1.325
N_CALIBRATION_PICTURES = 150


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A person's calibration, and a later test with other pictures."""

    calibration: CalibrationData
    test: CalibrationData


def uprights() -> Gallery:
    """The pictures that are identified among."""
    return load_gallery().subset(kind="upright")


def record(
    number: int,
    ch_names: tuple[str, ...],
    sfreq: float,
    *,
    minutes: float,
    test_minutes: float,
    snr: float = 1.0,
) -> Recorded:
    """Record a person twice: other noise, other pictures."""
    order = np.random.default_rng([number, 71]).permutation(len(uprights()))
    shown, tested = order[:N_CALIBRATION_PICTURES], order[N_CALIBRATION_PICTURES:]
    return Recorded(
        _record(number, ch_names, sfreq, pictures=shown, minutes=minutes, snr=snr, seed=101),
        _record(number, ch_names, sfreq, pictures=tested, minutes=test_minutes, snr=snr, seed=102),
    )


def record_board(number: int, board: str, **options: float) -> Recorded:
    """Record a person under one of the boards' montages."""
    names, rate = MONTAGES[board]
    return record(number, names, rate, **options)


def _record(
    number: int,
    ch_names: tuple[str, ...],
    sfreq: float,
    *,
    pictures: np.ndarray,
    minutes: float,
    snr: float,
    seed: int,
) -> CalibrationData:
    gallery = uprights()
    session: Session = record_session(
        ch_names=ch_names,
        sfreq=sfreq,
        subject_number=number,
        embeddings=gallery.embeddings[pictures],
        n_stimuli=round(minutes * 60 / SOA),
        snr=snr,
        seed=seed,
    )
    rows = pictures[session.rows]
    first = session.epochs[0]
    return CalibrationData(
        epochs=np.stack([epoch.data for epoch in session.epochs]),
        labels=tuple(gallery.labels[row] for row in rows),
        onsets=np.array([epoch.t_onset for epoch in session.epochs]),
        channels=ch_names,
        sfreq=sfreq,
        tmin=first.tmin,
        targets=np.array(gallery.embeddings),
        target_labels=gallery.labels,
    )
