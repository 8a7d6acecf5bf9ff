"""Linear discriminant analysis with a shrunk covariance, for features of any count.

Owns the fit: one covariance for all classes, shrunk towards white by Ledoit and Wolf's rule (2004),
solved among the epochs where there are more features than epochs. A test compares with
scikit-learn's (`solver="lsqr"`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.values import Float64


@dataclass(frozen=True, slots=True, eq=False)
class ShrinkageLda:
    """A fitted discriminant: `coef` (n_classes, n_features), `intercept` (n_classes,), float64."""

    coef: Float64
    intercept: Float64

    @classmethod
    def fit(cls, features: Float64, targets: NDArray[np.intp], *, n_classes: int) -> ShrinkageLda:
        """Fit to (n_epochs, n_features); classes count as equally probable."""
        means = np.stack([features[targets == k].mean(axis=0) for k in range(n_classes)])
        residuals = features - means[targets]
        part, level = ledoit_wolf(residuals)
        coef = _solve(residuals, part, level, means)
        return cls(coef, -0.5 * (means * coef).sum(axis=1))

    def logits(self, features: Float64) -> Float64:
        """Log likelihoods but for a constant, (n_epochs, n_classes)."""
        return np.asarray(features @ self.coef.T + self.intercept)


def ledoit_wolf(residuals: Float64) -> tuple[float, float]:
    """Part that is white, 0 to 1, and the features' mean variance, of rows around zero."""
    n, size = residuals.shape
    squares = (residuals**2).sum(axis=1)
    level = float(squares.sum() / (n * size))
    # The smaller of the two Gram matrices has the same Frobenius norm.
    gram = residuals @ residuals.T if n < size else residuals.T @ residuals
    plain = float((gram**2).sum()) / n**2
    distance = plain / size - level**2
    error = (float((squares**2).sum()) / n - plain) / (n * size)
    part = 1.0 if distance <= 0 else min(max(error, 0.0) / distance, 1.0)
    return part, max(level, 1e-12)


def _solve(residuals: Float64, part: float, level: float, means: Float64) -> Float64:
    """Means through the inverse of the shrunk covariance, (n_classes, n_features)."""
    n, size = residuals.shape
    scale, white = (1 - part) / n, max(part, 1e-6) * level
    if n >= size:
        covariance = scale * residuals.T @ residuals + white * np.eye(size)
        return np.asarray(np.linalg.solve(covariance, means.T).T)
    # Woodbury: (a X'X + b I)^-1 M = (M - X'(b/a I + XX')^-1 X M) / b
    if scale <= 0:
        return means / white
    inner = residuals @ residuals.T + white / scale * np.eye(n)
    return (means - np.linalg.solve(inner, residuals @ means.T).T @ residuals) / white
