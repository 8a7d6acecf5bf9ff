"""When a look has said enough: the probability of each answer, and two rules to stop by.

Owns the step from evidence to probability. Samples of EEG are not independent, so their count
overstates what was learnt; `INDEPENDENT_HZ` is what is left of it, set once so that stated
probabilities came true on three people (docs/attend.md has the figures).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from pipeline.values import Float64

INDEPENDENT_HZ = 30.0
"""Independent samples of EEG a second."""
Rule = Literal["bayes", "margin"]


@dataclass(frozen=True, slots=True)
class Stopping:
    """How sure is sure enough.

    Attributes
    ----------
    error_rate : float
        Part of the decisions that may be wrong.
    first, limit : float
        No decision before, and none after, s from the look's onset.
    rule : str
        `bayes`: the probability of the best answer over all histories is 1 - `error_rate`;
        `margin`: within the believed history the best is ahead of the second by those odds.
    """

    error_rate: float = 0.05
    first: float = 1.0
    limit: float = 10.5
    rule: Rule = "bayes"

    def is_enough(self, scores: Float64, *, rate: float) -> bool:
        """Whether evidence (n_histories, n_targets) of `rate` samples a second decides."""
        if self.rule == "bayes":
            return bool(posterior(scores, rate=rate).max() >= 1 - self.error_rate)
        best = scores[np.unravel_index(scores.argmax(), scores.shape)[0]]
        second, first = np.sort(best)[-2:]
        odds = math.log((1 - self.error_rate) / self.error_rate)
        return bool((first - second) * INDEPENDENT_HZ / rate >= odds)


def posterior(scores: Float64, *, rate: float) -> Float64:
    """Probability of each answer, over all histories.

    Parameters
    ----------
    scores : ndarray, shape (n_histories, n_targets), float64, nats
        See `models.attend.learning.Learning.score`.
    rate : float
        Samples a second that the scores counted, Hz.

    Returns
    -------
    ndarray, shape (n_targets,), float64
    """
    joint = logsumexp(scores * (INDEPENDENT_HZ / rate), axis=0)
    result: Float64 = np.exp(joint - logsumexp(joint))
    return result


def bits(n_targets: int, accuracy: float) -> float:
    """Bits of one decision (Wolpaw): of `n_targets`, right with this probability."""
    if n_targets < 2 or accuracy <= 1 / n_targets:
        return 0.0
    if accuracy >= 1:
        return math.log2(n_targets)
    wrong = 1 - accuracy
    return (
        math.log2(n_targets)
        + accuracy * math.log2(accuracy)
        + wrong * math.log2(wrong / (n_targets - 1))
    )
