"""Decoders of plain classes: against their peers, chosen, judged, pooled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.adapters import AdapterError, CalibrationData, load_adapter, save_adapter
from models.adapters.class_scores import class_scores, is_beaten
from models.adapters.classes import class_probabilities
from models.adapters.fit import fit_adapter
from models.adapters.leaks import leak_sentence
from models.adapters.methods.names import check_methods
from models.adapters.pooling import Recorded, pool_recordings
from models.adapters.scoring import Ints
from models.adapters.shrinkage_lda import ShrinkageLda, ledoit_wolf
from models.adapters.tangent import geometric_mean, super_covariances, tangent_vectors
from pipeline.class_measures import calibration_error
from pipeline.values import Float64

SFREQ = 64.0


def made(
    *, n: int = 200, rare: float = 0.5, gain: float = 1.0, seed: int = 0, n_channels: int = 3
) -> CalibrationData:
    """Two kinds of trial, one with a wave of its own, in white noise."""
    rng = np.random.default_rng(seed)
    is_target = rng.random(n) < rare
    epochs = rng.standard_normal((n, n_channels, 64))
    wave = gain * np.sin(np.linspace(0, np.pi, 20))
    epochs[is_target, 0, 25:45] += wave
    return CalibrationData(
        epochs=epochs.astype(np.float32),
        labels=tuple("target" if each else "nontarget" for each in is_target),
        onsets=np.arange(n) * 1.0,
        channels=("Oz", "PO7", "PO8", "Cz")[:n_channels],
        sfreq=SFREQ,
        tmin=-0.2,
    )


def test_shrinkage_agrees_with_scikit_learn() -> None:
    lda = pytest.importorskip("sklearn.discriminant_analysis")
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(1)
    for n_features in (6, 90):  # fewer and more features than epochs
        x, y = rng.standard_normal((60, n_features)), np.arange(60) % 2
        x[y == 1, 0] += 1.0
        means = np.stack([x[y == k].mean(axis=0) for k in (0, 1)])
        residuals = x - means[y]
        part, _ = ledoit_wolf(residuals)
        peer_part = covariance.ledoit_wolf_shrinkage(residuals, assume_centered=True)
        assert part == pytest.approx(peer_part, rel=1e-9)
        peer = lda.LinearDiscriminantAnalysis(
            solver="lsqr",
            covariance_estimator=covariance.LedoitWolf(assume_centered=True),
            priors=[0.5, 0.5],
        )
        # The peer shrinks each class on its own; the direction on one shared covariance is ours.
        shared = covariance.LedoitWolf(assume_centered=True).fit(residuals).covariance_
        ours = ShrinkageLda.fit(x, y, n_classes=2)
        np.testing.assert_allclose(ours.coef, np.linalg.solve(shared, means.T).T, rtol=1e-6)
        agreed = peer.fit(x, y).predict(x) == ours.logits(x).argmax(axis=1)
        assert agreed.mean() > 0.9


def test_tangent_space_agrees_with_pyriemann() -> None:
    means = pytest.importorskip("pyriemann.utils.mean")
    tangent = pytest.importorskip("pyriemann.utils.tangentspace")
    oas = pytest.importorskip("sklearn.covariance").oas
    rng = np.random.default_rng(2)
    features = rng.standard_normal((30, 4, 40))
    filters, waves = rng.standard_normal((3, 4)), rng.standard_normal((3, 40))
    found = super_covariances(features, filters, waves)
    both = np.concatenate([waves, filters @ features[0]])
    np.testing.assert_allclose(found[0], oas(both.T)[0], rtol=1e-6)
    peer = means.mean_riemann(found)
    np.testing.assert_allclose(geometric_mean(found), peer, rtol=2e-2, atol=1e-3)
    np.testing.assert_allclose(
        tangent_vectors(found, peer), tangent.tangent_space(found, peer), rtol=1e-6, atol=1e-8
    )


def test_rare_targets_are_judged_against_the_commonest(tmp_path: Path) -> None:
    report = (adapter := fit_adapter(made(n=300, rare=0.1, gain=1.5), with_curve=False)).report
    assert report.verdict == "found"
    assert report.classes is not None
    assert "always answering 'nontarget' gives" in report.sentence
    assert report.with_adapter >= report.classes.majority > 0.85
    assert report.classes.auc_low > 0.6
    assert report.classes.balanced_accuracy > 0.6
    save_adapter(adapter, tmp_path)
    epoch = made(seed=9).epoch(0)
    np.testing.assert_allclose(
        class_probabilities(load_adapter(tmp_path), epoch), class_probabilities(adapter, epoch)
    )


def test_shuffled_labels_are_nothing() -> None:
    data = made(n=200, rare=0.1)
    dealt = np.random.default_rng(5).permutation(data.labels)
    report = fit_adapter(
        replace(data, labels=tuple(str(d) for d in dealt)), with_curve=False
    ).report
    assert report.verdict == "nothing found"


def test_blocks_are_no_brain() -> None:
    data = made(n=120)
    halves = ("target",) * 30 + ("nontarget",) * 30
    report = fit_adapter(replace(data, labels=halves * 2), with_curve=False).report
    assert report.verdict == "leak"


def evidence_of(rows: Ints, right: Float64) -> Float64:
    table = np.zeros((len(rows), 2))
    table[np.arange(len(rows)), rows] = right
    return table


def test_worse_than_the_majority_is_beaten() -> None:
    rng = np.random.default_rng(3)
    rows = (rng.random(300) < 0.17).astype(np.intp)
    guesses = evidence_of(rows, np.where(rng.random(300) < 0.7, 2.0, -2.0))
    even = np.log(np.full(2, 0.5))
    scores = class_scores(
        guesses, rows, ["nontarget", "target"], log_prior=even, blocks=np.zeros(300, dtype=np.intp)
    )
    assert is_beaten(scores)  # 70 % right where one answer gives 83 %
    assert scores.calibration_error > 0.1
    areas = [point.auc for point in scores.repetitions]
    assert areas[0] < areas[1] < areas[2]


def test_calibration_error_of_honest_probabilities_is_small() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(0.5, 1.0, 20000)
    rows = (rng.random(20000) > p).astype(np.intp)
    assert calibration_error(np.stack([p, 1 - p], axis=1), rows) < 0.02
    assert calibration_error(np.stack([p**0.1, 1 - p**0.1], axis=1), rows) > 0.15


def test_sessions_of_two_caps_are_pooled() -> None:
    first, second = made(gain=2.0, seed=1), made(gain=2.0, seed=2, n_channels=4)
    pooled = pool_recordings([Recorded(second, "b", "s1"), Recorded(first, "a", "s1")])
    assert pooled.channels == ("Oz", "PO7", "PO8")
    assert len(pooled) == 400
    report = fit_adapter(pooled, with_curve=False).report
    assert report.classes is not None
    assert [each.session for each in report.classes.sessions] == ["b", "a"]
    assert min(each.auc for each in report.classes.sessions) > 0.8
    other = replace(first, channels=("Fp1", "Fp2", "Fz"))
    with pytest.raises(AdapterError, match="share 0 channels"):
        pool_recordings([Recorded(second, "b"), Recorded(other, "c")])
    with pytest.raises(AdapterError, match="each once"):
        pool_recordings([Recorded(first, "a"), Recorded(second, "a")])


@pytest.mark.parametrize(
    ("name", "is_classes", "told"),
    [
        ("labrum", None, r"'labrum', expected one of zero-shot, .*tangent.*labram"),
        ("labrum", True, r"'labrum', expected one of zero-shot, .*tangent.*labram"),
        ("ridge", True, r"'ridge' stands behind an encoder of pictures, .*expected one of space"),
        ("tangent", False, r"'tangent' decodes classes of events, .*expected one of zero-shot"),
    ],
)
def test_a_method_that_does_not_fit_is_refused(
    name: str, is_classes: bool | None, told: str
) -> None:
    with pytest.raises(AdapterError, match=told):
        check_methods((name,), is_classes=is_classes)


def test_the_decoders_that_are_chosen_among_can_be_named() -> None:
    with pytest.raises(AdapterError, match="'ridge' stands behind an encoder"):
        fit_adapter(made(), methods=("ridge",), with_curve=False)
    report = fit_adapter(made(), methods=("shrinkage",), with_curve=False).report
    assert [each.title for each in report.methods[1:]] == ["shrinkage discriminant"]


@pytest.mark.parametrize(
    ("before", "order", "said"),
    [
        (0.4, 0.9, "no more than chance does (p = 0.4), and the order gives nothing away"),
        (0.0065, 0.9, "something may be told, too little to call it a leak (p = 0.0065, a leak"),
        (0.4, 0.01, "the order is a little uneven (p = 0.01, a leak is below 0.001)"),
        (0.0004, 0.9, "can be told from before it was shown"),
    ],
)
def test_the_leak_check_says_how_sure_it_is(before: float, order: float, said: str) -> None:
    assert said in leak_sentence(before, order)
