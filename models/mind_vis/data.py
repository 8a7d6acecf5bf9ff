"""A person's fMRI responses to pictures, ready for the network: values and their choices.

Owns what every loader of this family makes, how a matrix is padded and normalised, and the
published faults behind names. Knows nothing of file formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from configs.published import PublishedConfig
from models.mind_vis.arrays import (
    UNSCALED,
    Scale,
    normalise,
    pad_to_length,
    padded_length,
    scale_of,
    stack,
)
from models.training.draws import Draws, Indices
from models.training.errors import DatasetError
from pipeline.values import Float32, Float64

PATCH_SIZE = 16


class Faults(PublishedConfig):
    """What the published code does to the data; each is off unless it is asked for by name."""

    extra_patch: bool = False
    """Add a whole patch of repeated voxels where the count is a multiple of the patch already."""
    padded_statistics: bool = False
    """Take mean and deviation after padding, so that repeated voxels count twice."""
    unnormalised_test: bool = False
    """Scale GOD's test part by the mean and deviation of the training part *after* its own
    normalisation, 0 and 1: it goes in as it is."""
    joint_statistics: bool = False
    """Take BOLD5000's mean and deviation over training and test part together."""


PUBLISHED_FAULTS = Faults(
    extra_patch=True, padded_statistics=True, unnormalised_test=True, joint_statistics=True
)


class Pictures(Protocol):
    """The pictures of a data set."""

    def open(self, name: str) -> Image.Image:
        """Picture of a name, RGB."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Responses of one part.

    Attributes
    ----------
    voxels : ndarray, shape (n, n_voxels), float64
        Normalised and padded.
    pictures : tuple of str
        What was seen, by name.
    labels : tuple of int
        Class of each; empty where the data set has none.
    """

    voxels: Float64
    pictures: tuple[str, ...]
    labels: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.voxels)

    def take(self, rows: Sequence[int]) -> Part:
        """Some of the responses."""
        labels = tuple(self.labels[i] for i in rows) if self.labels else ()
        return Part(self.voxels[list(rows)], tuple(self.pictures[i] for i in rows), labels)


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """A data set: its parts, its pictures, and how one person's voxels came in.

    Attributes
    ----------
    train, test : Part
    images : Pictures
    n_voxels : int
        Before padding; 0 where several people of unequal counts are in it.
    scale : Scale
        Of the training part; (0, 1) where several people are in it.
    """

    train: Part
    test: Part
    images: Pictures
    n_voxels: int
    scale: Scale

    @property
    def n_padded(self) -> int:
        """Voxels of a row."""
        return int(self.train.voxels.shape[1])


def fit(
    train: NDArray[Any],
    test: NDArray[Any],
    faults: Faults,
    *,
    patch_size: int = PATCH_SIZE,
    joint: NDArray[Any] | None = None,
) -> tuple[Float64, Float64, Scale]:
    """Pad and normalise one person's training and test rows; return the scale that was used.

    Parameters
    ----------
    patch_size : int
        What rows are padded to multiples of.
    joint : ndarray, optional
        All rows together, where a data set's published scale is theirs.
    """
    length = padded_length(train.shape[1], patch_size, extra_patch=faults.extra_patch)
    given = joint if joint is not None and faults.joint_statistics else train
    scale = scale_of(pad_to_length(given, length) if faults.padded_statistics else given)
    if not (np.isfinite(scale).all() and scale.std > 0):
        raise DatasetError(
            f"the training responses have mean {scale.mean} and deviation {scale.std}, expected "
            "finite numbers that vary: they are damaged, or another file's."
        )
    train, test = pad_to_length(train, length), pad_to_length(test, length)
    made = normalise(train, scale)
    test_scale = scale_of(made) if faults.unnormalised_test and joint is None else scale
    return made, normalise(test, test_scale), scale


def join(people: Sequence[Responses]) -> Responses:
    """Put several people's responses below each other, the shorter ones wrapped to the longest."""
    if len(people) == 1:
        return people[0]

    def joined(parts: Sequence[Part]) -> Part:
        return Part(
            stack([part.voxels for part in parts]),
            tuple(name for part in parts for name in part.pictures),
            tuple(label for part in parts for label in part.labels),
        )

    return replace(
        people[0],
        train=joined([each.train for each in people]),
        test=joined([each.test for each in people]),
        n_voxels=0,
        scale=UNSCALED,
    )


class VoxelSignals:
    """Rows of voxels as `models.masked_autoencoder.training.Signals`: (n, 1, n_voxels)."""

    def __init__(self, voxels: NDArray[Any]) -> None:
        self._voxels = voxels.astype(np.float32, copy=False)

    def __len__(self) -> int:
        return len(self._voxels)

    def split(self, part: int) -> tuple[VoxelSignals, VoxelSignals]:
        """Every `part`-th row validates."""
        held = np.arange(len(self._voxels)) % part == part - 1
        return VoxelSignals(self._voxels[~held]), VoxelSignals(self._voxels[held])

    def batch(self, indices: Indices, draws: Draws) -> Tensor:
        """Rows; nothing is drawn."""
        del draws
        return torch.from_numpy(self._voxels[indices])[:, None]


class PairedRows:
    """Responses and their pictures as `models.latent_diffusion.finetuning.Examples`."""

    def __init__(self, part: Part, images: Pictures) -> None:
        self._part, self._images = part, images

    def __len__(self) -> int:
        return len(self._part)

    def signal(self, index: int) -> Float32:
        """Voxels (1, n_voxels) of a response."""
        row: Float32 = self._part.voxels[index : index + 1].astype(np.float32)
        return row

    def picture(self, index: int) -> Image.Image:
        """Picture that was seen, RGB."""
        return self._images.open(self._part.pictures[index])

    def target(self, index: int) -> None:
        """No alignment with CLIP."""
        del index


def hold_out(part: Part, *, one_in: int, seed: int) -> tuple[Part, Part]:
    """Split by picture: what trains, and what validates; no picture is in both."""
    names = sorted(set(part.pictures))
    n_held = len(names) // one_in
    held = set(np.random.default_rng(seed).permutation(names)[:n_held].tolist())
    rows = [i for i, name in enumerate(part.pictures) if name not in held]
    rest = [i for i, name in enumerate(part.pictures) if name in held]
    return part.take(rows), part.take(rest)
