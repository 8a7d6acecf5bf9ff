"""Linear decoders to measure the encoder against: windowed means, ridge, linear discriminant.

Owns the features and the closed forms, on one board's own channels. Knows nothing of the table
that they end up in. The pooled ones see the encoder's people, pictures and strengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from models.embedded.encoder_input import resample
from models.embedded.encoder_network import straight_features
from pipeline.gallery import Gallery
from pipeline.values import Epoch, Float32, Float64
from research.embedded.encoder_batches import board_pool, scaled
from research.embedded.identification import Encode
from research.embedded.moments import Moments

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of the ridge, against the mean variance of the features; chosen by cross-validation."""
SHRINKAGE = 2e-4
"""Of the pooled ones: the encoder's own."""
_BATCH = 512


def window_means(channels: Float32) -> Float64:
    """Means over 24 ms, 0.05 to 0.72 s, of scaled epochs (n, n_channels, N_TIMES): (n, n_inputs).

    The windows of the encoder's straight path.
    """
    return straight_features(torch.from_numpy(channels)).numpy().astype(np.float64)


def on_grid(epochs: Sequence[Epoch]) -> Float32:
    """Cut epochs of one board on the encoder's grid and scaled: (n, n_channels, N_TIMES)."""
    return scaled(np.stack([resample(e.data, sfreq=e.info.sfreq, tmin=e.tmin) for e in epochs]))


def linear(weights: Float64) -> Encode:
    """Encoder of windowed means by weights (n_inputs + 1, n_features), the last row added."""
    return lambda epochs: window_means(on_grid(epochs)) @ weights[:-1] + weights[-1]


def fit_ridge(epochs: Sequence[Epoch], targets: Float64, centre: Float64) -> Encode:
    """Ridge regression of embeddings on one person's epochs; penalty by five-fold validation."""
    inputs = window_means(on_grid(epochs))
    wanted = targets - centre
    folds = np.arange(len(inputs)) % 5
    losses = []
    for penalty in PENALTIES:
        loss = 0.0
        for fold in range(5):
            out = folds == fold
            weights = _ridge(inputs[~out], wanted[~out], penalty)
            guess = inputs[out] @ weights[:-1] + weights[-1]
            loss += float(((guess - wanted[out]) ** 2).sum())
        losses.append(loss)
    return linear(_ridge(inputs, wanted, PENALTIES[int(np.argmin(losses))]))


def _ridge(inputs: Float64, targets: Float64, penalty: float) -> Float64:
    design = np.c_[inputs, np.ones(len(inputs))]
    if len(design) < design.shape[1]:  # the dual is smaller
        kernel = design @ design.T
        scale = penalty * np.trace(kernel) / design.shape[1]
        return np.asarray(design.T @ np.linalg.solve(kernel + scale * np.eye(len(kernel)), targets))
    gram = design.T @ design
    scale = penalty * np.trace(gram) / len(gram)
    return np.asarray(np.linalg.solve(gram + scale * np.eye(len(gram)), design.T @ targets))


def pooled(
    board: str, gallery: Gallery, *, n_epochs: int, seed: int = 0, bank_seconds: float = 240.0
) -> tuple[Encode, Encode]:
    """Ridge and discriminant of a whole board, from `n_epochs` of the pool's people.

    Epochs without information are left out, as in the encoder's closed form.
    """
    pool = board_pool(board, gallery, n_epochs=n_epochs, seed=seed, bank_seconds=bank_seconds)
    moments = Moments()
    centre = torch.from_numpy(gallery.embeddings.mean(axis=0))
    for rows in np.array_split(np.flatnonzero(pool.snr > 0.3), max(1, n_epochs // _BATCH)):
        features = straight_features(torch.from_numpy(pool.channels[rows]))
        moments.add(features, torch.from_numpy(pool.targets[rows]) - centre)
    ridge, discriminant = moments.ridge(SHRINKAGE), moments.discriminant(SHRINKAGE)
    return linear(ridge.numpy()), linear(discriminant.numpy())
