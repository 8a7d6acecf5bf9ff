"""Multivariate noise normalisation (Guggenmos et al., NeuroImage 2018) as THINGS-EEG2 has it.

Owns covariances, their inverse square root and its application: one matrix a session, from
training epochs only, for training and test alike. The same matrix serves live epochs. Arrays are
(n_conditions, n_repetitions, n_channels, n_times), float64.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from models.things_eeg2.errors import ThingsError

Float64 = NDArray[np.float64]
Mode = Literal["epochs", "time"]


def shrunk_covariances(samples: Float64) -> Float64:
    """Covariances with automatic shrinkage (Ledoit & Wolf, 2004) on standardised samples.

    Parameters
    ----------
    samples : ndarray, shape (..., n_samples, n_channels)

    Returns
    -------
    ndarray, shape (..., n_channels, n_channels)
        In the units of the samples. What MNE's `shrinkage="auto"` and scikit-learn's discriminant
        analysis compute, for a whole stack at once.
    """
    n, p = samples.shape[-2:]
    scale = samples.std(axis=-2, keepdims=True)
    scale = np.where(scale == 0, 1.0, scale)
    x = (samples - samples.mean(axis=-2, keepdims=True)) / scale
    cov = np.swapaxes(x, -1, -2) @ x / n
    mu = np.trace(cov, axis1=-2, axis2=-1) / p
    squared = (cov**2).sum(axis=(-2, -1))
    fourth = ((x**2).sum(axis=-1) ** 2).sum(axis=-1) / n
    spread = (squared - p * mu**2) / p
    noise = np.minimum((fourth - squared) / (n * p), spread)
    share = np.divide(noise, spread, out=np.zeros_like(noise), where=spread > 0)
    shrunk = (1 - share)[..., None, None] * cov + (share * mu)[..., None, None] * np.eye(p)
    return np.asarray(shrunk * np.swapaxes(scale, -1, -2) * scale)


def noise_covariance(train: Float64, *, mode: Mode = "epochs") -> Float64:
    """Average noise covariance of a session's training epochs, (n_channels, n_channels).

    `epochs`: over the time points of each repetition, as used; `time`: over the repetitions at
    each time point.

    Raises
    ------
    ThingsError
        Another rank than four, too few samples for a covariance, or a flat channel.
    """
    _check(train)
    flat = np.flatnonzero(np.ptp(train, axis=(0, 1, 3)) == 0)
    if len(flat):
        raise ThingsError(
            f"channel {flat[0]} is flat in every training epoch, expected a signal: "
            "drop flat channels before whitening."
        )
    if mode == "time" and train.shape[1] < 2:
        raise ThingsError(
            f"mode 'time' needs two repetitions or more, got {train.shape[1]}: use 'epochs'."
        )
    total = np.zeros((train.shape[2], train.shape[2]))
    for condition in train:  # one at a time: 16 540 covariances at once would fill the memory
        axes = (0, 2, 1) if mode == "epochs" else (2, 0, 1)
        total += shrunk_covariances(condition.transpose(axes)).mean(axis=0)
    return total / len(train)


def whitening_matrix(covariance: Float64) -> Float64:
    """Inverse square root of a covariance.

    Raises
    ------
    ThingsError
        The covariance has not full rank.
    """
    matrix = np.asarray(linalg.fractional_matrix_power(covariance, -0.5))
    if np.iscomplexobj(matrix) or not np.isfinite(matrix).all():
        raise ThingsError(
            "the noise covariance has no inverse square root, expected full rank: "
            "drop channels that are flat or sums of others."
        )
    return matrix.astype(np.float64)


def whiten(data: Float64, matrix: Float64) -> Float64:
    """Apply a whitening matrix over the channels of (..., n_channels, n_times)."""
    return np.asarray(np.swapaxes(np.swapaxes(data, -1, -2) @ matrix, -1, -2))


def _check(data: Float64) -> None:
    if data.ndim != 4:
        raise ThingsError(
            f"epochs have shape {data.shape}, expected (n_conditions, n_repetitions, n_channels, "
            "n_times): sort them by condition first."
        )
