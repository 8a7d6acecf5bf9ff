"""What the network sees of a recording: the published preprocessing, as pure functions.

Owns the two roads to (n_channels, n_times): pre-training on any EEG, and the paired trials of
EEG-ImageNet40. NumPy only; draws are arguments. Knows nothing of files. Pre-training divides by
10, the paired trials (standardised already) are taken as they are: two scales, as published.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.values import Float32, Float64

N_CHANNELS = 128
N_TIMES = 512
SCALE = 10.0
"""What pre-training signals are divided by."""
ONSET, OFFSET = 20, 460
"""Samples of a paired trial that are used (the first 20 ms after onset are dropped)."""
SHORTEST, LONGEST = 450, 600
"""Samples of a trial that is kept, both included."""


def stretch(signal: NDArray[Any], n_times: int) -> Float64:
    """Linear interpolation of (n_channels, any) to `n_times` samples, both ends kept."""
    given = signal.shape[1]
    at = np.linspace(0, given - 1, n_times)
    left = np.minimum(at.astype(np.int64), max(given - 2, 0))
    right = np.minimum(left + 1, given - 1)
    part = at - left
    values = signal.astype(np.float64)
    stretched: Float64 = values[:, left] * (1 - part) + values[:, right] * part
    return stretched


def fill_channels(signal: NDArray[Any], n_channels: int) -> NDArray[Any]:
    """Repeat a block of channels from the top until `n_channels` rows are full."""
    filled: NDArray[Any] = signal[np.arange(n_channels) % signal.shape[0]]
    return filled


def pretrain_item(
    recording: NDArray[Any],
    *,
    start: int = 0,
    first_channel: int = 0,
    n_channels: int = N_CHANNELS,
    n_times: int = N_TIMES,
) -> Float32:
    """One signal of stage A.

    Parameters
    ----------
    recording : ndarray, shape (any, any)
        Channels and samples of a file, in the file's unit.
    start, first_channel : int
        Draws: where the window starts where the file is longer, and the block of channels where
        it has more.

    Returns
    -------
    ndarray, shape (n_channels, n_times), float32
    """
    given_channels, given_times = recording.shape
    if given_times > n_times:
        window = np.asarray(recording[:, start : start + n_times])
        if window.dtype != np.float32:  # a quotient of float32 is rounded once either way
            window = window.astype(np.float64)
    else:
        window = stretch(recording, n_times)
    if given_channels > n_channels:
        window = window[first_channel : first_channel + n_channels]
    else:
        window = fill_channels(window, n_channels)
    return (window / SCALE).astype(np.float32)


def paired_item(trial: NDArray[Any], *, n_times: int = N_TIMES) -> Float32:
    """One trial of stage B: samples 20 to 459 (or fewer, where it ends), stretched to `n_times`.

    Parameters
    ----------
    trial : ndarray, shape (n_channels, any)
        As `eeg_5_95_std.pth` holds it: 1 kHz, standardised.
    """
    return stretch(trial[:, ONSET:OFFSET], n_times).astype(np.float32)
