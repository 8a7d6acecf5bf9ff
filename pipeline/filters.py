"""The causal filter in front of the epochs.

Owns the design (one stacked SOS), the carried state, and what the design costs: group delay and
settling time. Knows nothing of stamps or gaps: the caller says where a gap-free run starts.
Zero-phase filtering was rejected: it needs the future, so a replay could not equal the live run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from configs.models import FilterConfig
from pipeline.errors import ConfigurationError
from pipeline.values import Float32, Float64, Info

_kernel: Callable[[Float64, Float64, Float64], None] | None
try:  # the kernel behind `signal.sosfilt`, whose checks cost as much as a short packet's samples
    from scipy.signal._sosfilt import _sosfilt as _kernel
except ImportError:  # another SciPy may keep it elsewhere: the public function gives the same bits
    _kernel = None

SETTLED = 0.01
"""Part of the step response's peak that counts as settled."""


def design(config: FilterConfig, sfreq: float) -> Float64:
    """Stack the band-pass and the notches into one SOS.

    A notch at or above half the rate is left out: the stream holds nothing there.

    Parameters
    ----------
    config : FilterConfig
    sfreq : float
        Hz.

    Returns
    -------
    ndarray, shape (n_sections, 6)
        Empty (no sections) when nothing is to be filtered.

    Raises
    ------
    ConfigurationError
        An edge at or above half the rate.
    """
    edges = [
        (f"filter.{name}", value)
        for name, value in (("l_freq", config.l_freq), ("h_freq", config.h_freq))
        if value is not None
    ]
    for name, value in edges:
        if not 0 < value < sfreq / 2:
            raise ConfigurationError(
                f"{name} is {value:g} Hz, expected above 0 and below {sfreq / 2:g} Hz (half the "
                f"stream's {sfreq:g} Hz): lower it or take it out."
            )
    sections = [_band(config, sfreq)]
    for freq in notches(config, sfreq):
        b, a = signal.iirnotch(freq, config.notch_q, fs=sfreq)
        sections.append(signal.tf2sos(b, a))
    return np.ascontiguousarray(np.concatenate(sections), dtype=np.float64)


def notches(config: FilterConfig, sfreq: float) -> tuple[float, ...]:
    """The notches that a stream of this rate (Hz) can have, Hz."""
    return tuple(freq for freq in config.notch_freqs if 0 < freq < sfreq / 2)


def _band(config: FilterConfig, sfreq: float) -> Float64:
    low, high = config.l_freq, config.h_freq
    sos: Float64
    if low is not None and high is not None:
        sos = signal.butter(config.order, (low, high), "bandpass", fs=sfreq, output="sos")
    elif low is not None:
        sos = signal.butter(config.order, low, "highpass", fs=sfreq, output="sos")
    elif high is not None:
        sos = signal.butter(config.order, high, "lowpass", fs=sfreq, output="sos")
    else:
        sos = np.empty((0, 6))
    return sos


def settling_time(sos: Float64, sfreq: float) -> float:
    """Time after which the step response stays within 1 % of its peak around its end, s.

    Computed from the filter's own response, long enough for its slowest pole.
    """
    if not len(sos):
        return 0.0
    radius = max(float(np.abs(np.roots(section[3:])).max()) for section in sos)
    # Twice what the slowest pole alone needs: poles that lie together decay more slowly.
    n_times = 16 + int(2 * np.log(1e-4) / np.log(min(max(radius, 1e-3), 1 - 1e-9)))
    response = signal.sosfilt(sos, np.ones(min(n_times, 20_000_000)))
    final = float(np.prod(sos[:, :3].sum(axis=1) / sos[:, 3:].sum(axis=1)))
    deviation = np.abs(response - final)
    alive = np.flatnonzero(deviation > SETTLED * np.abs(response).max())
    return float((alive[-1] + 1) / sfreq) if len(alive) else 0.0


class CausalFilter:
    """Butterworth band-pass and notches with float64 state carried over chunk borders.

    Attributes
    ----------
    sos : ndarray, shape (n_sections, 6)
    settling_time : float
        s; see `settling_time`.
    """

    def __init__(self, config: FilterConfig, info: Info) -> None:
        self.info = info
        self.sos = design(config, info.sfreq)
        self.settling_time = settling_time(self.sos, info.sfreq)
        self._unit_state = signal.sosfilt_zi(self.sos) if len(self.sos) else np.empty((0, 2))
        self._state: Float64 | None = None

    def reset(self) -> None:
        """Forget the state: the next sample starts a new gap-free run."""
        self._state = None

    def process(self, data: Float32) -> Float32:
        """Filter the next samples of the run; any cut gives the same bits.

        The first sample of a run sets the state as if its value had always been there, which
        keeps the electrode's offset from ringing. (The mean of the first chunk, as elsewhere,
        would depend on how long that chunk is.)

        Parameters
        ----------
        data : ndarray, shape (n_channels, n_times), float32, microvolts
            Finite: values that were not are replaced on the way in.

        Returns
        -------
        ndarray, shape (n_channels, n_times), float32, microvolts
        """
        if not len(self.sos) or data.shape[1] == 0:
            return data
        samples = data.astype(np.float64, order="C")
        if self._state is None:
            # (n_channels, n_sections, 2), as the kernel wants it
            start = self._unit_state[np.newaxis] * samples[:, :1, np.newaxis]
            self._state = np.ascontiguousarray(start)
        if _kernel is not None:
            _kernel(self.sos, samples, self._state)  # both in place
        else:
            samples, state = signal.sosfilt(self.sos, samples, zi=self._state.transpose(1, 0, 2))
            self._state = np.ascontiguousarray(state.transpose(1, 0, 2))
        result: NDArray[np.float32] = samples.astype(np.float32)
        return result

    def group_delay(self, freq: float = 10.0) -> float:
        """Delay of a narrow band around `freq` (Hz), s."""
        if not len(self.sos):
            return 0.0
        step = 1e-3
        around = np.array([freq - step, freq + step])
        _, response = signal.sosfreqz(self.sos, worN=around, fs=self.info.sfreq)
        turn = float(np.angle(response[1] / response[0]))
        return -turn / (2 * np.pi * 2 * step)
