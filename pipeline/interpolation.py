"""Channels that an epoch lacks, told from the others by how channels go together in a person.

Owns the estimate: the conditional mean under the covariance of channels (the best linear guess).
(Spherical splines were rejected: they need positions, and eight electrodes are too few for them.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.values import Epoch, Float64, Info

LARGEST_SHARE = 0.25
"""Of the channels that may be missing: beyond it, it is another montage."""
_RIDGE = 0.01
"""Part of the mean variance that is added to each channel's."""


def may_fill(n_missing: int, n_channels: int) -> bool:
    """Whether so many channels can be told from the others."""
    return 0 < n_missing <= LARGEST_SHARE * n_channels


def filled(epoch: Epoch, ch_names: Sequence[str], covariance: Float64) -> Epoch:
    """Return an epoch of these channels, those that it lacks estimated from those that it has.

    Parameters
    ----------
    epoch : Epoch
    ch_names : sequence of str
        Channels of `covariance`; others of the epoch are left out.
    covariance : ndarray, shape (n_channels, n_channels)
    """
    rows = {name: row for row, name in enumerate(epoch.info.ch_names)}
    has = np.array([name in rows for name in ch_names])
    own = epoch.data[[rows[name] for name in ch_names if name in rows]].astype(np.float64)
    data = np.zeros((len(ch_names), epoch.data.shape[1]))
    data[has] = own
    data[~has] = weights(covariance, has) @ own
    info = Info(tuple(ch_names), epoch.info.sfreq, ("eeg",) * len(ch_names))
    return replace(epoch, data=data.astype(np.float32), info=info)


def weights(covariance: Float64, has: np.ndarray) -> Float64:
    """What turns the channels that there are into those that are missing, (n_missing, n_has)."""
    own = covariance[np.ix_(has, has)]
    ridge = _RIDGE * float(np.trace(own)) / max(len(own), 1) + 1e-12
    loaded = own + ridge * np.eye(len(own))
    return np.asarray(np.linalg.solve(loaded, covariance[np.ix_(has, ~has)]).T)


def channel_covariance(epochs: Sequence[Epoch], ch_names: Sequence[str]) -> Float64:
    """Covariance of channels over epochs that may lack some, (n_channels, n_channels).

    Pair by pair, over the epochs that have both.
    """
    n = len(ch_names)
    place = {name: k for k, name in enumerate(ch_names)}
    total, counts = np.zeros((n, n)), np.zeros((n, n))
    for epoch in epochs:
        found = [
            (place[name], row) for row, name in enumerate(epoch.info.ch_names) if name in place
        ]
        at = np.array([k for k, _ in found], dtype=np.intp)
        data = epoch.data[[row for _, row in found]].astype(np.float64)
        data -= data.mean(axis=1, keepdims=True)
        total[np.ix_(at, at)] += data @ data.T / data.shape[1]
        counts[np.ix_(at, at)] += 1
    mean = total / np.maximum(counts, 1)
    # Pair by pair it need not be positive: take the nearest that is.
    values, vectors = np.linalg.eigh(mean)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)
