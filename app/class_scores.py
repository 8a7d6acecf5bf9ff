"""How well classes are told apart: balanced accuracy, area under the curve, confusion, calibration.

Owns the arithmetic over all trials of a session whose true class is known; pure. Plain accuracy and
its test are `app.accuracy`'s: where one class is rare, always answering the other looks good there,
and like guessing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.values import Float64

N_BINS = 10
"""Bins of confidence behind the expected calibration error (Guo et al. 2017)."""


class ClassScores:
    """Collects trials: the true class and the probability of each, in the order of `classes`."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._truths: list[int] = []
        self._rows: list[Float64] = []

    def __len__(self) -> int:
        return len(self._truths)

    def add(self, truth: str, probabilities: dict[str, float]) -> None:
        """Take in one trial."""
        self._truths.append(self.classes.index(truth))
        self._rows.append(np.array([probabilities[name] for name in self.classes]))

    def table(self) -> dict[str, Any]:
        """What the summary says; empty before the first trial."""
        if not self._truths:
            return {}
        truths, rows = np.array(self._truths), np.array(self._rows)
        confusion = np.zeros((len(self.classes),) * 2, dtype=int)
        np.add.at(confusion, (truths, rows.argmax(axis=1)), 1)
        areas = [_area(rows[:, k], truths == k) for k in range(len(self.classes))]
        known = [area for area in areas if area is not None]
        shown = confusion.sum(axis=1)
        recall = confusion.diagonal()[shown > 0] / shown[shown > 0]
        return {
            "classes": list(self.classes),
            "balanced_accuracy": round(float(recall.mean()), 6),
            "balanced_chance": 1 / int((shown > 0).sum()),
            "auc": round(float(np.mean(known)), 6) if known else None,
            "auc_by_class": {
                name: None if area is None else round(area, 6)
                for name, area in zip(self.classes, areas, strict=True)
            },
            "majority": {
                "class": self.classes[int(shown.argmax())],
                "share": round(float(shown.max() / shown.sum()), 6),
            },
            "confusion": confusion.tolist(),
            "calibration_error": round(calibration_error(truths, rows), 6),
        }


def calibration_error(truths: NDArray[np.intp], rows: Float64) -> float:
    """Expected calibration error of the best class' probability, in `N_BINS` equal bins."""
    confidence, right = rows.max(axis=1), rows.argmax(axis=1) == truths
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gaps = [
        abs(float(right[bins == k].sum() - confidence[bins == k].sum())) for k in np.unique(bins)
    ]
    return sum(gaps) / len(truths)


def _area(scores: Float64, is_class: NDArray[np.bool_]) -> float | None:
    """Area under the curve of one class against the rest; None where one side is missing."""
    n, m = int(is_class.sum()), int((~is_class).sum())
    if not n or not m:
        return None
    return float((rankdata(scores)[is_class].sum() - n * (n + 1) / 2) / (n * m))
