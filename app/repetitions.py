"""Evidence summed over repetitions of one stimulus: which epochs belong together, and their sums.

Owns the groups. They are disjoint: for each size an epoch is part of one group and of no other, so
that every group is a trial of its own, and counts, intervals and p-values of groups mean what those
of single epochs mean. (Sums over all repetitions so far were rejected: they are one another's
copies.) Epochs belong together that came with the same marker label. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.port import SummedRanking
from app.ranking import Ranking
from pipeline.values import Float64

SIZES = (2, 4, 8)
"""Repetitions in a group; each size is twice the one before."""
MAX_CANDIDATES = 1000
"""Among more nothing is summed: what waits for its group would fill the memory."""
SMALLEST = 1e-9
"""A probability counts as this much at least: one epoch alone forbids nothing."""


class Repetitions:
    """Sums of a session so far; a group of 4 is made of two groups of 2, and so on."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._open: dict[tuple[str, str, int], Float64] = {}

    def take(
        self, label: str, ranking: Ranking, *, prior: Mapping[str, float], n_top: int
    ) -> tuple[SummedRanking, ...]:
        """Take in an epoch whose true candidate is known; return the groups that it completes.

        Parameters
        ----------
        label : str
            The marker's; with another truth it is another stimulus.
        ranking : Ranking
            All candidates with their probabilities; among other candidates than before, all groups
            begin anew.
        prior : mapping of str to float
            Of the candidates, held by each epoch's probabilities, so that a sum counts it once;
            empty: all alike.
        n_top : int
            Candidates to keep of each sum.
        """
        names = tuple(sorted(name for name, _ in ranking.top))
        if ranking.rank is None or len(names) > MAX_CANDIDATES:
            return ()
        if names != self._names:
            self._names, self._open = names, {}
        given = dict(ranking.top)
        before = np.log([prior.get(name, 1.0) for name in names]) if prior else np.zeros(len(names))
        total = np.log(np.maximum([given[name] for name in names], SMALLEST)) - before
        found = []
        for size in SIZES:
            half = self._open.pop((label, ranking.truth, size), None)
            if half is None:
                self._open[label, ranking.truth, size] = total
                break
            total = half + total
            found.append(_ranked(size, names, total + before, ranking.truth, n_top))
        return tuple(found)


def _ranked(
    size: int, names: tuple[str, ...], evidence: Float64, truth: str, n_top: int
) -> SummedRanking:
    weights = np.exp(evidence - evidence.max())
    order = np.argsort(-evidence, kind="stable")
    top = [(names[row], float(weights[row] / weights.sum())) for row in order]
    rank = 1 + [name for name, _ in top].index(truth)
    return SummedRanking(size, tuple(top[:n_top]), rank, len(top))
