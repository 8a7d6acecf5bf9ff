"""Reads responses that a published model of images predicted, from an `.npz` of plain arrays.

Owns the layout: `responses` (n_images, n_channels, n_times), as epfl-neuroai/encoder-things-eeg2
states its output, or (n_images, n_repetitions, n_channels, n_times), as BERG (gifale95) gives it;
`ch_names`, `times` in s from onset, and `labels`, each picture's in the gallery. The models' own
files are not read: BERG's weights hold Python objects, which can run code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.errors import FileError
from devices.files.arrays import Arrays
from pipeline.values import to_float32
from pipeline.virtual_brain.predicted import PredictedResponses

NAMES = ("responses", "ch_names", "times", "labels")
SMALLEST_UV, LARGEST_UV = 0.01, 1000.0
"""Of the largest response; one beyond is in another unit than microvolts."""


def read_predicted(path: Path, *, scale: float = 1.0) -> PredictedResponses:
    """Read a table of predicted responses.

    Parameters
    ----------
    scale : float
        Microvolts that one of its numbers is.

    Raises
    ------
    FileError
        A missing or damaged file, another layout, or numbers that are none.
    """
    with Arrays(path) as file:
        if lacking := [name for name in NAMES if name not in file.names]:
            raise FileError(
                f"{path} lacks {', '.join(lacking)}, expected {', '.join(NAMES)}: see "
                "docs/how-to/predicted-people.md."
            )
        data, ch_names, times, labels = (file.read(name) for name in NAMES)
    _check_names(path, ch_names=ch_names, labels=labels)
    if data.ndim == 3:
        data = data[:, np.newaxis]
    sizes = (len(labels), len(ch_names), times.size)
    if data.ndim != 4 or (data.shape[0], *data.shape[2:]) != sizes or not data.size:
        raise FileError(
            f"{path} holds responses of shape {data.shape}, expected (n_images, [n_repetitions,] "
            f"n_channels, n_times) of {sizes[0]} labels, {sizes[1]} channels and {sizes[2]} times."
        )
    if not all(each.dtype.kind in "fiu" and np.isfinite(each).all() for each in (data, times)):
        raise FileError(f"{path} holds values that are no finite numbers: predict them anew.")
    times = times.astype(np.float64).ravel()
    if len(times) < 4 or not (np.diff(times) > 0).all() or times[0] < -1 or not 0.2 < times[-1] < 3:
        raise FileError(
            f"{path} has times from {times[0]:g} to {times[-1]:g}, expected at least four, "
            "growing, in seconds from onset (-1 at least, 0.2 to 3 at the end)."
        )
    scaled = to_float32(data, scale)
    largest = float(np.abs(scaled).max())
    if not SMALLEST_UV <= largest <= LARGEST_UV:
        raise FileError(
            f"{path} has responses up to {largest:.3g} microvolts, expected "
            f"{SMALLEST_UV:g} to {LARGEST_UV:g}: say with --responses-scale how many microvolts "
            "one of its numbers is."
        )
    return PredictedResponses(
        scaled, times, tuple(map(str, ch_names.tolist())), tuple(map(str, labels.tolist()))
    )


def _check_names(path: Path, **names: NDArray[Any]) -> None:
    """Refuse what would be text of something else: bytes, numbers, tables, the same name twice."""
    for key, found in names.items():
        if found.ndim != 1 or found.dtype.kind != "U":
            raise FileError(
                f"{path} has {key} of shape {found.shape} and type {found.dtype}, expected text in "
                "one dimension: save them as numpy.array([...], dtype=str)."
            )
        if len({name.upper() for name in found.tolist()}) < len(found):
            raise FileError(f"{path} has {key} of which two are the same, expected each once.")
