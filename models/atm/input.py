"""From an epoch of any labelled montage and rate to what the network was trained on.

Owns montage mapping by name, interpolation of channels that the headset lacks, resampling,
cutting from onset, whitening. NumPy and SciPy only; live epochs and recordings share it.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.atm.errors import AtmError
from pipeline.electrodes import canonical_name
from pipeline.values import Epoch, Float32, Float64, read_only
from pipeline.virtual_brain.head import table_leadfield
from pipeline.virtual_brain.sources import BACKGROUND

NOISE = 0.02
"""Variance of the electrodes' own noise against the mean signal variance, in interpolation."""
CLIP = 20.0
"""Largest value after scaling."""


@lru_cache(maxsize=64)
def montage_map(ch_names: tuple[str, ...], wanted: tuple[str, ...]) -> Float64:
    """Matrix (n_wanted, n_channels) from canonical labels to the wanted ones.

    A channel that is there is taken as it is; one that is not is interpolated over the head by
    minimum norm (Gaussian-process regression on the fields of evenly spread dipoles), around the
    mean of the channels, so that the reference stays what it is.
    """
    n = len(ch_names)
    matrix = np.zeros((len(wanted), n))
    absent = [row for row, name in enumerate(wanted) if name not in ch_names]
    for row, name in enumerate(wanted):
        if name in ch_names:
            matrix[row, ch_names.index(name)] = 1.0
    if absent:
        mean = np.full((1, n), 1 / n)
        around = _regression(ch_names, tuple(wanted[row] for row in absent))
        matrix[absent] = around @ (np.eye(n) - mean) + mean
    return np.asarray(read_only(matrix))


def _regression(ch_names: tuple[str, ...], wanted: tuple[str, ...]) -> Float64:
    fields, target = (
        table_leadfield(names)[:, BACKGROUND].reshape(len(names), -1)
        for names in (ch_names, wanted)
    )
    target = target - fields.mean(axis=0)
    fields = fields - fields.mean(axis=0)
    seen = fields @ fields.T
    seen += NOISE * np.trace(seen) / len(seen) * np.eye(len(seen))
    return np.asarray(np.linalg.solve(seen, fields @ target.T).T)


def network_input(
    epoch: Epoch,
    *,
    ch_names: tuple[str, ...],
    sfreq: float,
    n_times: int,
    whitening: NDArray[np.float32] | None = None,
) -> Float32:
    """Make the network's input of an epoch.

    Parameters
    ----------
    epoch : Epoch
        Filtered and baseline-corrected, microvolts.
    ch_names, sfreq, n_times
        What the network was trained on, from onset on.
    whitening : ndarray, shape (n_channels, n_channels), or None
        Of the training session; None: one robust scale for the whole epoch.

    Returns
    -------
    ndarray, shape (n_channels, n_times), float32

    Raises
    ------
    AtmError
        The epoch ends too early, or fewer than two labels are known.
    """
    rows, names = _labelled(epoch)
    data = montage_map(names, ch_names) @ epoch.data[rows].astype(np.float64)
    data = _resampled(data, epoch, sfreq=sfreq, n_times=n_times)
    if whitening is not None:
        data = whitening.astype(np.float64) @ data
    else:
        middle = np.median(data, axis=1, keepdims=True)
        spread = 1.4826 * float(np.median(np.abs(data - middle)))
        data = data / max(spread, 1e-6)
    return np.clip(data, -CLIP, CLIP).astype(np.float32)


def _labelled(epoch: Epoch) -> tuple[list[int], tuple[str, ...]]:
    found: dict[str, int] = {}
    for row, (label, kind) in enumerate(zip(epoch.info.ch_names, epoch.info.ch_types, strict=True)):
        name = canonical_name(label) if kind == "eeg" else None
        if name is not None:
            found.setdefault(name, row)
    if len(found) < 2:
        raise AtmError(
            f"the montage {', '.join(epoch.info.ch_names[:8])} has {len(found)} EEG labels of the "
            "10-05 system, expected at least two: name them by --montage, or "
            "source.ch_names."
        )
    return list(found.values()), tuple(found)


def _resampled(data: Float64, epoch: Epoch, *, sfreq: float, n_times: int) -> Float64:
    ratio = Fraction(sfreq / epoch.info.sfreq).limit_denominator(1000)
    if ratio != 1:
        data = signal.resample_poly(
            data, ratio.numerator, ratio.denominator, axis=-1, padtype="line"
        )
    onset = round(-epoch.tmin * sfreq)
    if onset < 0 or onset + n_times > data.shape[1] + 1:
        raise AtmError(
            f"the epoch reaches from {epoch.tmin:g} to {epoch.tmax:g} s, expected from 0 or before "
            f"to {n_times / sfreq:g} s: set epochs.tmin and epochs.tmax."
        )
    short = onset + n_times - data.shape[1]
    if short > 0:  # one sample, where the rates do not divide
        data = np.concatenate([data, data[:, -1:]], axis=1)
    return data[:, onset : onset + n_times]
