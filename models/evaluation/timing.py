"""Whether what was shown can be told without any response to it: from before, or from when.

Owns three permutation tests over trials in order of time. In mixed order nothing before onset and
nothing in the clock can know the picture; in blocks of one class slow drifts do (Li et al., IEEE
TPAMI 2021). Pure arithmetic on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.checks import N_PERMUTATIONS, Check, judged, missing
from pipeline.values import Float32, Float64

Ints = NDArray[np.intp]

N_COMPONENTS = 60
RIDGE = 2.0
BATCH = 50
"""Deals of the labels that are tried at once."""
BIN = 0.04
"""Length of a bin before onset, s."""
FEWEST = 10
"""Trials that a test needs."""
REACHES = (1, 3, 10, 30)
"""How many trials to either side foretell a label."""


def before_onset(
    epochs: Float32 | None,
    rows: Ints,
    targets: Float64,
    *,
    sfreq: float,
    tmin: float,
    seed: int = 0,
) -> Check:
    """Decode what was shown from before it was shown, split at random.

    Parameters
    ----------
    epochs : ndarray, shape (n_epochs, n_channels, n_times), float32, or None
        From `tmin` on, s from onset; the part before onset is used. None: not checked.
    rows : ndarray, shape (n_epochs,), int
        Each epoch's row in `targets`.
    targets : ndarray, shape (n_candidates, n_features), float64
        Embedding of each candidate, or a corner of its own for plain classes.
    """
    name = "before onset"
    features = None if epochs is None else pre_stimulus(epochs, sfreq=sfreq, tmin=tmin)
    if features is None or len(np.unique(rows)) < 2 or len(rows) < FEWEST:
        why = (
            f"no epochs that begin {2 * BIN:g} s before onset and whose labels come again"
            if features is None
            else f"there are fewer than {FEWEST} trials of two labels"
        )
        return missing(name, f"{why}: nothing was tested.")
    smoother = smoother_of(features, seed=seed)
    shown = targets[rows]
    p_value = smoother_test(smoother, shown, seed=seed)
    hits = (smoother @ (shown - shown.mean(axis=0)) @ targets.T).argmax(axis=1)
    right = float((hits == rows).mean())
    chance = float(np.mean([(hits == row).mean() for row in rows]))
    verdict = judged(p_value)
    told = "what was shown can be told" if verdict == "leak" else "nothing can be told"
    return Check(
        name,
        verdict,
        f"{told} from before it was shown: {right:.1%} right, {chance:.1%} by chance "
        f"(p = {p_value:.3g}, {len(rows)} trials).",
        p_value,
        {"accuracy": right, "chance": chance},
    )


def time_of_recording(labels: Sequence[str], *, seed: int = 0) -> Check:
    """Foretell each label from those shown shortly before and after it; no signal is used.

    Parameters
    ----------
    labels : sequence of str
        What was shown, in order of time.

    Notes
    -----
    The statistic is the share of equal labels among the 1, 3, 10 and 30 trials to either side, each
    standardised by its own shuffles; the largest counts, with its choice in the test.
    """
    name = "time of recording"
    found, rows = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
    if len(found) < 2 or len(rows) < max(FEWEST, len(found) + 2):
        return missing(name, "no two labels that come again: nothing was tested.")
    reaches = [reach for reach in REACHES if 2 * reach < len(rows)]
    rng = np.random.default_rng([seed, 71])
    observed = _alike(rows, len(found), reaches)
    dealt = np.array(
        [_alike(rng.permutation(rows), len(found), reaches) for _ in range(N_PERMUTATIONS)]
    )
    spread = np.maximum(dealt.std(axis=0), 1e-12)
    centre = dealt.mean(axis=0)
    largest = float(((observed - centre) / spread).max())
    p_value = (1 + int((((dealt - centre) / spread).max(axis=1) >= largest - 1e-9).sum())) / (
        1 + N_PERMUTATIONS
    )
    best = int(((observed - centre) / spread).argmax())
    verdict = judged(p_value)
    told = "foretells" if verdict == "leak" else "does not foretell"
    return Check(
        name,
        verdict,
        f"when a picture was shown {told} which: {observed[best]:.1%} of the {2 * reaches[best]} "
        f"trials around one are alike, {centre[best]:.1%} by chance (p = {p_value:.3g}).",
        p_value,
        {"alike": float(observed[best]), "chance": float(centre[best])},
    )


def _alike(rows: Ints, n_labels: int, reaches: Sequence[int]) -> Float64:
    """Mean share of equal labels among the trials within each reach."""
    n = len(rows)
    counts = np.zeros((n + 1, n_labels), dtype=np.int32)
    counts[1:][np.arange(n), rows] = 1
    np.cumsum(counts, axis=0, out=counts)
    trial = np.arange(n)
    shares = []
    for reach in reaches:
        first, last = np.maximum(trial - reach, 0), np.minimum(trial + reach + 1, n)
        equal = counts[last, rows] - counts[first, rows] - 1
        shares.append(float((equal / (last - first - 1)).mean()))
    return np.array(shares)


def pre_stimulus(epochs: Float32, *, sfreq: float, tmin: float) -> Float64 | None:
    """Bins before onset and their power, (n, n_features); None where there is too little.

    A baseline takes the mean over this very interval away, so the shape within it, its power and
    its slope are what is left to know something.
    """
    n_before = round(-tmin * sfreq)
    n_bin = max(1, round(BIN * sfreq))
    if n_before < 2 * n_bin:
        return None
    part = epochs[:, :, : n_before // n_bin * n_bin].astype(np.float64)
    bins = part.reshape(*part.shape[:2], -1, n_bin).mean(axis=3)
    power = np.log(part.var(axis=2) + 1e-6)
    flat = np.c_[bins.reshape(len(bins), -1), power]
    spread = flat.std(axis=0)
    return np.asarray((flat - flat.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def smoother_of(features: Float64, *, seed: int) -> Float64:
    """Ridge regression out of random folds as a matrix on the targets, (n, n).

    Components have equal variance: what gives a picture away may be small beside the drifts.
    """
    _, sizes, axes = np.linalg.svd(features, full_matrices=False)
    n_kept = min(N_COMPONENTS, len(features) // 3, int((sizes > 1e-9 * sizes[0]).sum()))
    few = features @ axes[:n_kept].T
    few = few / np.maximum(few.std(axis=0), 1e-12)
    matrix = np.zeros((len(few), len(few)))
    parts = np.random.default_rng([seed, 47]).permutation(len(few)) % 5
    for part in range(5):
        train, test = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        gram = few[train].T @ few[train]
        ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        matrix[np.ix_(test, train)] = few[test] @ np.linalg.solve(gram + ridge, few[train].T)
    return matrix


def smoother_test(smoother: Float64, shown: Float64, *, seed: int) -> float:
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
