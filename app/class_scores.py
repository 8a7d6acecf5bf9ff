"""How well a session tells classes apart: balanced accuracy, area, confusion, calibration.

Owns the trials and the summary's layout; the arithmetic is `pipeline.class_measures`'. Plain
accuracy and its test are `app.accuracy`'s: where one class is rare, always answering the other
looks good there, and like guessing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.class_measures import (
    balanced_accuracy,
    calibration_error,
    class_areas,
    confusion_of,
)
from pipeline.values import Float64


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
        confusion = confusion_of(truths, rows.argmax(axis=1), len(self.classes))
        areas = class_areas(rows, truths)
        known = [area for area in areas if area is not None]
        shown = confusion.sum(axis=1)
        return {
            "classes": list(self.classes),
            "balanced_accuracy": round(balanced_accuracy(confusion), 6),
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
            "calibration_error": round(calibration_error(rows, truths), 6),
        }
