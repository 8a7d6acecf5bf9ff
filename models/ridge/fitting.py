"""Ridge regression with many more voxels than trials, in closed form.

Owns the regression in the space of trials (the dual), the choice of its penalty by
cross-validation over stimuli, and how long its vectors are. Arrays only: knows nothing of epochs,
files or galleries.

With K = Z Z' / n_voxels of the standardised scores Z, the weights of penalty `alpha` are
Z' (K + alpha)^-1 Y / n_voxels: one eigendecomposition of (n_trials, n_trials) serves every alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.adapters.scoring import Ints, fit_temperature, stimulus_folds
from pipeline.errors import PhospheneError
from pipeline.values import Float32, Float64

LEAST_TRIALS = 20
"""Trials, and LEAST_STIMULI different stimuli, that a fit needs."""
LEAST_STIMULI = 10


class RidgeError(PhospheneError):
    """The ridge baseline cannot be fitted, or its files cannot be used."""


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """A linear map from voxels to an embedding.

    Attributes
    ----------
    matrix : ndarray, shape (n_voxels, n_features), float32
        Takes standardised voxels.
    mean, scale : ndarray, shape (n_voxels,), float32
        What standardises them; a voxel that never changed has scale 0 and counts for nothing.
    offset : ndarray, shape (n_features,), float32
        Mean of the targets, which the matrix's answer is added to.
    """

    matrix: Float32
    mean: Float32
    scale: Float32
    offset: Float32

    def predict(self, voxels: Float32) -> Float64:
        """Embeddings (..., n_features) of responses (..., n_voxels)."""
        scores = (voxels - self.mean) * self.scale
        return np.asarray(scores @ self.matrix, dtype=np.float64) + self.offset


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What a fit found.

    Attributes
    ----------
    ridge : Ridge
        Fitted on every trial, its vectors as long as they are right: their mean length is
        `agreement`.
    alpha : float
    agreement : float
        Mean cosine of guess and truth, both from the mean of all targets, of stimuli that were held
        out; 0: nothing was found.
    pairwise : float
        How often a held-out trial's vector lies nearer to its own stimulus than to another held-out
        one; chance 0.5.
    temperature : float
        What similarities are divided by for honest probabilities.
    """

    ridge: Ridge
    alpha: float
    agreement: float
    pairwise: float
    temperature: float


def fit_ridge(
    voxels: Float32,
    targets: Float32,
    groups: Ints,
    *,
    alphas: Sequence[float],
    n_folds: int = 5,
    seed: int = 0,
) -> Fitted:
    """Choose the penalty by held-out stimuli, then fit on all.

    Parameters
    ----------
    voxels : ndarray, shape (n_trials, n_voxels)
    targets : ndarray, shape (n_trials, n_features)
        Unit embeddings of what was shown.
    groups : ndarray, shape (n_trials,), int
        Number of each trial's stimulus: none is on both sides of a fold.

    Raises
    ------
    RidgeError
        Too few trials or stimuli.
    """
    n_stimuli = len(np.unique(groups))
    if len(voxels) < LEAST_TRIALS or n_stimuli < LEAST_STIMULI:
        raise RidgeError(
            f"there are {len(voxels)} trials of {n_stimuli} stimuli that can be learnt from, "
            f"expected at least {LEAST_TRIALS} of {LEAST_STIMULI}: record more."
        )
    folds = stimulus_folds(groups, min(n_folds, n_stimuli), seed=seed)
    truth = targets.astype(np.float64)
    guesses = np.zeros((len(alphas), *truth.shape))
    for train, test in folds:
        guesses[:, test] = _path(voxels[train], targets[train], voxels[test], alphas)
    centre = truth.mean(axis=0)
    cosines = [float(_cosines(guess - centre, truth - centre).mean()) for guess in guesses]
    best = int(np.argmax(cosines))
    found = guesses[best]
    agreement = max(0.0, cosines[best])
    length = max(float(np.linalg.norm(found, axis=1).mean()), 1e-9)
    factor = agreement / length
    ridge = _fit(voxels, targets, alphas[best])
    ridge = Ridge(
        (factor * ridge.matrix).astype(np.float32),
        ridge.mean,
        ridge.scale,
        (factor * ridge.offset).astype(np.float32),
    )
    names, rows = np.unique(groups, return_inverse=True)
    stimuli = np.stack([truth[np.flatnonzero(groups == name)[0]] for name in names])
    logits = factor * found @ stimuli.T
    temperature = float(np.clip(fit_temperature(logits, rows), 0.005, 10.0))
    return Fitted(ridge, alphas[best], agreement, _pairwise(logits, rows), temperature)


def _standard(voxels: Float32) -> tuple[Float64, Float64]:
    """Mean of each voxel, and the factor that makes its deviation 1 (0 where it has none)."""
    mean = voxels.mean(axis=0, dtype=np.float64)
    deviation = voxels.std(axis=0, dtype=np.float64)
    alive = deviation > 1e-6 * max(float(np.median(deviation)), 1e-12)
    return mean, np.where(alive, 1.0 / np.where(alive, deviation, 1.0), 0.0)


def _path(train: Float32, targets: Float32, test: Float32, alphas: Sequence[float]) -> Float64:
    """Guesses for `test` under every penalty, (n_alphas, n_test, n_features)."""
    mean, scale = _standard(train)
    given, asked = (train - mean) * scale, (test - mean) * scale
    offset = targets.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(given @ given.T / given.shape[1])
    turned = vectors.T @ (targets - offset)
    kernel = asked @ given.T / given.shape[1] @ vectors
    weights = [1.0 / (np.maximum(values, 0.0) + alpha) for alpha in alphas]
    return np.stack([kernel @ (turned * w[:, np.newaxis]) + offset for w in weights])


def _fit(voxels: Float32, targets: Float32, alpha: float) -> Ridge:
    mean, scale = _standard(voxels)
    given = (voxels - mean) * scale
    offset = targets.mean(axis=0, dtype=np.float64)
    kernel = given @ given.T / given.shape[1]
    dual = np.linalg.solve(kernel + alpha * np.eye(len(kernel)), targets - offset)
    matrix = given.T @ dual / given.shape[1]
    parts = (matrix, mean, scale, offset)
    return Ridge(*(part.astype(np.float32) for part in parts))


def _cosines(guess: Float64, targets: Float64) -> Float64:
    length = np.linalg.norm(guess, axis=1) * np.linalg.norm(targets, axis=1)
    return np.asarray((guess * targets).sum(axis=1) / np.maximum(length, 1e-12))


def _pairwise(logits: Float64, rows: Ints) -> float:
    """Share of (trial, other stimulus) pairs in which the true stimulus lies nearer."""
    own = logits[np.arange(len(rows)), rows][:, np.newaxis]
    wins = (own > logits).sum(axis=1) + 0.5 * ((own == logits).sum(axis=1) - 1)
    return float(wins.mean() / (logits.shape[1] - 1))
