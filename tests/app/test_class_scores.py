"""Scores of classes, against scikit-learn where it has them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score

from app.class_scores import ClassScores
from app.ranking import rank_classes
from models.api import EncoderSpec, InputSpec
from pipeline.class_measures import calibration_error

NAMES = ("face", "house", "checker")


def filled(truths: np.ndarray, rows: np.ndarray, names: tuple[str, ...] = NAMES) -> ClassScores:
    scores = ClassScores(names)
    for truth, row in zip(truths, rows, strict=True):
        scores.add(names[truth], dict(zip(names, row.tolist(), strict=True)))
    return scores


def test_scores_are_the_fields_own() -> None:
    rng = np.random.default_rng(0)
    truths = rng.integers(3, size=200)
    rows = rng.dirichlet(np.ones(3), size=200) + 0.3 * np.eye(3)[truths]
    rows /= rows.sum(axis=1, keepdims=True)
    table = filled(truths, rows).table()
    guess = rows.argmax(axis=1)
    assert table["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(truths, guess), abs=1e-6
    )
    assert table["confusion"] == confusion_matrix(truths, guess).tolist()
    wanted = roc_auc_score(truths, rows, multi_class="ovr", average="macro")
    assert table["auc"] == pytest.approx(wanted, abs=1e-6)


def test_rare_targets_are_no_success_of_always_saying_no() -> None:
    names = ("nontarget", "target")
    truths = (np.arange(100) % 10 == 0).astype(int)
    rows = np.tile([0.83, 0.17], (100, 1))
    table = filled(truths, rows, names).table()
    assert table["majority"] == {"class": "nontarget", "share": 0.9}
    assert table["balanced_accuracy"] == 0.5
    assert table["auc"] == 0.5
    assert table["confusion"] == [[90, 0], [10, 0]]


def test_the_calibration_error_is_the_gap_between_said_and_seen() -> None:
    truths = np.array([0, 0, 0, 1])
    assert calibration_error(np.tile([0.75, 0.25], (4, 1)), truths) == pytest.approx(0.0)
    assert calibration_error(np.tile([0.95, 0.05], (4, 1)), truths) == pytest.approx(0.2)


def test_a_marker_of_another_name_has_its_class_for_truth() -> None:
    spec = EncoderSpec(
        "", InputSpec(0.0), 0, 1, None, None, 4, classes=NAMES, class_of=(("11", "house"),)
    )
    ranking = rank_classes((0.2, 0.5, 0.3), spec, "11")
    assert ranking.top == (("house", 0.5), ("checker", 0.3), ("face", 0.2))
    assert (ranking.rank, ranking.truth, ranking.chance) == (1, "house", 1 / 3)
    unknown = rank_classes((0.2, 0.5, 0.3), spec, "press")
    assert (unknown.rank, unknown.truth) == (None, "")
