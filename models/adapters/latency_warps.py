"""Which latencies a person has, learnt without labels: from many epochs, or while a session runs.

Owns the probabilities of the encoder's latency warps. What one epoch says of its warp is the
encoder's to read. NumPy only: importing `scipy.special` would cost every start 0.2 s of CPU.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from pipeline.values import Embedding, Epoch, Float64

PRIOR_EPOCHS = 5.0
"""Epochs that the encoder's own expectation of warps counts for."""


def learn_warps(log_warps: Float64, log_prior: Float64, *, n_steps: int = 20) -> Float64:
    """Learn how likely a person's latency warps are from what single epochs say of them.

    Expectation-maximisation of the mixture's weights, with the prior as `PRIOR_EPOCHS` epochs.

    Parameters
    ----------
    log_warps : ndarray, shape (n, n_warps)
        Log probability of each warp under the prior, an epoch a row.
    log_prior : ndarray, shape (n_warps,)
        That prior, but for a constant.

    Returns
    -------
    ndarray, shape (n_warps,), float64
        To be added to the prior; zero without epochs.
    """
    prior = _log_softmax(log_prior)
    weights = prior
    for _ in range(n_steps):
        each = _log_softmax(log_warps + weights - prior, axis=1)
        counts = np.exp(each).sum(axis=0) + PRIOR_EPOCHS * np.exp(prior)
        weights = np.log(counts / counts.sum())
    return np.asarray(weights - prior)


def _log_softmax(x: Float64, *, axis: int | None = None) -> Float64:
    """As `scipy.special.log_softmax`, to the bit; `x` is finite."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def _softmax(x: Float64) -> Float64:
    """As `scipy.special.softmax`, to the bit."""
    weights = np.exp(x - x.max())
    return np.asarray(weights / weights.sum())


@runtime_checkable
class WarpingEncoder(Protocol):
    """An encoder that reads epochs under several warps, and can be told which are likely."""

    @property
    def log_warp_prior(self) -> Float64:
        """Log probability of each warp beforehand, but for a constant."""
        ...

    def log_warps(self, epoch: Epoch) -> Float64:
        """Log probability of each warp given one epoch."""
        ...

    def encode(self, epoch: Epoch, *, warp_bias: Float64 | None = None) -> Embedding:
        """Embed one epoch, with `warp_bias` added to the warps' log probabilities."""
        ...


class OnlineWarps:
    """How likely each warp is for this person, from the epochs so far.

    Expectation-maximisation one epoch at a time: each counts towards the warps in proportion to
    what it and the epochs before it say, on top of the prior as `PRIOR_EPOCHS` epochs.
    """

    def __init__(self, log_prior: Float64) -> None:
        self._log_prior = _log_softmax(log_prior)
        self._counts = PRIOR_EPOCHS * np.exp(self._log_prior)

    @property
    def bias(self) -> Float64:
        """What is to be added to the encoder's own expectation, (n_warps,) float64."""
        return np.asarray(np.log(self._counts / self._counts.sum()) - self._log_prior)

    def observe(self, log_warps: Float64) -> None:
        """Take in what the encoder, without bias, reads of one epoch's warp."""
        self._counts += _softmax(log_warps + self.bias)
