"""The model of a response: every rise and every fall of a picture's light evokes one, 0.3 s long.

Owns the regressors of reconvolution CCA (Thielen et al. 2021): what each code would evoke, sample
by sample, from the frames that were really shown. A response is a sum of cosines instead of one
free number a sample: the EEG behind a 40 Hz filter has no more than that to say, and half as many
numbers are learnt from half as many looks.
"""

from __future__ import annotations

import numpy as np

from pipeline.values import Float64, Uint8

RESPONSE_SECONDS = 0.3
"""Length of a response, s."""
N_COSINES = 24
"""Cosines of a response: 40 Hz times twice `RESPONSE_SECONDS`."""
N_EVENTS = 2
"""Kinds of event: a rise, a fall."""
N_REGRESSORS = N_EVENTS * N_COSINES


def changes(states: Uint8, before: Uint8) -> Float64:
    """Find the rises and falls of frames.

    Parameters
    ----------
    states : ndarray, shape (n_frames, n_targets), uint8
        1 where a target was bright.
    before : ndarray, shape (n_targets,), uint8
        The frame before the first.

    Returns
    -------
    ndarray, shape (n_frames, N_EVENTS, n_targets), float64
    """
    known = np.concatenate([before[np.newaxis], states]).astype(np.int8)
    step = np.diff(known, axis=0)
    return np.stack([step > 0, step < 0], axis=1).astype(np.float64)


def regressors(events: Float64, flips: Float64, times: Float64) -> Float64:
    """Lay out what each target's events evoke at given times.

    Parameters
    ----------
    events : ndarray, shape (n_frames, N_EVENTS, n_targets), float64
        Of the frames that may still act; see `changes`.
    flips : ndarray, shape (n_frames,), float64
        When each came to the screen, s.
    times : ndarray, shape (n_times,), float64
        Of the samples, s, on the same clock.

    Returns
    -------
    ndarray, shape (n_targets, N_REGRESSORS, n_times), float64
    """
    lag = (times[np.newaxis] - flips[:, np.newaxis]) / RESPONSE_SECONDS
    acts = (lag >= 0) & (lag < 1)
    order = np.arange(N_COSINES)[np.newaxis, :, np.newaxis]
    waves = np.cos(np.pi * order * lag[:, np.newaxis]) * acts[:, np.newaxis]
    n_frames, n_kinds, n_targets = events.shape
    flat = events.reshape(n_frames, n_kinds * n_targets).T @ waves.reshape(
        n_frames, N_COSINES * len(times)
    )
    shaped = flat.reshape(n_kinds, n_targets, N_COSINES, len(times))
    return np.ascontiguousarray(
        shaped.transpose(1, 0, 2, 3).reshape(n_targets, n_kinds * N_COSINES, len(times))
    )
