"""Voxel matrices as MinD-Vis makes them: padding, normalisation, windows, mixtures, means.

Owns pure functions on arrays whose last axis is voxels; draws are arguments. Knows nothing of
files. Chen et al., arXiv 2211.06956.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.values import Float64

WINDOW_S, TR_S = 8.0, 0.75
"""Resting volumes are meaned over windows of 8 s, counted in volumes of 0.75 s (HCP's are 0.72)."""
_Key = TypeVar("_Key", bound=Hashable)


class Scale(NamedTuple):
    """What normalises a person's responses: one mean and one deviation over the whole matrix."""

    mean: float
    std: float


UNSCALED = Scale(0.0, 1.0)
"""Of responses that come as z scores."""


def pad_to_length(voxels: NDArray[Any], length: int) -> NDArray[Any]:
    """Fill the last axis up to `length` by voxels from its beginning."""
    padded: NDArray[Any] = voxels[..., np.arange(length) % voxels.shape[-1]]
    return padded


def stack(matrices: Sequence[NDArray[Any]]) -> Float64:
    """Put matrices of unequal widths below each other, the narrower ones wrapped to the widest."""
    length = max(each.shape[-1] for each in matrices)
    return np.concatenate([pad_to_length(each, length) for each in matrices])


def padded_length(n_voxels: int, patch_size: int, *, extra_patch: bool = False) -> int:
    """Voxels after padding to whole patches.

    `extra_patch` repeats the published rule, which adds a whole patch to a count that is a
    multiple already.
    """
    room = -n_voxels % patch_size
    return n_voxels + (patch_size if extra_patch and room == 0 else room)


def scale_of(voxels: NDArray[Any]) -> Scale:
    """Mean and (population) deviation of a whole matrix."""
    return Scale(float(voxels.mean()), float(voxels.std()))


def normalise(voxels: NDArray[Any], scale: Scale | None = None) -> Float64:
    """Subtract the mean, divide by the deviation: the matrix's own, or given ones."""
    mean, std = scale or scale_of(voxels)
    made: Float64 = (voxels - mean) / std
    return made


def window_means(series: NDArray[Any]) -> Float64:
    """Means (n_windows, n_voxels) of a series (n_volumes, n_voxels) over windows of 10 volumes.

    Windows are near equal: what is left over makes some of them longer, and no volume is dropped.
    """
    n_windows = max(1, len(series) // int(WINDOW_S / TR_S))
    return np.stack([part.mean(axis=0) for part in np.array_split(series, n_windows)])


def mix(a: NDArray[Any], b: NDArray[Any], ratio: float = 0.5) -> Float64:
    """Point at `ratio` on the line from `a` to `b`."""
    made: Float64 = (1 - ratio) * a + ratio * b
    return made


def augment(voxels: NDArray[Any], pairs: NDArray[np.int64], ratio: float = 0.5) -> Float64:
    """Append mixtures of drawn pairs of rows (n_pairs, 2) to a matrix."""
    return np.concatenate([voxels, mix(voxels[pairs[:, 0]], voxels[pairs[:, 1]], ratio)])


def mean_repeats(voxels: NDArray[Any], keys: Sequence[_Key]) -> tuple[Float64, list[_Key]]:
    """Mean the rows of each key; keys in the order of their first row."""
    rows: dict[_Key, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return np.stack([voxels[at].mean(axis=0) for at in rows.values()]), list(rows)
