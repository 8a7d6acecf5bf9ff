"""How good an epoch is: amplitude by channel type, line noise, values that were not finite.

Owns the measures and the two rejection rules. Knows nothing of streams.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.values import Float32, Float64, Info


def peak_to_peak(data: Float32) -> Float32:
    """Peak-to-peak of each channel, shape (n_channels,), microvolts."""
    spread: Float32 = data.max(axis=1) - data.min(axis=1)
    return spread


def rejection(
    spread: Float32, info: Info, *, reject_uv: Mapping[str, float], flat_uv: Mapping[str, float]
) -> str:
    """Why an epoch is refused, in one sentence; empty when it is not.

    Every channel type counts, whatever the order of the keys; the worst channel is named: the
    one furthest beyond its limit as a ratio.

    Parameters
    ----------
    spread : ndarray, shape (n_channels,), microvolts
        Peak-to-peak.
    """
    if not reject_uv and not flat_uv:
        return ""
    worst, reason = 1.0, ""
    for name, kind, value in zip(info.ch_names, info.ch_types, spread.tolist(), strict=True):
        limit = reject_uv.get(kind)
        if limit is not None and value > limit and value > worst * limit:
            worst = value / limit
            reason = f"{name} swings {value:.0f} µV, expected at most {limit:g} µV ({kind})"
    if reason:
        return reason
    for name, kind, value in zip(info.ch_names, info.ch_types, spread.tolist(), strict=True):
        least = flat_uv.get(kind)
        if least is not None and value < least:
            return f"{name} swings {value:.2g} µV, expected at least {least:g} µV ({kind}): flat"
    return ""


def line_ratio(raw: Float32, sfreq: float, freq: float) -> float:
    """Amplitude of the line frequency over that of all, worst channel, 0 to 1.

    Parameters
    ----------
    raw : ndarray, shape (n_channels, n_times), microvolts, before the filter
    sfreq, freq : float
        Hz.
    """
    n_times = raw.shape[1]
    centred: Float64 = raw - raw.mean(axis=1, dtype=np.float64, keepdims=True)
    power = np.square(centred).mean(axis=1)
    turn = 2 * np.pi * freq / sfreq * np.arange(n_times)
    # Sums, not a matrix product: the same bits whatever BLAS and its threads do.
    cosine = (centred * np.cos(turn)).sum(axis=1) * (2 / n_times)
    sine = (centred * np.sin(turn)).sum(axis=1) * (2 / n_times)
    line = (cosine**2 + sine**2) / 2
    ratio = np.sqrt(line / np.maximum(power, 1e-12))
    return float(min(1.0, ratio.max()))
