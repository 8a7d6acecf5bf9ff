"""How good an identification is: counts against chance, with an interval.

Owns the binomial arithmetic; pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from pipeline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class IdentificationResult:
    """Identification among `n_candidates`: `low` and `high` are Wilson's 95 % interval.

    `p_value` is the exact one-sided binomial probability of at least `n_correct` of `n` at
    `chance`; `mean_rank` counts from 1 and is (n_candidates + 1) / 2 at chance.
    """

    n: int
    n_correct: int
    n_top5: int
    n_candidates: int
    chance: float
    low: float
    high: float
    p_value: float
    mean_rank: float


def accuracy(ranks: Sequence[int], n_candidates: int) -> IdentificationResult:
    """Count how often the true label came first.

    Parameters
    ----------
    ranks : sequence of int
        Rank of the true label by trial, 1 to `n_candidates`; at least one.
    n_candidates : int
        Labels it was ranked among, at least 2.

    Raises
    ------
    ConfigurationError
        No rank, or one outside the candidates.
    """
    array = np.asarray(ranks, dtype=np.int64)
    if not len(array) or n_candidates < 2 or array.min() < 1 or array.max() > n_candidates:
        raise ConfigurationError(
            f"ranks {list(ranks)[:5]} among {n_candidates} candidates cannot be counted, expected "
            "at least one rank, each from 1 to the number of candidates (2 or more)."
        )
    n, n_correct = len(array), int((array == 1).sum())
    test = binomtest(n_correct, n, 1.0 / n_candidates, alternative="greater")
    interval = binomtest(n_correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    return IdentificationResult(
        n=n,
        n_correct=n_correct,
        n_top5=int((array <= 5).sum()),
        n_candidates=n_candidates,
        chance=1.0 / n_candidates,
        low=float(interval.low),
        high=float(interval.high),
        p_value=float(test.pvalue),
        mean_rank=float(array.mean()),
    )
