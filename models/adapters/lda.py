"""Linear discriminant analysis in space and time, for few epochs.

Owns the closed form and nothing else: no epochs, no files, no choice of settings. Three steps:

1. spatial filters that bring out what differs between classes (the generalised eigenvectors of
   xDAWN, Rivet et al. 2009, with the differences between evoked responses as signal);
2. the noise covariance over filters and time, mostly as that of a stationary process: one block a
   lag, tapered (block-Toeplitz LDA, Sosulski and Tangermann 2022), which has about a thousand
   numbers where the plain one has eighteen thousand (5 filters, 38 bins);
3. the discriminant, in which every filter's offset counts as noise without bound.

Shrinkage towards the identity alone (Ledoit and Wolf) was weaker by 4 to 10 points in
cross-validation on the recording in `docs/real_brain.md`: the noise of EEG is far from white, but
close to stationary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from models.adapters.errors import AdapterError
from pipeline.values import Float64

STATIONARY = 0.7
"""Part of the noise covariance that is the stationary model; the rest is the plain one."""
RIDGE = 0.02
"""Part of the noise covariance's mean variance that is white."""
SPATIAL_RIDGE = 0.01
"""The same for the channels' covariance in the spatial filters."""
OFFSET_VARIANCE = 100.0
"""Variance of a filter's unknown offset against its mean variance: practically without bound."""


@dataclass(frozen=True, slots=True, eq=False)
class SpatioTemporalLda:
    """A fitted discriminant.

    Attributes
    ----------
    filters : ndarray, shape (n_filters, n_channels), float64
    coef : ndarray, shape (n_classes, n_bins, n_filters), float64
    intercept : ndarray, shape (n_classes,), float64
    temperature : float
        What the logits are divided by, so that the probabilities are honest on new epochs.
    """

    filters: Float64
    coef: Float64
    intercept: Float64
    temperature: float = 1.0

    @classmethod
    def fit(
        cls, features: Float64, targets: NDArray[np.intp], *, n_classes: int, n_filters: int
    ) -> SpatioTemporalLda:
        """Fit in closed form.

        Parameters
        ----------
        features : ndarray, shape (n_epochs, n_channels, n_bins), float64, microvolts
            Each row with mean zero.
        targets : ndarray, shape (n_epochs,), int
            0 to `n_classes` - 1; classes count as equally probable.

        Raises
        ------
        AdapterError
            A class has fewer than two epochs, or a value is not finite.
        """
        return cls.fit_several(features, targets, n_classes=n_classes, n_filters=[n_filters])[0]

    @classmethod
    def fit_several(
        cls,
        features: Float64,
        targets: NDArray[np.intp],
        *,
        n_classes: int,
        n_filters: Sequence[int],
    ) -> list[SpatioTemporalLda]:
        """Fit with several counts of filters, which are found once; see `fit`."""
        _check(features, targets, n_classes)
        filters = spatial_filters(features, targets, n_classes, max(n_filters))
        return [cls._behind(filters[:n], features, targets, n_classes) for n in n_filters]

    @classmethod
    def _behind(
        cls, filters: Float64, features: Float64, targets: NDArray[np.intp], n_classes: int
    ) -> SpatioTemporalLda:
        filters = np.ascontiguousarray(filters)
        sources = _apply(filters, features)
        means = _class_means(sources, targets, n_classes)
        noise = noise_covariance(sources - means[targets])
        flat = means.reshape(n_classes, -1)
        coef = linalg.solve(noise, flat.T, assume_a="pos").T
        return cls(
            filters=filters,
            coef=coef.reshape(means.shape),
            intercept=-0.5 * (flat * coef).sum(axis=1),
        )

    def logits(self, features: Float64) -> Float64:
        """Return log-likelihoods but for a constant: (n_epochs, n_channels, n_bins) to (n, k)."""
        sources = _apply(self.filters, features)
        flat = self.coef.reshape(len(self.coef), -1)
        result: Float64 = sources.reshape(len(sources), -1) @ flat.T + self.intercept
        return result / self.temperature

    def predict_proba(self, features: Float64) -> Float64:
        """Class probabilities, (n_epochs, n_classes), rows sum to one."""
        return softmax(self.logits(features))


