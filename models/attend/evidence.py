"""The evidence of a look: covariances under each answer, and how well each of them explains it.

Owns the sums that grow with every sample, and the canonical correlation that they give. Covariances
add up: those of two looks are those of one look that lasted as long as both, which is how looks
that were decided teach the next (`models.attend.learning`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.attend.response import FLICKER, Response, changes, regressors
from pipeline.errors import ShapeError
from pipeline.values import Float64, Uint8

RIDGE = 0.1
"""Added to the regressors' covariance, in parts of its mean diagonal."""
LARGEST = 1 - 1e-9
"""A squared correlation above this is one of too few samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Covariances:
    """Sums of products over the samples of one or several looks.

    Attributes
    ----------
    eeg : ndarray, shape (n_channels, n_channels), float64
    cross : ndarray, shape (..., n_regressors, n_channels), float64
        Regressors with EEG, for each answer.
    model : ndarray, shape (..., n_regressors, n_regressors), float64
        Regressors with themselves, for each answer.
    n_times : int
        Samples in the sums.
    """

    eeg: Float64
    cross: Float64
    model: Float64
    n_times: int

    def answered(self, target: int) -> Covariances:
        """Keep those of one answer."""
        return Covariances(self.eeg, self.cross[target], self.model[target], self.n_times)

    def plus(self, other: Covariances) -> Covariances:
        """Add those of other looks; answers broadcast."""
        return Covariances(
            self.eeg + other.eeg,
            self.cross + other.cross,
            self.model + other.model,
            self.n_times + other.n_times,
        )

    def minus(self, other: Covariances) -> Covariances:
        """Take the part of a look out again."""
        return Covariances(
            self.eeg - other.eeg,
            self.cross - other.cross,
            self.model - other.model,
            self.n_times - other.n_times,
        )


def nothing(n_channels: int, response: Response = FLICKER) -> Covariances:
    """Make the covariances of no look at all."""
    n = response.n_regressors
    return Covariances(
        np.zeros((n_channels, n_channels)), np.zeros((n, n_channels)), np.zeros((n, n)), 0
    )


def explained(sums: Covariances) -> Float64:
    """How much better each answer explains the EEG than none does.

    The log-likelihood ratio of a Gaussian pair, -n/2 log(1 - rho^2), with the largest canonical
    correlation rho between the EEG and the answer's regressors.

    Returns
    -------
    ndarray, shape (...,), float64
        In nats, as if every sample were independent (`models.attend.stopping` knows better).
    """
    whiten = whitener(sums.eeg)
    cross = sums.cross @ whiten
    fitted = np.linalg.solve(ridged(sums.model), cross)
    squared = np.linalg.eigvalsh(np.swapaxes(cross, -1, -2) @ fitted)[..., -1]
    return likelihood(squared, sums.n_times)


def likelihood(squared: Float64, n_times: int) -> Float64:
    """-n/2 log(1 - rho^2) of squared correlations, nats."""
    result: Float64 = -0.5 * n_times * np.log1p(-np.clip(squared, 0.0, LARGEST))
    return result


def whitener(eeg: Float64) -> Float64:
    """Filters (n_channels, n_channels) that make the EEG's covariance the identity."""
    values, vectors = np.linalg.eigh(eeg)
    floor = max(float(values[-1]), 1e-12) * 1e-9
    result: Float64 = vectors / np.sqrt(np.maximum(values, floor))
    return result


def ridged(model: Float64) -> Float64:
    """Regressors' covariance with a ridge, so that it can be inverted after a few samples."""
    diagonal = np.trace(model, axis1=-2, axis2=-1)[..., np.newaxis, np.newaxis]
    n = model.shape[-1]
    result: Float64 = model + ((RIDGE / n) * diagonal + 1e-12) * np.eye(n)
    return result


class Look:
    """One look while it lasts: frames and samples in, covariances under each answer out.

    Parameters
    ----------
    n_targets, n_channels : int
    response : Response
    n_decoys : int
        Of the targets: the last ones, which no picture has.
    """

    def __init__(
        self,
        *,
        n_targets: int,
        n_channels: int,
        response: Response = FLICKER,
        n_decoys: int = 0,
    ) -> None:
        self.n_targets, self.n_channels = n_targets, n_channels
        self._response, self._n_shown = response, n_targets - n_decoys
        self._events = np.empty((0, response.n_events, n_targets))
        self._flips = np.empty(0)
        self._last = np.zeros(n_targets, dtype=np.uint8)
        zero = nothing(n_channels, response)
        self._sums = Covariances(
            zero.eeg,
            np.zeros((n_targets, *zero.cross.shape)),
            np.zeros((n_targets, *zero.model.shape)),
            0,
        )

    @property
    def sums(self) -> Covariances:
        """Covariances so far, one set for each answer."""
        return self._sums

    def show(self, states: Uint8, flips: Float64) -> None:
        """Take frames that came to the screen, before the samples that they may act on.

        Parameters
        ----------
        states : ndarray, shape (n_frames, n_targets), uint8
        flips : ndarray, shape (n_frames,), float64
            s, in order.
        """
        if states.ndim != 2 or states.shape[1] != self.n_targets or len(states) != len(flips):
            raise ShapeError(
                f"Frames have shape {states.shape} with {len(flips)} flips, expected (n_frames, "
                f"{self.n_targets}) and one flip a frame."
            )
        if not len(states):
            return
        events = changes(states, self._last, self._response)
        if self._response.is_compared:
            events -= events[..., : self._n_shown].mean(axis=-1, keepdims=True)
        self._events = np.concatenate([self._events, events])
        self._flips = np.concatenate([self._flips, flips])
        self._last = states[-1].copy()

    def add(self, data: Float64, times: Float64) -> None:
        """Take the next samples, filtered.

        Parameters
        ----------
        data : ndarray, shape (n_channels, n_times), float64, microvolts
        times : ndarray, shape (n_times,), float64
            s, on the clock of the flips.
        """
        if data.shape != (self.n_channels, len(times)):
            raise ShapeError(
                f"Samples have shape {data.shape} with {len(times)} times, expected "
                f"({self.n_channels}, {len(times)})."
            )
        if not len(times):
            return
        keep = self._flips > times[0] - self._response.seconds
        self._events, self._flips = self._events[keep], self._flips[keep]
        acting = self._flips <= times[-1]
        model = regressors(self._events[acting], self._flips[acting], times, self._response)
        mirrored = np.swapaxes(model, -1, -2)
        self._sums = self._sums.plus(
            Covariances(data @ data.T, model @ data.T, model @ mirrored, len(times))
        )
