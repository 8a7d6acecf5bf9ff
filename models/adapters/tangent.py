"""xDAWN filters and covariances in a tangent space: what an event's waves look like together.

Owns the features: each class's spatial filters (xDAWN, Rivet et al. 2009), the covariance of an
epoch under them beside the classes' mean waves (Barachant and Congedo 2014), and its logarithm at
the geometric mean of the fitting epochs (Barachant et al. 2012). A test compares with pyRiemann,
which is not asked for here: it would bring scikit-learn into every process that fits or decodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from pipeline.values import Float64

SPATIAL_RIDGE = 0.01
"""Part of the channels' covariance that is white, for the filters."""
MAX_STEPS = 10
TOLERANCE = 1e-2
"""Of the mean's logarithm: what is left shifts every tangent vector alike."""


@dataclass(frozen=True, slots=True, eq=False)
class TangentSpace:
    """Fitted filters, mean waves and the place of the tangent.

    Attributes
    ----------
    filters : ndarray, shape (n_filters, n_channels), float64
    waves : ndarray, shape (n_filters, n_bins), float64
        Mean of each filter's class under it.
    mean : ndarray, shape (2 * n_filters, 2 * n_filters), float64
        Geometric mean of the fitting epochs' covariances.
    """

    filters: Float64
    waves: Float64
    mean: Float64

    @classmethod
    def fit(
        cls, features: Float64, targets: NDArray[np.intp], *, n_classes: int, n_filters: int
    ) -> TangentSpace:
        """Fit `n_filters` a class to epochs (n_epochs, n_channels, n_bins), microvolts."""
        filters, waves = xdawn(features, targets, n_classes=n_classes, n_filters=n_filters)
        found = super_covariances(features, filters, waves)
        return cls(filters, waves, geometric_mean(found))

    def transform(self, features: Float64) -> Float64:
        """Tangent vectors, (n_epochs, n (n + 1) / 2) with n twice the filters."""
        return tangent_vectors(super_covariances(features, self.filters, self.waves), self.mean)


def xdawn(
    features: Float64, targets: NDArray[np.intp], *, n_classes: int, n_filters: int
) -> tuple[Float64, Float64]:
    """Find each class's filters: the most mean wave against all that is measured.

    Returns
    -------
    filters : ndarray, shape (n_classes * min(n_filters, n_channels), n_channels), float64
    waves : ndarray, shape (n_classes * min(n_filters, n_channels), n_bins), float64
    """
    flat = features.transpose(1, 0, 2).reshape(features.shape[1], -1)
    total = flat @ flat.T / flat.shape[1]
    size = len(total)
    total = (1 - SPATIAL_RIDGE) * total + SPATIAL_RIDGE * np.trace(total) / size * np.eye(size)
    filters, waves = [], []
    for k in range(n_classes):
        mean = features[targets == k].mean(axis=0)
        _, vectors = linalg.eigh(mean @ mean.T / mean.shape[1], total)
        best = vectors[:, ::-1][:, :n_filters].T
        filters.append(best)
        waves.append(best @ mean)
    return np.concatenate(filters), np.concatenate(waves)


def super_covariances(features: Float64, filters: Float64, waves: Float64) -> Float64:
    """Covariance over time of the filtered epochs beside the waves, (n, 2 f, 2 f), shrunk (OAS)."""
    sources = filters @ features
    both = np.concatenate([np.broadcast_to(waves, sources.shape), sources], axis=1)
    both = both - both.mean(axis=2, keepdims=True)
    n_bins, size = both.shape[2], both.shape[1]
    plain = both @ both.transpose(0, 2, 1) / n_bins
    # Oracle approximating shrinkage (Chen et al. 2010), as scikit-learn has it.
    alpha = (plain**2).mean(axis=(1, 2))
    level = np.trace(plain, axis1=1, axis2=2) / size
    denominator = (n_bins + 1) * (alpha - level**2 / size)
    part = np.where(denominator == 0, 1.0, (alpha + level**2) / np.maximum(denominator, 1e-300))
    part = np.minimum(part, 1.0)[:, None, None]
    return np.asarray((1 - part) * plain + part * level[:, None, None] * np.eye(size))


def geometric_mean(covariances: Float64) -> Float64:
    """Mean on the manifold of positive definite matrices (affine-invariant), (n, n) float64."""
    mean = covariances.mean(axis=0)
    for _ in range(MAX_STEPS):
        root, inverse = _power(mean, 0.5), _power(mean, -0.5)
        step = _logarithm(inverse @ covariances @ inverse).mean(axis=0)
        values, vectors = np.linalg.eigh(step)
        mean = root @ ((vectors * np.exp(values)) @ vectors.T) @ root
        if float(np.linalg.norm(step)) < TOLERANCE:
            break
    return np.asarray((mean + mean.T) / 2)


def tangent_vectors(covariances: Float64, mean: Float64) -> Float64:
    """Logarithms at `mean`, upper triangles, the rest of the diagonal weighted by root two."""
    inverse = _power(mean, -0.5)
    logarithms = _logarithm(inverse @ covariances @ inverse)
    rows, columns = np.triu_indices(len(mean))
    weights = np.where(rows == columns, 1.0, np.sqrt(2.0))
    return np.asarray(logarithms[:, rows, columns] * weights)


def _power(matrix: Float64, exponent: float) -> Float64:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 1e-300) ** exponent) @ vectors.T)


def _logarithm(matrices: Float64) -> Float64:
    values, vectors = np.linalg.eigh(matrices)
    logs = np.log(np.maximum(values, 1e-300))
    return np.asarray((vectors * logs[:, None, :]) @ vectors.transpose(0, 2, 1))