def softmax(logits: Float64) -> Float64:
    """Softmax over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def spatial_filters(
    features: Float64, targets: NDArray[np.intp], n_classes: int, n_filters: int
) -> Float64:
    """Find the channel combinations with the largest difference between classes against noise.

    Returns
    -------
    ndarray, shape (min(n_filters, n_channels), n_channels), float64
        Unit noise variance each, best first.
    """
    means = _class_means(features, targets, n_classes)
    differences = means - means.mean(axis=0)
    residuals = features - means[targets]
    noise = _shrunk(_gram(residuals) / residuals[:, 0].size, SPATIAL_RIDGE)
    _, vectors = linalg.eigh(_gram(differences), noise)
    return np.ascontiguousarray(vectors[:, ::-1][:, :n_filters].T)


def noise_covariance(residuals: Float64) -> Float64:
    """Covariance of what the class means leave over.

    Parameters
    ----------
    residuals : ndarray, shape (n_epochs, n_bins, n_filters), float64

    Returns
    -------
    ndarray, shape (n_bins * n_filters, n_bins * n_filters), float64
        Positive definite.
    """
    _, n_bins, n_filters = residuals.shape
    covariance = near_stationary_covariance(residuals)
    offset = OFFSET_VARIANCE * np.trace(covariance) / len(covariance)
    constant = np.kron(np.ones((n_bins, n_bins)), np.eye(n_filters))
    return np.asarray(covariance + offset * constant)


def near_stationary_covariance(residuals: Float64) -> Float64:
    """Covariance over time and space, mostly that of a stationary process.

    Parameters
    ----------
    residuals : ndarray, shape (n_epochs, n_bins, n_filters), float64

    Returns
    -------
    ndarray, shape (n_bins * n_filters, n_bins * n_filters), float64
        Positive definite.
    """
    n_epochs, n_bins, n_filters = residuals.shape
    flat = residuals.reshape(n_epochs, -1)
    plain = flat.T @ flat / n_epochs
    blocks = plain.reshape(n_bins, n_filters, n_bins, n_filters)
    stationary = np.empty_like(blocks)
    for lag in range(n_bins):
        first = np.arange(n_bins - lag)
        # The linear taper (what a sum over n_bins instead of a mean does) keeps it positive.
        block = blocks[first, :, first + lag, :].sum(axis=0) / n_bins
        stationary[first, :, first + lag, :] = block
        stationary[first + lag, :, first, :] = block.T
    mixed = STATIONARY * stationary.reshape(plain.shape) + (1 - STATIONARY) * plain
    return _shrunk(mixed, RIDGE)


def _shrunk(covariance: Float64, part: float) -> Float64:
    size = len(covariance)
    white = np.trace(covariance) / size * np.eye(size)
    return np.asarray((1 - part) * covariance + part * white)


def _gram(rows: Float64) -> Float64:
    """Sum over epochs and time of the products of channels: (n, n_channels, t) to (c, c)."""
    flat = rows.transpose(1, 0, 2).reshape(rows.shape[1], -1)
    return np.asarray(flat @ flat.T)


def _apply(filters: Float64, features: Float64) -> Float64:
    """Give (n_epochs, n_bins, n_filters): time first, as the covariance's blocks are."""
    return np.asarray((filters @ features).transpose(0, 2, 1))


def _class_means(sources: Float64, targets: NDArray[np.intp], n_classes: int) -> Float64:
    return np.stack([sources[targets == k].mean(axis=0) for k in range(n_classes)])


def _check(features: Float64, targets: NDArray[np.intp], n_classes: int) -> None:
    if features.ndim != 3 or len(features) != len(targets):
        raise AdapterError(
            f"features of shape {features.shape} and {len(targets)} targets were given, expected "
            "(n_epochs, n_channels, n_bins) and one target an epoch."
        )
    if not np.isfinite(features).all():
        raise AdapterError(
            "features hold NaN or infinity, expected finite microvolts: reject them."
        )
    counts = np.bincount(targets, minlength=n_classes)
    if len(counts) != n_classes or counts.min() < 2:
        raise AdapterError(
            f"the classes have {counts.tolist()} epochs, expected at least two in each of "
            f"{n_classes}: record longer."
        )
