"""How well classes are told apart by their probabilities: areas, balance, confusion, calibration.

Owns the arithmetic alone: of a session's trials, of a calibration's left-out epochs. Pure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.values import Float64

N_BINS = 10
"""Equal bins of confidence behind the expected calibration error (Guo et al. 2017)."""
Ints = NDArray[np.intp]


def class_areas(probabilities: Float64, rows: Ints) -> tuple[float | None, ...]:
    """Area under the ROC curve of each class against the rest; None where one side is missing.

    Parameters
    ----------
    probabilities : ndarray, shape (n_trials, n_classes), float64
        Or anything that grows with them.
    rows : ndarray, shape (n_trials,), int
        The true classes.
    """
    return tuple(_area(probabilities[:, k], rows == k) for k in range(probabilities.shape[1]))


def _area(scores: Float64, is_own: NDArray[np.bool_]) -> float | None:
    n, n_own = len(is_own), int(is_own.sum())
    if not 0 < n_own < n:
        return None
    total = float(rankdata(scores)[is_own].sum())
    return (total - n_own * (n_own + 1) / 2) / (n_own * (n - n_own))


def confusion_of(rows: Ints, guesses: Ints, n_classes: int) -> Ints:
    """Count trials, (n_classes, n_classes): what was shown by row, what was decoded by column."""
    found = np.zeros((n_classes, n_classes), dtype=np.intp)
    np.add.at(found, (rows, guesses), 1)
    return found


def balanced_accuracy(confusion: Ints) -> float:
    """Mean over the classes that were shown of the part that was right."""
    shown = confusion.sum(axis=1)
    return float((confusion.diagonal()[shown > 0] / shown[shown > 0]).mean())


def calibration_error(probabilities: Float64, rows: Ints) -> float:
    """Expected calibration error: how far confidence is from the part that is right, over bins."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == rows).astype(np.float64)
    bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    gap = np.bincount(bins, weights=confidence - right, minlength=N_BINS)
    return float(np.abs(gap).sum() / len(rows))
