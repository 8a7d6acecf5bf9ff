"""How a source delivers: how much at once, and since when not at all.

Pure bookkeeping: every time is an argument (seconds, `local_clock`), so that tests need no clock.
Knows nothing of LSL.
"""

from __future__ import annotations

from collections import deque
from statistics import median

LINGER = 0.003
"""Longest wait for the rest of a burst whose first samples are here, s."""


class BurstModel:
    """Learns how many samples a source sends at once, so that a pull can take them together.

    liblsl hands samples over one by one while a chunk is still arriving: a pull that returns with
    the first sample gets a part of the chunk, one that waits a fixed time adds that time to every
    picture. So a pull waits for the first sample, then for as many as last time came together.
    A source that sends single samples is gathered for one chunk length instead.

    Parameters
    ----------
    sfreq : float
        Nominal rate, Hz; 0 gathers nothing.
    chunk : float
        Longest time to gather single samples, s.
    """

    def __init__(self, sfreq: float, chunk: float) -> None:
        self._period = 1.0 / sfreq if sfreq > 0 else 0.0
        self._chunk = chunk
        self._target = max(1, int(sfreq * chunk))
        self._run = 0
        self._idle = 0.0
        self.burst = 1

    def first(self, *, n_samples: int, waited: float) -> tuple[int, float]:
        """Take note of a pull for the first sample; return what to wait for.

        Returns
        -------
        n_more : int
            Samples to pull in addition; 0: hand on what is here.
        timeout : float
            Longest wait for them, s.
        """
        self._idle += waited
        if n_samples == 0:
            return 0, 0.0
        if self._idle > 0.5 * self._period and self._run:
            self.burst, self._run = self._run, 0
        self._idle = 0.0
        self._run += n_samples
        if self._period == 0.0:
            return 0, 0.0
        if self.burst > 1:
            return max(0, self.burst - self._run), LINGER
        return max(0, self._target - n_samples), self._chunk

    def rest(self, *, n_samples: int, waited: float) -> None:
        """Take note of the second pull: samples that came one by one were no burst."""
        self._run += n_samples
        if not n_samples:
            self._idle += waited  # silence, as if it had been waited for a first one
        if n_samples and waited > 0.5 * n_samples * self._period:
            self.burst = self._run = 1


class Liveness:
    """Tells when a stream has stalled: 0.9 s, or three of its own intervals, without a sample.

    The floor leaves time to say so within a second of the last sample. `period` is the interval
    that the stream declares, s.
    """

    FLOOR = 0.9
    INTERVALS = 3.0

    def __init__(self, now: float, period: float = 0.0) -> None:
        self.last = now
        self._period = period
        self._gaps: deque[float] = deque(maxlen=8)

    def data(self, now: float) -> None:
        """Take note of samples."""
        gap = now - self.last
        if gap > 0.005:  # the parts of one burst are no interval
            self._gaps.append(gap)
        self.last = now

    @property
    def threshold(self) -> float:
        """Longest silence that is no stall, s."""
        usual = median(self._gaps) if len(self._gaps) >= 3 else 0.0
        return max(self.FLOOR, self.INTERVALS * max(usual, self._period))

    def stalled(self, now: float) -> bool:
        """Tell whether the silence is longer than that."""
        return now - self.last > self.threshold
