"""When a look has said enough: the probability of each answer, and two rules to stop by.

Owns the step from evidence to probability. Samples of EEG are not independent, so their count
overstates what was learnt; what is left of it is stated for each kind of
response (`models.attend.response`), set once so that stated probabilities came true on three people
(docs/attend.md has the figures).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.values import Float64

Rule = Literal["bayes", "margin"]
NONE = 0.5
"""Probability that none of the pictures is attended to, before a look says anything."""
STANDING_OUT = 4.5
"""Standard deviations by which a code has to stand out from the others to be as probably attended
to as not, where the person's response is not known yet; two more make it 50 times as probable."""


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
        `bayes`: the probability of the best answer is 1 - `error_rate`; `margin`: the best is
        ahead of the second by those odds, and rather true than not.
    """

    error_rate: float = 0.05
    first: float = 1.0
    limit: float = 10.5
    rule: Rule = "bayes"

    def is_enough(self, probable: Float64) -> bool:
        """Whether the probabilities (n_targets,) decide."""
        second, first = np.sort(probable)[-2:]
        if self.rule == "bayes":
            return bool(first >= 1 - self.error_rate)
        return bool(first >= 0.5 and second <= self.error_rate / (1 - self.error_rate) * first)


def logsumexp(a: Float64) -> Float64:
    """Return log(sum(exp(a))) over the first axis of finite numbers.

    SciPy's arithmetic, to the bit, without what it does for other kinds of arrays: a step calls it
    twice, and it took a tenth of the step.
    """
    highest = a.max(axis=0, keepdims=True)
    is_highest = a == highest
    count = is_highest.sum(axis=0, keepdims=True, dtype=a.dtype)
    rest = np.exp(np.where(is_highest, -np.inf, a) - highest).sum(axis=0, keepdims=True)
    found: Float64 = np.squeeze(np.log1p(rest / count) + np.log(count) + highest, axis=0)
    return found


def posterior(scores: Float64, *, independent: float) -> Float64:
    """Probability of each answer, over all histories, if one of them is right.

    Parameters
    ----------
    scores : ndarray, shape (n_histories, n_targets), float64, nats
        See `models.attend.learning.Learning.score`.
    independent : float
        Part of the samples that the scores counted which is independent.

    Returns
    -------
    ndarray, shape (n_targets,), float64
    """
    joint = logsumexp(scores * independent)
    result: Float64 = np.exp(joint - logsumexp(joint))
    return result


def posterior_or_none(scores: Float64, *, independent: float) -> Float64:
    """Probability of each answer where none may be right; they sum to less than 1.

    Parameters
    ----------
    scores : ndarray, shape (n_targets,), float64, nats
        Likelihood ratios to none: `models.attend.template.Template.score`.
    independent : float
        As in `posterior`.
    """
    joint = scores * independent + math.log((1 - NONE) / len(scores))
    result: Float64 = np.exp(joint - logsumexp(np.append(joint, math.log(NONE))))
    return result


def standing_out(scores: Float64, n_targets: int) -> float:
    """Probability that the best answer is more than the best of so many wrong ones.

    A strong response resembles every code a little, so that wrong ones are ahead of each other by
    ever more nats; but they scatter as much. Decoys, which no picture had, are among them.

    Parameters
    ----------
    scores : ndarray, shape (n_targets + n_decoys,), float64, nats
    n_targets : int
    """
    ahead = deviations(scores, int(scores[:n_targets].argmax())) - STANDING_OUT
    return 1 / (1 + math.exp(-2 * min(max(ahead, -50.0), 50.0)))


def deviations(scores: Float64, answer: int) -> float:
    """Count the others' standard deviations between one answer's score and their mean."""
    others = np.delete(scores, answer)
    spread = max(float(others.std()), 1e-9)
    return (float(scores[answer]) - float(others.mean())) / spread


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
