"""What a table of decoding accuracy needs: areas, intervals, counts.

Owns small statistics on arrays; knows nothing of EEG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.values import Float64


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def proportion(right: NDArray[np.bool_]) -> Estimate:
    """Part of trials that are right, with Wilson's interval."""
    found = stats.binomtest(int(right.sum()), len(right))
    interval = found.proportion_ci(method="wilson")
    return Estimate(float(right.mean()), float(interval.low), float(interval.high))


def area(scores: Float64, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative."""
    ranks = stats.rankdata(scores)
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    total = float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2
    return total / (n_positive * n_negative)


def area_estimate(
    scores: Float64, positive: NDArray[np.bool_], *, n_draws: int = 2000, seed: int = 0
) -> Estimate:
    """Area with the percentile interval of a bootstrap over trials."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(n_draws):
        rows = rng.integers(0, len(scores), len(scores))
        drawn.append(area(scores[rows], positive[rows]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(area(scores, positive), float(low), float(high))


def confusion(truth: NDArray[np.intp], guess: NDArray[np.intp], n_classes: int) -> NDArray[np.intp]:
    """Counts, (n_classes, n_classes): rows are the truth."""
    table = np.zeros((n_classes, n_classes), dtype=np.intp)
    np.add.at(table, (truth, guess), 1)
    return table


def percent(estimate: Estimate) -> str:
    """`70.1 (66.0-74.0)`."""
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.1f}-{100 * estimate.high:.1f})"


def decimal(estimate: Estimate) -> str:
    """`.941 (.921-.960)`."""
    parts = [f"{x:.3f}".removeprefix("0") for x in (estimate.value, estimate.low, estimate.high)]
    return f"{parts[0]} ({parts[1]}-{parts[2]})"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table for a document."""
    lines = [" | ".join(headings), " | ".join("---" for _ in headings)]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"
