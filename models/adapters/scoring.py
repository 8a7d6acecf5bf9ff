"""How well epochs are identified, and how sure that is: splits, scores, chance.

Owns splits (by stimulus, by blocks of time, or both), log likelihoods over candidates, and the
permutation test. Arrays only: knows nothing of adapters or encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from models.adapters.errors import AdapterError
from pipeline.values import Float64

Ints = NDArray[np.intp]
Fold = tuple[Ints, Ints]
"""Rows to fit on, rows to test on."""

N_BLOCKS = 5
MINUTE = 60.0
MIN_TRAINING = 0.6
"""Part of the epochs outside a test block that must remain for fitting once the test's stimuli
are taken out; else the block's stimuli are tested in several groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Folds, and the blocks of time they are made of.

    `block` is the length of the unit in s: whole minutes where the recording is long enough.
    """

    folds: tuple[Fold, ...]
    n_blocks: int
    block: float

    @property
    def sentence(self) -> str:
        """How the split was made, for people."""
        unit = "whole minutes" if self.block >= MINUTE else f"{self.block:.0f} s"
        return (
            f"{self.n_blocks} blocks of time ({unit}); nothing from a tested block, and no "
            "stimulus of a tested epoch, was fitted on"
        )


def time_blocks(onsets: Float64, n_blocks: int = N_BLOCKS) -> tuple[Ints, float]:
    """Number each epoch's block of time: whole minutes if there are three, else equal parts.

    Returns
    -------
    ndarray, shape (n,), int
    float
        Length of the unit, s.

    Raises
    ------
    AdapterError
        Too few epochs for two blocks.
    """
    if len(onsets) < 8:
        raise AdapterError(f"there are {len(onsets)} epochs, expected at least 8: record longer.")
    since = onsets - onsets[0]
    unit = MINUTE if since[-1] > 2 * MINUTE else max(float(since[-1]) / 3, 1e-9) * (1 + 1e-9)
    units = (since // unit).astype(np.intp)
    n_units = int(units[-1]) + 1
    return np.minimum(units * min(n_blocks, n_units) // n_units, n_blocks - 1), unit


def time_and_stimulus_splits(onsets: Float64, groups: Ints, *, seed: int = 0) -> Splits:
    """Split so that neither a minute nor a stimulus is on both sides of a fold.

    Every epoch is tested exactly once. Where stimuli repeat over the blocks, a block is tested in
    parts, so that leaving its stimuli out costs little of the data to fit on.
    """
    blocks, unit = time_blocks(onsets)
    rng = np.random.default_rng([seed, 41])
    names = np.unique(groups)
    for n_parts in (1, 2, 3, 5):
        part_of = dict(zip(names, rng.permutation(len(names)) % n_parts, strict=True))
        parts = np.array([part_of[g] for g in groups], dtype=np.intp)
        folds = _folds(blocks, parts, groups)
        left = [
            len(train) / max(int((blocks != blocks[test[0]]).sum()), 1) for train, test in folds
        ]
        if min(left) >= MIN_TRAINING or n_parts == 5:
            break
    usable = tuple(fold for fold in folds if len(fold[0]) >= 4)
    if not usable:
        raise AdapterError(
            "the stimuli come in blocks of time, so that none can be held out: show them in mixed "
            "order."
        )
    return Splits(usable, len(np.unique(blocks)), unit)


def _folds(blocks: Ints, parts: Ints, groups: Ints) -> list[Fold]:
    folds = []
    for block in np.unique(blocks):
        for part in np.unique(parts[blocks == block]):
            test = np.flatnonzero((blocks == block) & (parts == part))
            train = np.flatnonzero((blocks != block) & ~np.isin(groups, groups[test]))
            folds.append((train, test))
    return folds


def block_splits(onsets: Float64) -> Splits:
    """Split by blocks of time alone (plain classes: a class cannot be held out)."""
    blocks, unit = time_blocks(onsets)
    numbers = np.unique(blocks)
    folds = tuple((np.flatnonzero(blocks != b), np.flatnonzero(blocks == b)) for b in numbers)
    return Splits(folds, len(numbers), unit)


def stimulus_folds(groups: Ints, n_folds: int, *, seed: int) -> list[Fold]:
    """Split by stimulus alone, for choices inside a training set."""
    names = np.unique(groups)
    rng = np.random.default_rng([seed, 43])
    part_of = dict(zip(names, rng.permutation(len(names)) % n_folds, strict=True))
    parts = np.array([part_of[g] for g in groups], dtype=np.intp)
    return [
        (np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in np.unique(parts)
    ]


def log_likelihoods(logits: Float64, temperature: float) -> Float64:
    """Log probability of each candidate, (n, n_candidates)."""
    scaled = logits / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))


def fit_temperature(logits: Float64, rows: Ints) -> float:
    """Temperature with the largest likelihood (Guo et al. 2017), 0.02 to 1000."""

    def surprise(log_temperature: float) -> float:
        found = log_likelihoods(logits, float(np.exp(log_temperature)))
        return float(-found[np.arange(len(rows)), rows].mean())

    best = optimize.minimize_scalar(
        surprise,
        bounds=(np.log(0.02), np.log(1000.0)),
        method="bounded",
        options={"xatol": 0.01},
    )
    return float(np.exp(best.x))


def ranks(scores: Float64, rows: Ints) -> Ints:
    """Rank of the true candidate, 0 for the best; ties count against."""
    own = scores[np.arange(len(rows)), rows][:, None]
    return np.asarray((scores >= own).sum(axis=1) - 1, dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class PermutationTest:
    """Of the best of several methods, the choice among them included.

    `chance` is each method's accuracy with labels dealt out anew, (n_methods,).
    """

    p_value: float
    chance: Float64
    n_permutations: int


def permutation_test(
    scores: list[Float64],
    rows: Ints,
    *,
    is_fitted: Sequence[bool],
    seed: int,
    n_permutations: int = 2000,
) -> PermutationTest:
    """Deal out the epochs' labels anew and look how often chance does as well.

    The statistic is the mean normal score of the true candidate among the epochs' scores for that
    candidate: a decoder's preferences for some candidates cancel, and misses that came close
    count. The largest over the methods is compared with the largest by chance, so that choosing
    the best one cannot make nothing into something.

    Decoders are not fitted anew for each deal. In cross-validation any two epochs meet twice, once
    with either one tested, so that without any effect a fitted decoder's statistic has up to
    twice the variance that dealing out labels shows: it is divided by the root of two.

    Parameters
    ----------
    scores : list of ndarray, shape (n, n_candidates)
        One a method, each of epochs that it was not fitted on.
    rows : ndarray, shape (n,), int
        The true candidate of each epoch.
    is_fitted : sequence of bool
        Which methods saw labels.
    """
    rng = np.random.default_rng([seed, 53])
    n = len(rows)
    tables = [_standard(each) for each in scores]
    hits = [each.argmax(axis=1) for each in scores]
    observed = max(
        float(table[np.arange(n), rows].mean()) / (np.sqrt(2) if fitted else 1.0)
        for table, fitted in zip(tables, is_fitted, strict=True)
    )
    chance = np.zeros(len(scores))
    n_as_good = 0
    for _ in range(n_permutations):
        dealt = rows[rng.permutation(n)]
        if max(float(t[np.arange(n), dealt].mean()) for t in tables) >= observed - 1e-12:
            n_as_good += 1
        chance += [float((hit == dealt).mean()) for hit in hits]
    return PermutationTest(
        p_value=(1 + n_as_good) / (1 + n_permutations),
        chance=chance / n_permutations,
        n_permutations=n_permutations,
    )


def _standard(scores: Float64) -> Float64:
    """Standardise over candidates, then over epochs."""
    within = scores - scores.mean(axis=1, keepdims=True)
    within = within / np.maximum(within.std(axis=1, keepdims=True), 1e-12)
    across = within - within.mean(axis=0)
    return np.asarray(across / np.maximum(across.std(), 1e-12))
