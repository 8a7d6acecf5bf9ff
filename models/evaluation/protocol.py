"""From one figure an item to a score with an interval and its chance.

Owns the statistics that every measure shares: two-way identification among the shown pictures, the
bootstrap over stimuli, the permutation of pairs. Pure arithmetic; knows no picture and no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigurationError
from pipeline.values import Float32, Float64

Ints = NDArray[np.intp]
N_BOOTSTRAP = 2000
N_PERMUTATIONS = 1000


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over items.

    `low` and `high` are the 95 % bootstrap interval over stimuli; `chance` is the mean with the
    pairs dealt out anew and `p_value` how often that was as good (both None where no permutation
    can tell); `n` items of `n_stimuli` stimuli.
    """

    value: float
    low: float
    high: float
    n: int
    n_stimuli: int
    chance: float | None = None
    p_value: float | None = None


def identification(table: Float32, shown: Ints) -> Float32:
    """How often a drawn picture is nearer to what was shown than to what else was.

    Parameters
    ----------
    table : ndarray, shape (n_shown, n_items), float32
        How alike each distinct shown picture and each drawn one are; larger is more alike.
    shown : ndarray, shape (n_items,), int
        Which of them each item showed.

    Returns
    -------
    ndarray, shape (n_shown, n_items), float32
        At [u, j]: the weighted share of the other shown pictures that are less alike to drawing j
        than u is, each weighted by how often it was shown. The score of item j is at
        [shown[j], j]; other rows serve the permutation. Where no picture was shown twice this is
        two-way identification as MindEye defines it (a real picture that ties does not lose).

    Raises
    ------
    ConfigurationError
        Fewer than two distinct pictures.
    """
    n_shown = len(table)
    weights = np.bincount(shown, minlength=n_shown).astype(np.float64)
    if n_shown < 2 or (weights > 0).sum() < 2:
        raise ConfigurationError(
            f"{int((weights > 0).sum())} distinct picture was shown, expected two or more: "
            "identification needs something to be told from."
        )
    found = np.empty(table.shape, dtype=np.float32)
    for j in range(table.shape[1]):
        column = table[:, j]
        order = np.argsort(column, kind="stable")
        ahead = np.concatenate([[0.0], np.cumsum(weights[order])])
        # Weight of the pictures strictly below each one: ties do not count.
        below = ahead[np.searchsorted(column[order], column, side="left")]
        found[:, j] = below / np.maximum(weights.sum() - weights, 1e-12)
    return found


def score(
    values: Float64, shown: Ints, *, seed: int = 0, by_stimulus: Float32 | None = None
) -> Score:
    """Mean of one value an item, with its interval.

    Parameters
    ----------
    values : ndarray, shape (n_items,), float64
    shown : ndarray, shape (n_items,), int
        Which stimulus each item showed: items of one are drawn together in the bootstrap, since
        they are not independent.
    by_stimulus : ndarray, shape (n_shown, n_items), float32, optional
        What each item's value would be, had that stimulus been shown: gives the chance.
    """
    low, high = bootstrap(values, shown, seed=seed)
    chance = p_value = None
    if by_stimulus is not None:
        rng = np.random.default_rng([seed, 83])
        items = np.arange(len(values))
        dealt = np.array(
            [by_stimulus[rng.permutation(shown), items].mean() for _ in range(N_PERMUTATIONS)]
        )
        chance = float(dealt.mean())
        p_value = (1 + int((dealt >= values.mean() - 1e-12).sum())) / (1 + N_PERMUTATIONS)
    n_stimuli = len(np.unique(shown))
    return Score(float(values.mean()), low, high, len(values), n_stimuli, chance, p_value)


def bootstrap(values: Float64, shown: Ints, *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean by drawing stimuli with replacement."""
    _, groups = np.unique(shown, return_inverse=True)
    sums = np.bincount(groups, weights=values)
    counts = np.bincount(groups).astype(np.float64)
    if len(sums) < 2:
        return float(values.mean()), float(values.mean())
    rng = np.random.default_rng([seed, 79])
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=N_BOOTSTRAP)
    means = draws @ sums / (draws @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def correlations(real: Float32, drawn: Float32) -> Float32:
    """Pearson's correlation of each real row with each drawn one, (n_real, n_drawn)."""
    return np.asarray(unit_rows(real) @ unit_rows(drawn).T, dtype=np.float32)


def unit_rows(rows: Float32) -> Float32:
    """Rows without their mean, of length 1: their products are correlations."""
    centred = rows - rows.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(size, 1e-12), dtype=np.float32)


def repetition_curve(
    evidence: Float32, shown: Ints, *, seed: int = 0, n_orders: int = 20
) -> list[tuple[int, int, float]]:
    """How often the mean evidence of 1, 2, 4, ... items of one stimulus is right.

    Parameters
    ----------
    evidence : ndarray, shape (n_items, n_candidates), float32
        Scores of the candidates, such as log probabilities.
    shown : ndarray, shape (n_items,), int
        The true candidate of each.

    Returns
    -------
    list of (n, n_groups, accuracy)
        `n_groups` disjoint groups of n items, the mean over `n_orders` random orders.
    """
    rng = np.random.default_rng([seed, 89])
    points = []
    n = 1
    while n <= np.bincount(shown).max():
        right = total = 0
        for _ in range(n_orders if n > 1 else 1):
            for stimulus in np.unique(shown):
                items = rng.permutation(np.flatnonzero(shown == stimulus))
                groups = items[: len(items) // n * n].reshape(-1, n)
                if len(groups):
                    answers = evidence[groups].mean(axis=1).argmax(axis=1)
                    right += int((answers == stimulus).sum())
                    total += len(groups)
        points.append((n, total // (n_orders if n > 1 else 1), right / total))
        n *= 2
    return points
