"""Euclidean alignment: bring a person's channel covariance to the one a decoder expects.

Owns covariances, the aligning matrix (He and Wu 2020: multiply by the inverse root of the mean
covariance, here followed by the root of a reference), the distance that tells drift, and the state
of online alignment. NumPy only; no labels, no clock: a function of the epochs in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ShapeError
from pipeline.values import Float32, Float64, read_only

SHRINKAGE = 0.01
"""Part of a covariance that is white: keeps roots finite when a reference took one rank away."""
LOUD = 4.0
"""An epoch counts with at most this many times the running power, so that one artifact cannot
turn the alignment."""


def mean_covariance(epochs: Float32 | Float64) -> Float64:
    """Average the epochs' covariances over time.

    Parameters
    ----------
    epochs : ndarray, shape (n_epochs, n_channels, n_times), microvolts

    Returns
    -------
    ndarray, shape (n_channels, n_channels), float64, microvolts squared
        Shrunk a little towards white, positive definite.

    Raises
    ------
    ShapeError
        No epochs, another shape, or values that are not finite.
    """
    if epochs.ndim != 3 or not epochs.size:
        raise ShapeError(
            f"epochs have shape {epochs.shape}, expected (n_epochs, n_channels, n_times) with at "
            "least one epoch."
        )
    data = epochs.astype(np.float64)
    if not np.isfinite(data).all():
        raise ShapeError("epochs hold NaN or infinity, expected finite microvolts: reject them.")
    data = data - data.mean(axis=2, keepdims=True)
    power = (data**2).mean(axis=(1, 2))
    # Loud epochs are turned down to LOUD times the usual power (artifacts; see LOUD).
    gain = np.minimum(1.0, LOUD * np.median(power) / np.maximum(power, 1e-30))
    total = np.einsum("nct,ndt,n->cd", data, data, gain, optimize=True)
    return shrunk(total / (len(data) * data.shape[2]))


def shrunk(covariance: Float64, part: float = SHRINKAGE) -> Float64:
    """Mix a covariance with the white one of the same power."""
    size = len(covariance)
    level = max(float(np.trace(covariance)) / size, 1e-12)
    return np.asarray((1 - part) * covariance + part * level * np.eye(size))


def matrix_power(covariance: Float64, exponent: float) -> Float64:
    """Raise a positive definite symmetric matrix to a power."""
    values, vectors = np.linalg.eigh(covariance)
    safe = np.maximum(values, 1e-12 * values[-1])
    return np.asarray((vectors * safe**exponent) @ vectors.T)


def alignment_matrix(covariance: Float64, reference: Float64 | None = None) -> Float64:
    """Return what turns data of `covariance` into data of `reference` (white if not given)."""
    whitening = matrix_power(covariance, -0.5)
    if reference is None:
        return whitening
    return np.asarray(matrix_power(reference, 0.5) @ whitening)


def covariance_distance(first: Float64, second: Float64) -> float:
    """Affine-invariant distance of two covariances, per channel.

    The root mean square of the logarithms of the generalised eigenvalues: 0 for equal ones, about
    0.7 when every direction's power doubled, the same in any reference or unit.
    """
    whitening = matrix_power(first, -0.5)
    values = np.linalg.eigvalsh(whitening @ second @ whitening)
    return float(np.sqrt((np.log(np.maximum(values, 1e-12)) ** 2).mean()))


@dataclass(frozen=True, slots=True, eq=False)
class EuclideanAlignment:
    """A fixed alignment: `matrix` (n_channels, n_channels) float64, from offline epochs."""

    matrix: Float64

    @classmethod
    def fit(cls, epochs: Float32 | Float64, reference: Float64 | None = None) -> EuclideanAlignment:
        """Learn it from unlabelled epochs (n_epochs, n_channels, n_times), microvolts."""
        return cls(read_only(alignment_matrix(mean_covariance(epochs), reference)))

    def apply(self, data: Float32 | Float64) -> Float64:
        """Align data of shape (..., n_channels, n_times)."""
        return np.asarray(self.matrix @ data)


class OnlineAlignment:
    """Alignment that follows a session, epoch by epoch; starts frozen.

    The running covariance always follows (so that `drift` can be shown); what is applied follows
    only while not frozen.

    Parameters
    ----------
    reference : ndarray, shape (n_channels, n_channels)
        Covariance that the decoder expects: of the calibration, or of its training pool.
    start : ndarray, optional
        The running covariance before the first epoch; `reference` if not given, and then nothing
        is changed at first.
    start_count : int
        How many epochs `start` counts as.
    horizon : int
        Epochs after which an old one has lost most of its weight.
    """

    def __init__(
        self,
        reference: Float64,
        *,
        start: Float64 | None = None,
        start_count: int = 30,
        horizon: int = 200,
    ) -> None:
        self._reference = shrunk(reference, 0.0)
        self._start = self._reference if start is None else start
        self._start_count = start_count
        self._horizon = horizon
        self._frozen = True
        self._set_start()

    def _set_start(self) -> None:
        self._running = self._start.copy()
        self._count = self._start_count
        self._n_seen = 0
        self._matrix = self._matrix_now()

    def _matrix_now(self) -> Float64:
        if self._running is self._reference or np.array_equal(self._running, self._reference):
            return np.eye(len(self._reference))
        return alignment_matrix(self._running, self._reference)

    @property
    def matrix(self) -> Float64:
        """What is applied to an epoch's channels now, (n_channels, n_channels)."""
        return self._matrix

    @property
    def is_frozen(self) -> bool:
        """Whether what is applied stays as it is."""
        return self._frozen

    @property
    def n_seen(self) -> int:
        """Epochs since the start or the last reset."""
        return self._n_seen

    @property
    def drift(self) -> float:
        """How far the running covariance lies from the reference; see `covariance_distance`."""
        return covariance_distance(self._reference, self._running)

    def observe(self, data: Float32 | Float64) -> None:
        """Take in one epoch (n_channels, n_times), microvolts; one not finite does not count."""
        if data.shape[0] != len(self._reference):
            raise ShapeError(
                f"the epoch has {data.shape[0]} channels, the alignment {len(self._reference)}: "
                "align with the channels it was made for."
            )
        if not np.isfinite(data).all():
            return
        new = mean_covariance(data[np.newaxis].astype(np.float64))
        loudness = float(np.trace(new)) / max(float(np.trace(self._running)), 1e-12)
        new = new * min(1.0, LOUD / max(loudness, 1e-12))
        self._count = min(self._count + 1, self._horizon)
        self._running = self._running + (new - self._running) / self._count
        self._n_seen += 1
        if not self._frozen:
            self._matrix = self._matrix_now()

    def freeze(self) -> None:
        """Keep what is applied as it is."""
        self._frozen = True

    def resume(self) -> None:
        """Let what is applied follow the session, from now on."""
        self._frozen = False
        self._matrix = self._matrix_now()

    def reset(self) -> None:
        """Forget the session: running covariance and what is applied are as at the start."""
        self._set_start()
