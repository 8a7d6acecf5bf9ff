"""Coloured noise that can be made piece by piece.

Owns the shaping filters (1/f, resonators) and a small stateful wrapper; the white noise comes from
the caller's generator. The filters run sample by sample, so pieces join without a seam.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from pipeline.values import Float64

BAND = (0.5, 40.0)
"""Band in which amplitudes of the background are stated, Hz."""


def pink_sos(sfreq: float, exponent: float) -> Float64:
    """Design a filter whose output on white noise has power 1/f**exponent from 0.2 Hz up.

    Poles and zeros alternate at even distances on the logarithmic frequency axis; their offset
    sets the slope. Output RMS within `BAND` is 1.

    Returns
    -------
    ndarray, shape (n_sections, 6), float64
    """
    corners = np.geomspace(0.2, 0.45 * sfreq, 9)
    step = corners[1] / corners[0]
    poles = np.exp(-2 * np.pi * corners[:-1] / sfreq)
    zeros = np.exp(-2 * np.pi * corners[:-1] * step ** (exponent / 2) / sfreq)
    return unit_in_band(signal.zpk2sos(zeros, poles, 1.0), sfreq)


def resonator_sos(sfreq: float, centre: float, width: float) -> Float64:
    """Design a resonator (a band-pass of one biquad), output RMS within `BAND` 1 on white noise."""
    b, a = signal.iirpeak(centre, centre / width, fs=sfreq)
    return unit_in_band(signal.tf2sos(b, a), sfreq)


def band_sos(sfreq: float, low: float, high: float) -> Float64:
    """Design a second-order band-pass, output RMS 1 on white noise."""
    high = min(high, 0.45 * sfreq)
    sos = signal.butter(2, (low, high), btype="bandpass", fs=sfreq, output="sos")
    return _scaled(sos, np.sqrt(2 * (high - low) / sfreq))


def unit_in_band(sos: Float64, sfreq: float) -> Float64:
    """Scale a filter so that white noise of variance 1 leaves it with RMS 1 within `BAND`."""
    freqs = np.linspace(BAND[0], min(BAND[1], 0.499 * sfreq), 4000)
    _, response = signal.sosfreqz(sos, worN=freqs, fs=sfreq)
    density = np.abs(response) ** 2 * 2 / sfreq
    return _scaled(sos, float(np.sqrt(np.trapezoid(density, freqs))))


def _scaled(sos: Float64, rms: float) -> Float64:
    scaled = np.array(sos, dtype=np.float64)
    scaled[0, :3] /= rms
    return scaled


class Shaper:
    """Several independent series through one filter, state kept between calls."""

    def __init__(self, sos: Float64, n_series: int) -> None:
        self._sos = sos
        self._state = np.zeros((len(sos), n_series, 2))

    def __call__(self, white: Float64) -> Float64:
        """Shape white noise (n_series, n_times); returns the same shape."""
        out, self._state = signal.sosfilt(self._sos, white, axis=1, zi=self._state)
        return np.asarray(out, dtype=np.float64)
