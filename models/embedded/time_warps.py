"""Windowed means under another timing: what the encoder's straight path reads of an epoch.

Owns the windows, the grid of timings that are tried, and the matrices that average samples into
windows that are moved and stretched. A timing is two numbers: what happens at t seconds after
onset in the average person happens at `scale * t + shift` here. NumPy only; knows nothing of
networks.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

from models.embedded.encoder_input import N_TIMES, SFREQ, TMIN
from pipeline.values import Float64, read_only

FIRST_SAMPLE, N_BINS, BIN_SAMPLES = 31, 28, 3
"""The windows of the average person: 28 of 24 ms each, from 0.044 to 0.716 s."""
WARP_SCALES = (0.94, 0.97, 1.0, 1.03, 1.06)
WARP_SHIFTS = (-0.024, -0.012, 0.0, 0.012, 0.024)
"""Seconds. Both reach about two standard deviations of a population in which latencies differ by
some 4 % and 12 ms, and step by about one (a window is 24 ms wide)."""
WARPS: tuple[tuple[float, float], ...] = tuple(itertools.product(WARP_SCALES, WARP_SHIFTS))
"""Every timing that is tried: (scale, shift)."""


SCALE_SPREAD, SHIFT_SPREAD = 0.04, 0.012
"""Standard deviations of timings expected beforehand, a person's and a trial's together; s."""


def log_prior(scale: Float64 | float, shift: Float64 | float) -> Float64:
    """Log probability of timings before anything is measured, but for a constant: (...,)."""
    far = (np.asarray(scale) - 1) / SCALE_SPREAD
    return np.asarray(-0.5 * far**2 - 0.5 * (np.asarray(shift) / SHIFT_SPREAD) ** 2)


def window_edges() -> Float64:
    """Borders of the average person's windows, s after onset: (N_BINS + 1,)."""
    borders = FIRST_SAMPLE + BIN_SAMPLES * np.arange(N_BINS + 1) - 0.5
    return np.asarray(TMIN + borders / SFREQ)


def window_matrix(scale: Float64 | float, shift: Float64 | float) -> Float64:
    """Average samples into the windows that a timing moves.

    A sample stands for the 8 ms around it; a window's mean weighs each by how much of it lies
    inside.

    Parameters
    ----------
    scale, shift : float or ndarray, shape (...,)
        The timing; shift in seconds.

    Returns
    -------
    ndarray, shape (..., N_TIMES, N_BINS), float64
        Columns sum to 1: a window that leaves the epoch is the mean of what lies inside; 0 where
        nothing does.
    """
    scales, shifts = np.broadcast_arrays(np.asarray(scale), np.asarray(shift))
    edges = scales[..., None] * window_edges() + shifts[..., None]
    borders = TMIN + (np.arange(N_TIMES + 1) - 0.5) / SFREQ
    low, high = edges[..., None, :-1], edges[..., None, 1:]
    inside = np.minimum(borders[1:, None], high) - np.maximum(borders[:-1, None], low)
    inside = np.maximum(inside, 0.0)
    return np.asarray(inside / np.maximum(inside.sum(axis=-2, keepdims=True), 1e-12))


@cache
def grid_matrices() -> Float64:
    """`window_matrix` of every timing in WARPS: (n_warps, N_TIMES, N_BINS), float64."""
    scales, shifts = np.array(WARPS).T
    return read_only(window_matrix(scales, shifts))
