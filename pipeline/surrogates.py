"""Surrogate data: what an epoch would look like if it said nothing.

Owns the phase scrambling behind the noise control. Pure and seeded.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.values import Epoch


def phase_scrambled(epoch: Epoch, *, seed: int) -> Epoch:
    """Give an epoch with the same spectra and correlations between channels, but no time course.

    Each frequency is turned by one random angle, the same in all channels (Prichard and Theiler,
    1994, Phys. Rev. Lett. 73, 951: multivariate surrogates), so that power and covariance stay and
    what is locked to the stimulus goes.

    Parameters
    ----------
    epoch : Epoch
    seed : int
        Of the angles, 0 or more.

    Returns
    -------
    Epoch
        Of the same shape; its `event` is empty, since it shows nothing.
    """
    n_times = epoch.data.shape[1]
    spectrum = np.fft.rfft(epoch.data.astype(np.float64), axis=1)
    angles = np.random.default_rng([seed, 0x5C4A]).uniform(0, 2 * np.pi, spectrum.shape[1])
    turn = np.exp(1j * angles)
    turn[0] = 1.0
    if n_times % 2 == 0:
        turn[-1] = 1.0  # the Nyquist bin of an even length is real
    data = np.fft.irfft(spectrum * turn, n=n_times, axis=1)
    return replace(epoch, data=data.astype(np.float32), event="")
