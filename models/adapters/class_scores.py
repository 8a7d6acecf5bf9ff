"""What out-of-fold probabilities of classes are worth beside accuracy.

Owns AUC, balanced accuracy, calibration error, what the commonest class alone would give, and what
several looks at one stimulus add up to. Arrays in, the report's value out; knows nothing of how
they were fitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from models.adapters.report import ClassScores, RepetitionPoint, SessionScore
from models.adapters.scoring import Ints, log_likelihoods
from pipeline.class_measures import (
    balanced_accuracy,
    calibration_error,
    class_areas,
    confusion_of,
)
from pipeline.values import Float64

N_BOOTSTRAP = 500
REPETITIONS = (1, 2, 4, 8, 16)
UNEQUAL = 1.2
"""Times a fair share from which the commonest class makes accuracy a bad measure."""
WORSE = 0.05
"""P below which accuracy counts as less than the commonest class gives."""


def class_scores(
    evidence: Float64,
    rows: Ints,
    names: Sequence[str],
    *,
    log_prior: Float64,
    blocks: Ints,
    sessions: Sequence[SessionScore] = (),
    seed: int = 0,
) -> ClassScores:
    """Score out-of-fold evidence.

    Parameters
    ----------
    evidence : ndarray, shape (n_epochs, n_classes), float64
        Log probabilities but for a constant, prior included.
    rows : ndarray, shape (n_epochs,), int
        The true classes.
    log_prior : ndarray, shape (n_classes,), float64
        What of `evidence` is the prior: repetitions count it once.
    blocks : ndarray, shape (n_epochs,), int
        Number of each epoch's block of time; repetitions are never taken across.
    """
    n_classes = len(names)
    log_probabilities = log_likelihoods(evidence.copy(), 1.0)
    probabilities, guesses = np.exp(log_probabilities), evidence.argmax(axis=1)
    confusion = confusion_of(rows, guesses, n_classes)
    counts = np.bincount(rows, minlength=n_classes)
    fair = (log_probabilities - log_prior).argmax(axis=1)
    area = area_under_curve(probabilities, rows)
    low, high = _area_interval(probabilities, rows, seed=seed)
    return ClassScores(
        names=tuple(names),
        counts=tuple(int(n) for n in counts),
        auc=area,
        auc_low=low,
        auc_high=high,
        balanced_accuracy=balanced_accuracy(confusion_of(rows, fair, n_classes)),
        majority=float(counts.max() / counts.sum()),
        p_below_majority=_p_below(guesses, rows, int(counts.argmax())),
        calibration_error=calibration_error(probabilities, rows),
        confusion=tuple(tuple(int(n) for n in line) for line in confusion),
        sessions=tuple(sessions),
        repetitions=repetitions(
            log_probabilities - log_prior, rows, log_prior, blocks, n_classes=n_classes
        ),
    )


def is_unequal(scores: ClassScores) -> bool:
    """Whether always giving the commonest class would look good in accuracy."""
    return scores.majority > UNEQUAL / len(scores.names)


def is_beaten(scores: ClassScores) -> bool:
    """Whether the commonest class alone beats what was decoded."""
    return scores.p_below_majority < WORSE or scores.auc_low <= 0.5


def area_under_curve(probabilities: Float64, rows: Ints) -> float:
    """Area under the ROC curve: of two classes, or the mean of each against the rest."""
    areas = class_areas(probabilities, rows)
    wanted = [each for each in (areas[1:] if len(areas) == 2 else areas) if each is not None]
    return float(np.mean(wanted)) if wanted else 0.5


def _area_interval(probabilities: Float64, rows: Ints, *, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng([seed, 71])
    drawn = rng.integers(len(rows), size=(N_BOOTSTRAP, len(rows)))
    areas = [area_under_curve(probabilities[each], rows[each]) for each in drawn]
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(low), float(high)


def _p_below(guesses: Ints, rows: Ints, commonest: int) -> float:
    """P of so few right where the two differ, were they equally good (exact McNemar, one-sided)."""
    ours, theirs = guesses == rows, rows == commonest
    n_ours, n_differ = int((ours & ~theirs).sum()), int((ours != theirs).sum())
    if not n_differ:
        return 1.0
    return float(binomtest(n_ours, n_differ, alternative="less").pvalue)


def repetitions(
    likelihoods: Float64, rows: Ints, log_prior: Float64, blocks: Ints, *, n_classes: int
) -> tuple[RepetitionPoint, ...]:
    """Sum the evidence of 1, 2, 4, ... successive epochs of one class: part right, and AUC.

    Epochs of one class stand for looks at one stimulus. Groups do not overlap, nor reach over a
    block of time.
    """
    found = []
    for n in REPETITIONS:
        sums, labels = [], []
        for block in np.unique(blocks):
            for k in range(n_classes):
                own = np.flatnonzero((blocks == block) & (rows == k))
                for first in range(0, len(own) - n + 1, n):
                    sums.append(likelihoods[own[first : first + n]].sum(axis=0) + log_prior)
                    labels.append(k)
        truth = np.array(labels, dtype=np.intp)
        if len(truth) < 10 or len(np.unique(truth)) < n_classes:
            break
        total = np.stack(sums)
        found.append(
            RepetitionPoint(
                n=n,
                n_groups=len(truth),
                accuracy=float((total.argmax(axis=1) == truth).mean()),
                balanced_accuracy=balanced_accuracy(
                    confusion_of(truth, (total - log_prior).argmax(axis=1), n_classes)
                ),
                auc=area_under_curve(np.exp(log_likelihoods(total.copy(), 1.0)), truth),
            )
        )
    return tuple(found)


def session_score(
    evidence: Float64, rows: Ints, log_prior: Float64, *, session: str, subject: str
) -> SessionScore:
    """Score a session that nothing was fitted on."""
    n_classes = evidence.shape[1]
    return SessionScore(
        session=session,
        subject=subject,
        n_epochs=len(rows),
        accuracy=float((evidence.argmax(axis=1) == rows).mean()),
        balanced_accuracy=balanced_accuracy(
            confusion_of(rows, (evidence - log_prior).argmax(axis=1), n_classes)
        ),
        auc=area_under_curve(np.exp(log_likelihoods(evidence.copy(), 1.0)), rows),
    )
