"""Every check that the material at hand allows, in one order.

Owns the list of checks and what each needs; the checks are its neighbours'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.checks import Check
from models.evaluation.prompts import label_in_prompt
from models.evaluation.splits import Fitted, fitted_statistics, near_duplicates, repeated_stimuli
from models.evaluation.timing import before_onset, time_of_recording
from pipeline.values import Float32, Float64, Uint8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What an audit looks at; everything may be absent.

    Attributes
    ----------
    labels : sequence of str
        What was shown, one a trial, in order of time.
    epochs : ndarray, shape (n_trials, n_channels, n_times), float32, or None
        From `tmin` on; what lies before onset is decoded.
    sfreq, tmin : float
        Hz; s from onset.
    targets : ndarray, shape (n_labels, n_features), or None
        Embedding of each label, in sorted order; None: each label stands for itself.
    train_stimuli, test_stimuli : sequence of str
        Names or hashes of the pictures that either part of a split showed, one an item.
    train_pictures, test_pictures : iterable of ndarray, shape (height, width, 3), uint8
    statistics : sequence of Fitted
    prompts, prompt_labels, answers : sequence of str
        One a drawn picture: the text that steered it, what was shown, what was decoded.
    """

    labels: Sequence[str] = ()
    epochs: Float32 | None = None
    sfreq: float = 1.0
    tmin: float = 0.0
    targets: Float64 | None = None
    train_stimuli: Sequence[str] = ()
    test_stimuli: Sequence[str] = ()
    train_pictures: Iterable[Uint8] = ()
    test_pictures: Iterable[Uint8] = ()
    statistics: Sequence[Fitted] = ()
    prompts: Sequence[str] = ()
    prompt_labels: Sequence[str] = ()
    answers: Sequence[str] = ()


def audit(material: Material, *, seed: int = 0) -> tuple[Check, ...]:
    """Check for six kinds of leaks; what cannot be checked says why."""
    names, rows = np.unique(np.asarray(material.labels, dtype=object), return_inverse=True)
    targets = np.eye(len(names)) if material.targets is None else material.targets
    # A label that never comes again can be learnt from nothing where labels stand for themselves.
    comes_again = material.targets is not None or len(rows) >= 2 * len(names)
    return (
        before_onset(
            material.epochs if comes_again else None,
            rows.astype(np.intp),
            targets,
            sfreq=material.sfreq,
            tmin=material.tmin,
            seed=seed,
        ),
        time_of_recording(material.labels, seed=seed),
        repeated_stimuli(material.train_stimuli, material.test_stimuli),
        near_duplicates(material.train_pictures, material.test_pictures),
        fitted_statistics(material.statistics),
        label_in_prompt(material.prompts, material.prompt_labels, material.answers, seed=seed),
    )
