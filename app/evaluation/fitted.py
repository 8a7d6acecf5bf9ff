"""Statistics that a system was fitted with, beside what they would be on either part.

Owns the file that they are read from, a table of plain arrays. Whether the test part had a share in
them is `models.evaluation.splits`' to say.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from app.errors import AppError
from configs.arrays import array_errors
from configs.guard import read_bytes
from models.evaluation.audit import Material
from models.evaluation.splits import Fitted
from pipeline.values import Float64

ARRAYS = ("mean", "std", "covariance")
_LIMIT = 1 << 28


def fitted_of(path: Path, train: Material, test: Material) -> list[Fitted]:
    """Statistics of channels of a `.npz` with those of both parts' epochs from onset on.

    `mean` and `std` are (n_channels,), `covariance` is (n_channels, n_channels); a deviation or a
    covariance needs the mean beside it.

    Raises
    ------
    AppError
        The file holds none of them, or of other channels than the recordings.
    """
    arrays = _arrays(path)
    parts = [_samples(each) for each in (train, test)]
    n_channels = parts[0].shape[0]
    if parts[1].shape[0] != n_channels:
        raise AppError(
            f"the training recordings have {n_channels} channels and the test's "
            f"{parts[1].shape[0]}, expected the same ones."
        )
    for name, value in arrays.items():
        shape = (n_channels,) * (2 if name == "covariance" else 1)
        if value.shape != shape:
            raise AppError(
                f"{path} has {name} of shape {value.shape}, expected {shape}: one number a channel "
                "of the recordings, as the session's settings pick and filter them."
            )
    counts = [each.shape[1] for each in parts]
    found = []
    for name, value in arrays.items():
        if name == "mean":
            words, whole, ours = "mean of the channels", value, [p.mean(axis=1) for p in parts]
        elif name == "std":
            words = "deviation of the channels"
            whole, ours = value**2 + arrays["mean"] ** 2, [(p**2).mean(axis=1) for p in parts]
        else:
            words = "covariance of the channels"
            whole = value + np.outer(arrays["mean"], arrays["mean"])
            ours = [p @ p.T / p.shape[1] for p in parts]
        found.append(Fitted(words, whole, ours[0], ours[1], counts[0], counts[1]))
    return found


def _samples(material: Material) -> Float64:
    """Samples (n_channels, n) of all epochs from onset on."""
    if material.epochs is None or not len(material.epochs):
        raise AppError("--fitted needs epochs of both parts, expected labelled markers in each.")
    first = max(0, round(-material.tmin * material.sfreq))
    data = material.epochs[:, :, first:].astype(np.float64)
    return np.asarray(data.transpose(1, 0, 2).reshape(data.shape[1], -1))


def _arrays(path: Path) -> dict[str, Float64]:
    wanted = f"expected a .npz with {', '.join(ARRAYS)} (mean, and one of the others or none)"
    try:
        content = io.BytesIO(read_bytes(path, limit=_LIMIT))
        with array_errors(), np.load(content, allow_pickle=False) as file:
            found = {name: np.asarray(file[name], np.float64) for name in ARRAYS if name in file}
    except (OSError, ValueError) as error:
        raise AppError(f"{path} cannot be read ({error}), {wanted}.") from None
    if "mean" not in found:
        raise AppError(f"{path} has no mean, {wanted}.")
    return found
