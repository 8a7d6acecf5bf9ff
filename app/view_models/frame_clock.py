"""The screen's time, from its flips: which refresh this is, how long one lasts, what was dropped.

Owns the estimate and the counts; it is handed stamps and asks no clock. Knows nothing of Qt.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from app.port import DisplayFigures

N_INTERVALS = 240
"""Intervals that the estimate looks back on."""
N_FOR_ESTIMATE = 30
"""Fewer single-frame intervals than this give no estimate."""
NEAR = 0.2
"""An interval this close to the stated period (relative) is one frame, and joins the estimate."""
TOLERANCE = 0.02
"""A locked screen's measured rate lies this close to the stated one (relative)."""


class FrameClock:
    """Counts the refreshes of a screen that says it has `nominal_hz`."""

    def __init__(self, nominal_hz: float) -> None:
        self.nominal_hz = nominal_hz if nominal_hz > 1 else 60.0
        self.index = -1
        """Number of the refresh of the newest flip; -1 before the first."""
        self.n_flips = self.n_dropped = 0
        self.worst_gap = 0.0
        """Longest time between two flips, s."""
        self._last: float | None = None
        self._intervals: deque[float] = deque(maxlen=N_INTERVALS)

    @property
    def period(self) -> float:
        """Length of a frame, s: measured once enough frames were seen."""
        hz = self.refresh_hz
        return 1.0 / (self.nominal_hz if hz is None else hz)

    @property
    def refresh_hz(self) -> float | None:
        """Measured rate, Hz; None while too few intervals were one frame long."""
        near = [each for each in self._intervals if abs(each * self.nominal_hz - 1) <= NEAR]
        return 1.0 / median(near) if len(near) >= N_FOR_ESTIMATE else None

    @property
    def median_interval(self) -> float | None:
        """Median time between flips, s; None while there are too few."""
        if len(self._intervals) < N_FOR_ESTIMATE:
            return None
        return median(self._intervals)

    @property
    def runs_free(self) -> bool:
        """Whether flips come much faster than the screen refreshes: nothing holds them back."""
        typical = self.median_interval
        return typical is not None and typical * self.nominal_hz < 1 - NEAR

    @property
    def in_step(self) -> bool:
        """Whether the measured rate is the one that the screen states."""
        hz = self.refresh_hz
        return hz is not None and abs(hz / self.nominal_hz - 1) <= TOLERANCE

    def due(self) -> float | None:
        """When the next flip is expected, s; None before the first."""
        return None if self._last is None else self._last + self.period

    def pause(self) -> None:
        """Forget the last flip: what comes next is no dropped frame, the numbers go on."""
        self._last = None

    def flip(self, stamp: float) -> int:
        """Take the time of a flip, s; return the number of its refresh."""
        if self._last is None:
            self.index += 1
        else:
            interval = stamp - self._last
            n_frames = max(1, round(interval / self.period))
            self.index += n_frames
            self.n_dropped += n_frames - 1
            self.worst_gap = max(self.worst_gap, interval)
            self._intervals.append(interval)
        self._last = stamp
        self.n_flips += 1
        return self.index

    def figures(self, method: str, *, locked: bool) -> DisplayFigures:
        """Everything measured, for the summary and the screen."""
        hz = self.refresh_hz
        return DisplayFigures(
            method=method,
            locked=locked,
            nominal_hz=round(self.nominal_hz, 3),
            refresh_hz=None if hz is None else round(hz, 3),
            n_frames=self.n_flips,
            n_dropped=self.n_dropped,
            worst_gap_ms=round(1000 * self.worst_gap, 2),
        )


def in_words(figures: DisplayFigures) -> str:
    """Return the figures as one line for a person."""
    measured = (
        "measuring" if figures.refresh_hz is None else f"{figures.refresh_hz:.2f} Hz measured"
    )
    return (
        f"{measured} ({figures.nominal_hz:g} Hz stated) · {figures.n_dropped} of "
        f"{figures.n_frames + figures.n_dropped} frames dropped · {figures.method}"
    )
