"""Repetitions of one picture's scan become one sample, in training and in testing.

Owns that choice; every draw is given.
"""

from __future__ import annotations

from torch import Tensor

COMBINED, MEANT = 0.5, 0.8
"""Up to these draws a weighted mean, and a plain one; above, one repetition."""


def chosen(voxels: Tensor, *, chance: float, weights: Tensor, pick: Tensor) -> Tensor:
    """One sample (n, n_voxels) of repetitions (n, n_repetitions, n_voxels), for low-level training.

    Parameters
    ----------
    voxels : Tensor
        (n, n_voxels) stays as it is.
    chance : float
        A draw of 0..1 that says how.
    weights : Tensor, shape (n, n_repetitions)
    pick : Tensor, shape (n,), int64
    """
    if voxels.ndim == 2:
        return voxels
    if chance <= COMBINED:
        return (weights[..., None] * voxels).sum(dim=1) / weights.sum(dim=1, keepdim=True)
    if chance <= MEANT:
        return voxels.mean(dim=1)
    index = pick.view(-1, 1, 1).expand(-1, 1, voxels.shape[2])
    return voxels.gather(1, index)[:, 0]
