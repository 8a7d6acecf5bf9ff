"""Whether what was shown can be told without any response to it.

Owns two tests. A decoder that sees only what lies before onset, split at random, must be at chance:
in mixed order nothing there can know the picture, while in blocks of one class drifts do (Li et
al. 2021). And successive pictures must be no more alike than in a shuffled order.
"""

from __future__ import annotations

import numpy as np

from models.adapters.data import CalibrationData
from models.adapters.report import LeakCheck
from models.adapters.scoring import Ints, random_folds
from pipeline.values import Float64

ALPHA = 0.002
"""Of either test: a warning in red must be rare where nothing leaks (1 in 250 recordings)."""
N_PERMUTATIONS = 2000
N_COMPONENTS = 24
BATCH = 50
"""Deals of the labels that are tried at once."""
BIN = 0.04
"""Length of a bin before onset, s."""


def check_leaks(data: CalibrationData, *, seed: int = 0) -> LeakCheck:
    """Decode what was shown from before it was shown.

    Parameters
    ----------
    data : CalibrationData
        With `tmin` below 0 for the first test; without, only the order is judged.
    """
    targets = leak_targets(data)
    p_order = order_test(targets[data.rows], seed=seed)
    features = pre_stimulus(data)
    if features is None:
        is_leak = p_order < ALPHA
        return LeakCheck(
            p_pre_stimulus=1.0,
            accuracy=0.0,
            chance=1 / len(targets),
            p_order=p_order,
            is_leak=is_leak,
            sentence=_sentence(1.0, p_order, has_baseline=False),
        )
    smoother = _smoother(features, seed=seed)
    shown = targets[data.rows]
    p_value = _smoother_test(smoother, shown, seed=seed)
    hits = (smoother @ (shown - shown.mean(axis=0)) @ targets.T).argmax(axis=1)
    return LeakCheck(
        p_pre_stimulus=p_value,
        accuracy=float((hits == data.rows).mean()),
        chance=float(np.mean([(hits == row).mean() for row in data.rows])),
        p_order=p_order,
        is_leak=min(p_value, p_order) < ALPHA,
        sentence=_sentence(p_value, p_order, has_baseline=True),
    )


def leak_targets(data: CalibrationData) -> Float64:
    """Where each candidate lies: its embedding, or a corner of its own for plain classes."""
    if data.targets is not None:
        return data.targets.astype(np.float64)
    return np.eye(len(data.class_names))


def pre_stimulus(data: CalibrationData) -> Float64 | None:
    """Bins before onset and their mean, (n, n_features); None where there is too little.

    A baseline takes the mean over this very interval away, so the shape within it, its power and
    its slope are what is left to know something.
    """
    n_before = round(-data.tmin * data.sfreq)
    n_bin = max(1, round(BIN * data.sfreq))
    if n_before < 2 * n_bin:
        return None
    part = data.epochs[:, :, : n_before // n_bin * n_bin].astype(np.float64)
    bins = part.reshape(*part.shape[:2], -1, n_bin).mean(axis=3)
    power = np.log(part.var(axis=2) + 1e-6)
    flat = np.c_[bins.reshape(len(bins), -1), power]
    spread = flat.std(axis=0)
    return np.asarray((flat - flat.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _smoother(features: Float64, *, seed: int) -> Float64:
    """Ridge regression out of random folds as a matrix on the targets, (n, n)."""
    _, _, axes = np.linalg.svd(features, full_matrices=False)
    few = features @ axes[:N_COMPONENTS].T
    matrix = np.zeros((len(few), len(few)))
    for train, test in random_folds(len(few), 5, seed=seed):
        gram = few[train].T @ few[train]
        ridge = 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram))
        matrix[np.ix_(test, train)] = few[test] @ np.linalg.solve(gram + ridge, few[train].T)
    return matrix


def _smoother_test(smoother: Float64, shown: Float64, *, seed: int) -> float:
    """P of how well the smoother foretells the targets.

    It is linear in them, so that each deal of the labels fits it anew at no cost.
    """
    rng = np.random.default_rng([seed, 67])
    centred = _compact(shown - shown.mean(axis=0))
    observed = float(((smoother @ centred) * centred).sum())
    slack = 1e-12 * max(1.0, abs(observed))
    n_as_good = 0
    for begin in range(0, N_PERMUTATIONS, BATCH):
        n = min(BATCH, N_PERMUTATIONS - begin)
        # (n_epochs, n deals, k): as one product of matrices
        dealt = np.stack([centred[rng.permutation(len(shown))] for _ in range(n)], axis=1)
        foretold = (smoother @ dealt.reshape(len(shown), -1)).reshape(dealt.shape)
        n_as_good += int(((foretold * dealt).sum(axis=(0, 2)) >= observed - slack).sum())
    return (1 + n_as_good) / (1 + N_PERMUTATIONS)


def _compact(rows: Float64) -> Float64:
    """The fewest columns with the same products of rows: classes have rank k - 1."""
    values, vectors = np.linalg.eigh(rows.T @ rows)
    kept = values > 1e-12 * max(float(values[-1]), 1e-30)
    return np.asarray(rows @ vectors[:, kept])


def order_test(shown: Float64, *, seed: int, n_permutations: int = N_PERMUTATIONS) -> float:
    """P of how alike successive pictures are, against a shuffled order (one-sided)."""
    rng = np.random.default_rng([seed, 61])
    centred = shown - shown.mean(axis=0)
    gram = centred @ centred.T

    def alike(order: Ints) -> float:
        return float(gram[order[:-1], order[1:]].mean())

    n = len(shown)
    observed = alike(np.arange(n))
    as_good = sum(alike(rng.permutation(n)) >= observed - 1e-12 for _ in range(n_permutations))
    return (1 + as_good) / (1 + n_permutations)


def _sentence(p_pre: float, p_order: float, *, has_baseline: bool) -> str:
    if p_pre < ALPHA:
        return (
            f"what was shown can be told from before it was shown (p = {p_pre:.3g}): the stimuli "
            "came in blocks, or something else gives them away; show them in mixed order."
        )
    if p_order < ALPHA:
        return (
            f"stimuli that are alike followed each other (p = {p_order:.3g}): slow drifts could be "
            "decoded instead of responses; show them in mixed order."
        )
    if not has_baseline:
        return "the order of the stimuli gives nothing away; there is no time before onset to test."
    return (
        f"before onset nothing can be told (p = {p_pre:.2g}), and the order gives nothing away "
        f"(p = {p_order:.2g})."
    )
