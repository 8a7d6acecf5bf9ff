"""Generic Object Decoding (GOD) as MinD-Vis publishes it: `sbj_k.npz`, pictures, labels.

Owns the structure of the folder `Kamitani/npz`. Horikawa and Kamitani 2017; the files come from
the Weizmann group's release.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.arrays import array_errors
from configs.guard import open_file, read_text
from models.mind_vis.data import PATCH_SIZE, Faults, Part, Responses, fit, join
from models.training.errors import DatasetError
from pipeline.values import Float64

TRAIN, TEST_SINGLE, TEST_MEAN, ORDER = "arr_0", "arr_1", "arr_2", "arr_3"
"""Arrays of a person's file: (n_train, n_voxels), single trials of the test, their means per
picture, and the training picture of each row."""


class _Images:
    """`train-N` and `test-N` of `images_256.npz`."""

    def __init__(self, path: Path) -> None:
        self._table = {
            part: _array(path, f"{part}_images", what="pictures") for part in ("train", "test")
        }

    def open(self, name: str) -> Image.Image:
        part, _, number = name.partition("-")
        return Image.fromarray(np.asarray(self._table[part][int(number)], dtype=np.uint8))


def load_god(
    folder: Path,
    *,
    subjects: Sequence[str],
    roi: str = "VC",
    faults: Faults = Faults(),  # noqa: B008 - frozen
    single_trials: bool = False,
    patch_size: int = PATCH_SIZE,
) -> Responses:
    """Read people's responses and what they saw.

    Parameters
    ----------
    folder : Path
        `Kamitani/npz`.
    subjects : sequence of str
        `sbj_1` to `sbj_5`.
    roi : str
        Mask of the voxels that are used.
    faults : Faults
        Of the published code, to repeat.
    single_trials : bool
        Append the single trials of the test part to its means.
    patch_size : int
        What rows are padded to multiples of.

    Raises
    ------
    DatasetError
        A file is missing or of another structure.
    """
    images = _Images(folder / "images_256.npz")
    labels = _Labels(folder)
    people = [
        _person(
            folder / f"{name}.npz",
            images,
            labels,
            roi=roi,
            faults=faults,
            single_trials=single_trials,
            patch_size=patch_size,
        )
        for name in subjects
    ]
    return join(people)


def load_god_signals(
    folder: Path,
    *,
    subjects: Sequence[str],
    roi: str = "VC",
    faults: Faults = Faults(),  # noqa: B008 - frozen
    patch_size: int = PATCH_SIZE,
) -> list[Float64]:
    """Training responses alone, one matrix a person: what is pre-trained on (no test part)."""
    found = []
    for name in subjects:
        path = folder / f"{name}.npz"
        rows = _voxels(path, TRAIN, _mask(path, roi))
        found.append(fit(rows, rows[:0], faults, patch_size=patch_size)[0])
    return found


def _person(
    path: Path,
    images: _Images,
    labels: _Labels,
    *,
    roi: str,
    faults: Faults,
    single_trials: bool,
    patch_size: int,
) -> Responses:
    mask = _mask(path, roi)
    train, means = _voxels(path, TRAIN, mask), _voxels(path, TEST_MEAN, mask)
    order = [int(i) for i in _array(path, ORDER, what="indices")]
    seen = list(range(len(means)))
    test = means
    if single_trials:
        single = _voxels(path, TEST_SINGLE, mask)
        if len(single) % len(means):
            raise DatasetError(
                f"{path}: {TEST_SINGLE} has {len(single)} rows, expected a multiple of "
                f"{len(means)}, the pictures of the test."
            )
        test = np.concatenate([means, single])
        seen += np.repeat(np.arange(len(means)), len(single) // len(means)).tolist()
    if len(order) != len(train):
        raise DatasetError(
            f"{path}: {ORDER} has {len(order)} indices for {len(train)} rows of {TRAIN}, expected "
            "one each."
        )
    made, made_test, scale = fit(train, test, faults, patch_size=patch_size)
    return Responses(
        train=Part(made, tuple(f"train-{i}" for i in order), labels.of("training", order)),
        test=Part(made_test, tuple(f"test-{i}" for i in seen), labels.of("testing", seen)),
        images=images,
        n_voxels=train.shape[1],
        scale=scale,
    )


class _Labels:
    """Class of each picture by its synset, from the two lists and the index of classes."""

    def __init__(self, folder: Path) -> None:
        try:
            table = json.loads(read_text(folder / "imagenet_class_index.json"))
            self._class = {
                int(synset[1:]): number
                for number, entry in enumerate(table.values())
                for synset in entry[:-1]
            }
            self._synsets = {
                part: [
                    int(row[0].split(".")[0])
                    for row in csv.reader(
                        read_text(folder / f"imagenet_{part}_label.csv").splitlines()
                    )
                    if row
                ]
                for part in ("training", "testing")
            }
        except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise DatasetError(
                f"{folder} has no labels of GOD ({error}), expected imagenet_class_index.json "
                "({'0': ['n01440764', ..., 'tench']}) and imagenet_training_label.csv and "
                "imagenet_testing_label.csv (SYNSET.NUMBER in the first column)."
            ) from None

    def of(self, part: str, order: Sequence[int]) -> tuple[int, ...]:
        """Class of each picture in `order`; -1 where none holds its synset."""
        synsets = self._synsets[part]
        try:
            return tuple(self._class.get(synsets[i], -1) for i in order)
        except IndexError:
            raise DatasetError(
                f"imagenet_{part}_label.csv has {len(synsets)} rows, expected one for each picture "
                f"up to number {max(order)}."
            ) from None


def _mask(path: Path, roi: str) -> NDArray[np.bool_]:
    found = _array(path, roi, what="voxels of a region")
    return found.astype(bool)


def _voxels(path: Path, name: str, mask: NDArray[np.bool_]) -> Float64:
    rows = _array(path, name, what="responses")
    if rows.ndim != 2 or rows.shape[1] != len(mask):
        raise DatasetError(
            f"{path}: {name} is of shape {rows.shape}, expected (n, {len(mask)}) as its mask."
        )
    return np.asarray(rows[:, mask], dtype=np.float64)


def _array(path: Path, name: str, *, what: str) -> NDArray[Any]:
    try:
        with (
            open_file(path) as stream,
            array_errors(),
            np.load(stream, allow_pickle=False) as file,
        ):
            if name not in file.files:
                raise DatasetError(
                    f"{path} has no {name!r} ({what}), expected GOD's arrays {TRAIN} to {ORDER} "
                    f"and masks; it has {', '.join(sorted(file.files)[:8])}."
                )
            found: NDArray[Any] = file[name]
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} is not of GOD ({error}): get it from MinD-Vis' FigShare."
        ) from None
    return found
