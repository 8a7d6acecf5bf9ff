"""The resting volumes of the Human Connectome Project (HCP) as MinD-Vis prepares them.

Owns the structure of `HCP/npz/SUBJECT/HCP_visual_voxel.npz`. Its access needs an agreement; nothing
of it comes with Phosphene.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from configs.arrays import array_errors
from configs.guard import open_file
from models.mind_vis.arrays import normalise, pad_to_length, padded_length, window_means
from models.mind_vis.data import PATCH_SIZE, Faults
from models.training.errors import DatasetError
from pipeline.values import Float64

FILE = "HCP_visual_voxel.npz"
REGIONS = ("V1", "V2", "V3", "V4")
"""Parcels, in the order in which their voxels stand."""


def load_hcp(
    folder: Path,
    *,
    faults: Faults = Faults(),  # noqa: B008 - frozen
    patch_size: int = PATCH_SIZE,
) -> list[Float64]:
    """Read every subject below `folder`: windows of 8 s, normalised, padded; one matrix each.

    Raises
    ------
    DatasetError
        No subject, or a file of another structure.
    """
    paths = sorted(folder.glob(f"*/{FILE}"))
    if not paths:
        raise DatasetError(
            f"{folder} holds no subject, expected SUBJECT/{FILE} with the arrays "
            f"{', '.join(REGIONS)} (n_volumes, n_voxels)."
        )
    return [_subject(path, faults, patch_size) for path in paths]


def _subject(path: Path, faults: Faults, patch_size: int) -> Float64:
    try:
        with (
            open_file(path) as stream,
            array_errors(),
            np.load(stream, allow_pickle=False) as file,
        ):
            parts = [np.asarray(file[region], dtype=np.float64) for region in REGIONS]
            series = np.concatenate(parts, axis=-1)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} is not as MinD-Vis prepares it ({error}), expected the arrays "
            f"{', '.join(REGIONS)} (n_volumes, n_voxels)."
        ) from None
    means = window_means(series)
    length = padded_length(means.shape[1], patch_size, extra_patch=faults.extra_patch)
    if faults.padded_statistics:
        return normalise(pad_to_length(means, length))
    made: Float64 = pad_to_length(normalise(means), length)
    return made
