"""The live spectrum: how strong each frequency is by now, and whether the mains leak in.

Owns the estimate (Welch's, of raw samples) and the verdict on 50 and 60 Hz. Knows nothing of Qt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.view_models.signals.traces import TraceSource
from pipeline.values import Float64

SECONDS = 8.0
"""Length that is averaged, s."""
SEGMENT = 2.0
"""Length of one segment, s: the resolution is its inverse."""
PERIOD = 0.5
"""New data between two estimates, s: nobody reads a curve that changes faster."""
LINES_HZ = (50.0, 60.0)
FLAG_DB = 6.0
"""Power of a line above its neighbours from which it is flagged, dB."""
TOP_HZ = 80.0
_NEAR, _AROUND = 1.0, 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """One estimate.

    `freqs` (n_freqs,) Hz; `levels` (n_channels, n_freqs) and `median` (n_freqs,), dB re 1
    microvolt^2/Hz; `lines` are the frequencies of the mains that stand out, with dB above their
    neighbours.
    """

    freqs: Float64
    levels: Float64
    median: Float64
    lines: tuple[tuple[float, float], ...]


def estimate(data: Float64, sfreq: float) -> Spectrum | None:
    """Estimate the spectrum of `data`, (n_channels, n_times) microvolts; None when too short."""
    from scipy import signal  # half a second to import: off the start-up path

    n_segment = round(SEGMENT * sfreq)
    if data.shape[1] < n_segment or not data.shape[0]:
        return None
    freqs, power = signal.welch(data, sfreq, nperseg=n_segment, detrend="constant", axis=1)
    levels = 10 * np.log10(np.maximum(power, 1e-6))
    median = np.median(levels, axis=0)
    lines = tuple(
        (line, excess) for line in LINES_HZ if (excess := _excess(freqs, median, line)) >= FLAG_DB
    )
    shown = (freqs >= 0.5) & (freqs <= TOP_HZ)
    return Spectrum(freqs[shown], levels[:, shown], median[shown], lines)


def _excess(freqs: Float64, levels: Float64, line: float) -> float:
    """How far a line stands above what is beside it, dB; 0 where the rate is too low to tell."""
    apart = np.abs(freqs - line)
    beside = (apart > _NEAR) & (apart <= _AROUND)
    if freqs[-1] < line + _AROUND or not beside.any():
        return 0.0
    return float(levels[apart <= _NEAR].max() - np.median(levels[beside]))


class SpectrumModel:
    """The newest estimate; asks a session for its samples only while somebody looks."""

    def __init__(self) -> None:
        self.spectrum: Spectrum | None = None
        self.revision = 0
        self._next = 0

    def reset(self) -> None:
        """Begin anew."""
        self.spectrum = None
        self._next = 0
        self.revision += 1

    def poll(self, source: TraceSource, sfreq: float) -> bool:
        """Estimate again when there is enough that is new; return whether it did."""
        if not sfreq or source.traces(self._next, 1) is None:
            return False
        block = source.traces(0, round(SECONDS * sfreq))
        if block is None:
            return False
        self._next = block.start + block.data.shape[1] + round(PERIOD * sfreq)
        # A gap would look like a step: only what came after the last one counts.
        first = max([at - block.start for at in block.breaks], default=0)
        found = estimate(block.data[:, first:].astype(np.float64), sfreq)
        if found is None:
            return False
        self.spectrum = found
        self.revision += 1
        return True
