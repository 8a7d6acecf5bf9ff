"""How good an identification is, at any moment that somebody looks.

Owns the arithmetic of a live count of right answers against chance; pure. Whoever watches a session
looks after every picture and stops when he likes, and labels may come unevenly: so nothing here is
a fixed-sample test against 1 / n.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ConfigurationError

TEST = "anytime-valid permutation test (conformal e-values)"
"""Name of the test behind `Accuracy.p_value`, for files and reports."""
INTERVAL = "95 % confidence sequence (beta-binomial mixture)"
"""Name of the interval `Accuracy.low` to `Accuracy.high`."""
N_FIRST = 5
"""Trials before the first verdict."""
_BETS = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
_LOG_20 = math.log(20.0)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Identification so far: `n_correct` of `n`, `n_top5` among the first five.

    `chance` is what the same answers score when the labels are shuffled among the trials (an
    answer of always the commonest label: its share), 1 / n_candidates at least. `low` and `high`
    are a 95 % confidence sequence, and `p_value` is anytime-valid: both hold however often one
    looks and whenever one stops. `mean_rank` counts from 1.
    """

    n: int
    n_correct: int
    n_top5: int
    chance: float
    low: float
    high: float
    p_value: float
    mean_rank: float
    n_candidates: int

    @property
    def is_few(self) -> bool:
        """Whether there are too few trials for any verdict: p is 1 whatever they were."""
        return self.n < N_FIRST


class PermutationTest:
    """Do the answers know the labels? A p-value that may be looked at after every trial.

    The null hypothesis: whatever the answers are, the order of the labels is random. Then the
    label of trial i is any of the i labels so far with the same probability, m of which equal the
    answer, so that ``1 + bet * ([right] * i / m - 1)`` is a conformal e-value (mean 1), and so is
    the product over the trials (Vovk, Nouretdinov, Gammerman, Conformal e-testing, Pattern
    Recognition 2025, arXiv 2006.02329). That product holds at a number of trials fixed beforehand
    only; a weighted sum over all numbers of trials, with weights that sum to 1, is an e-value as
    well (Vovk & Wang, E-values, Annals of Statistics 2021), and it never falls, so that by Markov's
    inequality 1 / sum is a p-value at any time, whatever made one stop. An answer that is always
    the same never wins anything: m counts its label. (A betting martingale against a known chance
    was rejected: nobody knows the probabilities of somebody else's markers.)

    Bets are averaged over a grid; the weight of n trials is N_FIRST / (n (n + 1)) from N_FIRST on.
    """

    def __init__(self) -> None:
        self._n = 0
        self._labels: Counter[str] = Counter()
        self._log_products = np.zeros(len(_BETS))
        self._log_sum = -math.inf

    def add(self, label: str, answer: str) -> None:
        """Take in one trial."""
        self._n += 1
        self._labels[label] += 1
        n, n_alike = self._n, self._labels[answer]
        if n_alike:  # else it was wrong for certain: nothing is learnt
            score = n / n_alike if answer == label else 0.0
            self._log_products += np.log1p(_BETS * (score - 1.0))
        if n >= N_FIRST:
            e_value = float(np.logaddexp.reduce(self._log_products)) - math.log(len(_BETS))
            weight = math.log(N_FIRST / (n * (n + 1)))
            self._log_sum = float(np.logaddexp(self._log_sum, weight + e_value))

    @property
    def p_value(self) -> float:
        """As of now; never rises."""
        return min(1.0, math.exp(min(0.0, -self._log_sum)))


class Identification:
    """Counts answers as they come, among `n_candidates` labels; cheap at every look."""

    def __init__(self, n_candidates: int) -> None:
        self.n_candidates = n_candidates
        self._labels: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._n_alike = 0
        self._n_correct = self._n_top5 = self._sum_of_ranks = 0
        self._test = PermutationTest()

    def add(self, label: str, answer: str, rank: int) -> None:
        """Take in one trial: the true label, the best candidate, the true label's rank from 1.

        Raises
        ------
        ConfigurationError
            A rank outside the candidates.
        """
        if not 1 <= rank <= self.n_candidates:
            raise ConfigurationError(
                f"rank {rank} cannot be counted, expected 1 to {self.n_candidates}."
            )
        # Pairs of a trial's answer and a trial's label that are alike, its own trial's included.
        self._labels[label] += 1
        self._n_alike += self._answers[label] + self._labels[answer]
        self._answers[answer] += 1
        self._n_correct += rank == 1
        self._n_top5 += rank <= 5
        self._sum_of_ranks += rank
        self._test.add(label, answer)

    @property
    def accuracy(self) -> Accuracy | None:
        """As of now; None before the first trial."""
        n = self._labels.total()
        if not n:
            return None
        low, high = confidence_sequence(self._n_correct, n)
        others = (self._n_alike - self._n_correct) / (n * (n - 1)) if n > 1 else 0.0
        return Accuracy(
            n=n,
            n_correct=self._n_correct,
            n_top5=self._n_top5,
            chance=max(1.0 / self.n_candidates, others),
            low=low,
            high=high,
            p_value=self._test.p_value,
            mean_rank=self._sum_of_ranks / n,
            n_candidates=self.n_candidates,
        )


def shuffled_chance(labels: Sequence[str], answers: Sequence[Collection[str]]) -> float:
    """How often a trial's answers hold the label of another trial; 0 for fewer than two trials."""
    n, counts = len(labels), Counter(labels)
    if n < 2:
        return 0.0
    n_alike = sum(
        sum(counts[answer] for answer in given) - (label in given)
        for label, given in zip(labels, answers, strict=True)
    )
    return n_alike / (n * (n - 1))


def confidence_sequence(n_correct: int, n: int) -> tuple[float, float]:
    """95 % interval of a rate that holds at every n at once.

    The rates at which the mixture of all likelihoods, weighted by Beta(1/2, 1/2), is not 20 times
    the rate's own (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon, Annals of Statistics 2021).
    """
    hits, misses = n_correct + 0.5, n - n_correct + 0.5
    mixture = math.lgamma(hits) + math.lgamma(misses) - math.lgamma(n + 1.0) - math.log(math.pi)

    def is_inside(rate: float) -> bool:
        own = n_correct * math.log(rate) if n_correct else 0.0
        own += (n - n_correct) * math.log1p(-rate) if n_correct < n else 0.0
        return mixture - own < _LOG_20

    best = n_correct / n
    low = 0.0 if not n_correct else _border(is_inside, best, 0.0)
    high = 1.0 if n_correct == n else _border(is_inside, best, 1.0)
    return low, high


def _border(is_inside: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where it ends between a rate within and one beyond, to 1e-9, by halving."""
    while abs(outside - inside) > 1e-9:
        middle = (inside + outside) / 2
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return inside
