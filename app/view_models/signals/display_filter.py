"""The filter of the traces on the screen; it has nothing to do with the pipeline's.

Owns a causal filter whose state is carried over pushes. Knows nothing of Qt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.values import Float32


@dataclass(frozen=True, slots=True)
class DisplayFilterConfig:
    """What to remove from the traces before drawing; edges in Hz, None: none."""

    name: str
    l_freq: float | None = 0.5
    h_freq: float | None = None
    notch_freq: float | None = None


DISPLAY_FILTERS: tuple[DisplayFilterConfig, ...] = (
    DisplayFilterConfig("DC removed", l_freq=0.5),
    DisplayFilterConfig("DC removed, no 50 Hz", l_freq=0.5, notch_freq=50.0),
    DisplayFilterConfig("DC removed, no 60 Hz", l_freq=0.5, notch_freq=60.0),
    DisplayFilterConfig("1–40 Hz", l_freq=1.0, h_freq=40.0, notch_freq=50.0),
    DisplayFilterConfig("Raw, centred", l_freq=None),
)
"""The choices the window offers; the first is the default and keeps every spike's height."""


class DisplayFilter:
    """A causal Butterworth filter for drawing.

    Values that are not finite repeat the last good one, else one NaN would blind the channel
    for ever. The first sample settles the filter, so a trace starts on its baseline. The output
    does not depend on where the stream is cut.
    """

    def __init__(self, config: DisplayFilterConfig, *, n_channels: int, sfreq: float) -> None:
        self.config = config
        self._sos = _design(config, sfreq)
        self._n_channels = n_channels
        self._state: NDArray[np.float64] | None = None
        self._last = np.zeros(n_channels, dtype=np.float32)
        self._offset: Float32 | None = None

    def reset(self) -> None:
        """Forget the past: after a gap."""
        self._state = None
        self._offset = None

    def __call__(self, data: Float32) -> Float32:
        """Filter `data`, shape (n_channels, n_times), microvolts; the same shape comes back."""
        if data.shape[1] == 0:
            return data
        data = self._finite(data)
        if self._offset is None:
            self._offset = data[:, :1].copy()
        if self._sos is None:
            return data - self._offset
        from scipy import signal

        if self._state is None:
            settled = signal.sosfilt_zi(self._sos)
            first = data[:, 0].astype(np.float64)
            self._state = settled[:, None, :] * first[None, :, None]
        filtered, self._state = signal.sosfilt(
            self._sos, data.astype(np.float64), axis=-1, zi=self._state
        )
        return np.asarray(filtered, dtype=np.float32)

    def _finite(self, data: Float32) -> Float32:
        good = np.isfinite(data)
        if not good.all():
            data = data.copy()
            for channel in np.flatnonzero(~good.all(axis=1)):
                row = good[channel]
                source = np.maximum.accumulate(np.where(row, np.arange(row.size), -1))
                filled = np.where(source >= 0, data[channel, source], self._last[channel])
                data[channel] = filled
        self._last = data[:, -1].copy()
        return data


def _design(config: DisplayFilterConfig, sfreq: float) -> NDArray[np.float64] | None:
    """Return second-order sections; edges that the rate cannot carry are left out."""
    from scipy import signal

    nyquist = sfreq / 2
    sections = []
    if config.l_freq is not None and config.l_freq < nyquist:
        sections.append(signal.butter(2, config.l_freq, "highpass", fs=sfreq, output="sos"))
    if config.h_freq is not None and config.h_freq < nyquist:
        sections.append(signal.butter(4, config.h_freq, "lowpass", fs=sfreq, output="sos"))
    if config.notch_freq is not None and config.notch_freq < nyquist:
        b, a = signal.iirnotch(config.notch_freq, 20.0, fs=sfreq)
        sections.append(signal.tf2sos(b, a))
    return np.concatenate(sections) if sections else None
