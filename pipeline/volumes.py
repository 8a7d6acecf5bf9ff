"""fMRI as the live path carries it: an `Epoch` of voxels, and the one vector that a decoder reads.

Owns how samples become that vector. A recording holds either responses (one sample an event, at
its onset) or volumes (a sample each repetition time, the response some seconds later); which of
its samples count is the decoder's to say. Knows nothing of files or of what decodes.
"""

from __future__ import annotations

import numpy as np

from pipeline.errors import ShapeError
from pipeline.values import Epoch, Float32

KIND = "fmri"
"""Type of a channel that is a voxel."""
_SAME = 1e-6
"""Times that differ by less are the same, s."""


def voxel_vector(
    epoch: Epoch, *, n_voxels: int | None = None, tmin: float = 0.0, tmax: float = 0.0
) -> Float32:
    """Average the samples of an epoch that a decoder uses.

    Parameters
    ----------
    epoch : Epoch
        Of fMRI: `data` (n_voxels, n_times) in the recording's own unit.
    n_voxels : int or None
        Count that the decoder was made for; None: any.
    tmin, tmax : float
        First and last time that counts, s from onset. Where no sample lies between, the nearest
        one counts alone.

    Returns
    -------
    ndarray, shape (n_voxels,), float32

    Raises
    ------
    ShapeError
        The epoch has another count of voxels.
    """
    if n_voxels is not None and epoch.data.shape[0] != n_voxels:
        raise ShapeError(
            f"the epoch has {epoch.data.shape[0]} voxels, expected {n_voxels}, as the decoder was "
            "fitted to: give a recording of the same person and mask, or fit a decoder to this one."
        )
    times = epoch.times
    inside = (times >= tmin - _SAME) & (times <= tmax + _SAME)
    if not inside.any():
        inside[int(np.abs(times - 0.5 * (tmin + tmax)).argmin())] = True
    vector: Float32 = epoch.data[:, inside].mean(axis=1, dtype=np.float64).astype(np.float32)
    return vector
