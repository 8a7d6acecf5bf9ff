"""Training data of the ATM family: a folder of memory-mapped arrays, larger than memory or not.

Owns the folder's layout, its checks, the split by picture, and how a batch is made. Knows
nothing of networks. Layout: `eeg.npy` (n_epochs, n_channels, n_times) float32;
`image_ids.npy`, `subject_ids.npy` (n_epochs,) int64; `features/NAME.npy` (n_images, n_features)
float32 for each target, `features/NAME.text.npy` of the same shape; `meta.json` with `ch_names`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.arrays import array_errors
from configs.guard import check_file
from models.atm.errors import AtmError

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One batch: `eeg` (n, n_channels, n_times), ids (n,), `targets` by name (n, n_features)."""

    eeg: Tensor
    subject_ids: Tensor
    image_ids: Tensor
    targets: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class EpochSet:
    """Epochs on disk with the vectors of what was shown.

    `items` lists, for each sample, the rows that it is the mean of.
    """

    eeg: Float32
    image_ids: Int64
    subject_ids: Int64
    targets: Mapping[str, Float32]
    ch_names: tuple[str, ...]
    items: tuple[Int64, ...]
    rows: tuple[int, ...] = ()
    """Rows of the channels to use; empty: all."""

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, indices: Sequence[int] | Int64) -> Batch:
        """Read samples; only their bytes leave the disk."""
        chosen = [self.items[i] for i in indices]
        if all(len(item) == 1 for item in chosen):
            # One gather for the whole batch: a mean of each alone costs more than a small step.
            eeg = np.array(self.eeg[np.concatenate(chosen)], dtype=np.float32)
        else:
            eeg = np.stack([self.eeg[item].mean(axis=0, dtype=np.float32) for item in chosen])
        if self.rows:
            eeg = eeg[:, list(self.rows)]
        first = np.array([item[0] for item in chosen])
        images = self.image_ids[first]
        targets = {name: torch.from_numpy(np.array(v[images])) for name, v in self.targets.items()}
        return Batch(
            torch.from_numpy(eeg),
            torch.from_numpy(self.subject_ids[first]),
            torch.from_numpy(images),
            targets,
        )

    def subset(self, images: Int64) -> EpochSet:
        """Only the samples of these pictures."""
        wanted = set(images.tolist())
        items = tuple(i for i in self.items if int(self.image_ids[i[0]]) in wanted)
        return self._with(items, self.rows)

    def averaged(self) -> EpochSet:
        """One sample for each picture and subject: the mean over its repetitions."""
        groups: dict[tuple[int, int], list[Int64]] = {}
        for item in self.items:
            key = (int(self.subject_ids[item[0]]), int(self.image_ids[item[0]]))
            groups.setdefault(key, []).append(item)
        return self._with(tuple(np.concatenate(g) for g in groups.values()), self.rows)

    def picked(self, ch_names: Sequence[str]) -> EpochSet:
        """Only these channels, in this order.

        Raises
        ------
        AtmError
            A channel was not recorded.
        """
        missing = [name for name in ch_names if name not in self.ch_names]
        if missing:
            raise AtmError(f"the data lack {', '.join(missing[:5])}: choose other channels.")
        return self._with(self.items, tuple(self.ch_names.index(name) for name in ch_names))

    def split(self, fraction: float, *, seed: int) -> tuple[EpochSet, EpochSet]:
        """Split by picture into training and validation: no picture is in both."""
        images = np.unique(self.image_ids)
        order = np.random.default_rng(seed).permutation(images)
        n_held = round(fraction * len(images))
        return self.subset(order[n_held:]), self.subset(order[:n_held])

    @property
    def used_names(self) -> tuple[str, ...]:
        """Labels of the channels of a batch."""
        return tuple(self.ch_names[row] for row in self.rows) if self.rows else self.ch_names

    def with_unit_targets(self) -> EpochSet:
        """Bring every target vector to norm 1 (one row an image: small enough to be held)."""
        units = {
            name: (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12)).astype(
                np.float32
            )
            for name, v in self.targets.items()
        }
        return replace(self, targets=units)

    def _with(self, items: tuple[Int64, ...], rows: tuple[int, ...]) -> EpochSet:
        return replace(self, items=items, rows=rows)


def open_epochs(folder: Path, targets: Sequence[str]) -> EpochSet:
    """Open a folder of epochs with the named targets, memory-mapped.

    Raises
    ------
    AtmError
        A file is missing or damaged, or the arrays do not belong together.
    """
    eeg = _open(folder / "eeg.npy", ndim=3)
    image_ids, subject_ids = (
        np.array(_open(folder / f"{name}.npy", ndim=1), dtype=np.int64)
        for name in ("image_ids", "subject_ids")
    )
    features = {name: _open(folder / "features" / f"{name}.npy", ndim=2) for name in targets}
    names = _channel_names(folder / "meta.json")
    if not len(eeg) == len(image_ids) == len(subject_ids) or len(names) != eeg.shape[1]:
        raise AtmError(
            f"{folder} has {len(eeg)} epochs of {eeg.shape[1]} channels, {len(image_ids)} "
            f"image_ids, {len(subject_ids)} subject_ids and {len(names)} ch_names: expected one "
            "id an epoch and one name a channel."
        )
    for name, vectors in features.items():
        if image_ids.max() >= len(vectors):
            raise AtmError(
                f"{folder / 'features' / name}.npy has {len(vectors)} rows, expected one for each "
                f"image_id up to {image_ids.max()}: compute the features again."
            )
    items = tuple(np.array([row]) for row in range(len(eeg)))
    return EpochSet(eeg, image_ids, subject_ids, features, names, items)


def write_epochs(
    folder: Path,
    *,
    eeg: Float32,
    image_ids: Int64,
    subject_ids: Int64,
    features: Mapping[str, Float32],
    ch_names: Sequence[str],
) -> None:
    """Write a folder that `open_epochs` reads."""
    (folder / "features").mkdir(parents=True, exist_ok=True)
    np.save(folder / "eeg.npy", eeg.astype(np.float32))
    np.save(folder / "image_ids.npy", image_ids.astype(np.int64))
    np.save(folder / "subject_ids.npy", subject_ids.astype(np.int64))
    for name, vectors in features.items():
        np.save(folder / "features" / f"{name}.npy", vectors.astype(np.float32))
    meta = json.dumps({"ch_names": list(ch_names)})
    (folder / "meta.json").write_text(meta, encoding="utf-8")


def _open(path: Path, *, ndim: int) -> NDArray[np.float32]:
    try:
        check_file(path)
        with array_errors():
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise AtmError(f"{path}: no such file, expected training data of the ATM family.") from None
    except (OSError, ValueError) as error:
        raise AtmError(f"{path} is no plain NumPy array ({error}).") from None
    if array.ndim != ndim or not len(array):
        raise AtmError(f"{path} has shape {array.shape}, expected {ndim} axes and some rows.")
    return np.asanyarray(array)


def _channel_names(path: Path) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name in json.loads(path.read_text(encoding="utf-8"))["ch_names"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AtmError(f"{path}: no ch_names in it ({error}), expected a JSON list.") from None
