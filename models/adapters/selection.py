"""What a person's own calibration says about settings and about chance, before any test.

Owns cross-validation over contiguous blocks of time: neighbouring epochs share their drifts, so a
random split would flatter. Chooses the count of spatial filters and the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from models.adapters.errors import AdapterError
from models.adapters.lda import SpatioTemporalLda, softmax
from pipeline.values import Float64

N_FILTERS = (3, 4, 5, 6, 8)
"""Counts of spatial filters to choose from."""
N_BLOCKS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """Out-of-block logits of the chosen setting, and what they are worth.

    `logits` (n_epochs, n_classes) before `temperature`; `nll` in nats an epoch, tempered.
    """

    n_filters: int
    temperature: float
    nll: float
    logits: Float64
    targets: NDArray[np.intp]

    @property
    def accuracy(self) -> float:
        """Part of the epochs whose most probable class was right."""
        return float((self.logits.argmax(axis=1) == self.targets).mean())

    @property
    def p_value(self) -> float:
        """Probability of at least that many right by guessing (one-sided binomial)."""
        n_right = int((self.logits.argmax(axis=1) == self.targets).sum())
        chance = 1.0 / self.logits.shape[1]
        result = stats.binomtest(n_right, len(self.targets), chance, alternative="greater")
        return float(result.pvalue)


def validate(
    features: Float64,
    targets: NDArray[np.intp],
    *,
    n_classes: int,
    n_filters: Sequence[int] = N_FILTERS,
    n_blocks: int = N_BLOCKS,
) -> Validation:
    """Choose by the likelihood of epochs from blocks of time that were left out.

    Parameters
    ----------
    features : ndarray, shape (n_epochs, n_channels, n_bins), float64, microvolts
        In order of time.
    targets : ndarray, shape (n_epochs,), int
    """
    if len(targets) < 2 * n_blocks:
        raise AdapterError(
            f"there are {len(targets)} epochs, expected at least {2 * n_blocks}: record longer."
        )
    choices = sorted({min(count, features.shape[1]) for count in n_filters})
    logits = np.empty((len(choices), len(targets), n_classes))
    for block in np.array_split(np.arange(len(targets)), n_blocks):
        rest = np.setdiff1d(np.arange(len(targets)), block)
        fitted = SpatioTemporalLda.fit_several(
            features[rest], targets[rest], n_classes=n_classes, n_filters=choices
        )
        for found, each in zip(logits, fitted, strict=True):
            found[block] = each.logits(features[block])
    tried = [_validation(n, each, targets) for n, each in zip(choices, logits, strict=True)]
    return min(tried, key=lambda each: each.nll)


def _validation(n_filters: int, logits: Float64, targets: NDArray[np.intp]) -> Validation:
    temperature = fit_temperature(logits, targets)
    nll = negative_log_likelihood(logits / temperature, targets)
    return Validation(n_filters, temperature, nll, logits, targets)


def negative_log_likelihood(logits: Float64, targets: NDArray[np.intp]) -> float:
    """Mean over epochs, nats."""
    probability = softmax(logits)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(probability, 1e-300)).mean())


def fit_temperature(logits: Float64, targets: NDArray[np.intp]) -> float:
    """Temperature with the largest likelihood (Guo et al. 2017), 0.05 to 100."""
    result = optimize.minimize_scalar(
        lambda log_t: negative_log_likelihood(logits / np.exp(log_t), targets),
        bounds=(np.log(0.05), np.log(100.0)),
        method="bounded",
    )
    return float(np.exp(result.x))
