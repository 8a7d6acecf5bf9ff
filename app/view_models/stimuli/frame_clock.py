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
EARLY, LATE = 0.2, 0.02
"""How far a flip moves the frames' grid towards it (relative): stamps are late, hardly early."""
STEADY = 0.75
"""Share of intervals that are whole frames when a screen holds the flips."""


class FrameClock:
    """Counts the refreshes of a screen that says it has `nominal_hz`.

    Flips are compared with an even grid that follows them slowly: a stamp that is late by itself,
    followed by one in time, is two frames and no drop. With `follows_screen` False a timer makes
    the flips: then they say nothing of the screen's refresh, and the grid is the timer's.
    """

    def __init__(self, nominal_hz: float, *, follows_screen: bool = True) -> None:
        self.nominal_hz = nominal_hz if nominal_hz > 1 else 60.0
        self.follows_screen = follows_screen
        self.index = -1
        """Number of the refresh of the newest flip; -1 before the first."""
        self.n_flips = self.n_dropped = 0
        self.worst_gap = 0.0
        """Longest time between two flips, s."""
        self._last: float | None = None
        self._refresh = -1
        self._grid = 0.0
        """Where the grid has the newest flip, s."""
        self._intervals: deque[float] = deque(maxlen=N_INTERVALS)

    @property
    def period(self) -> float:
        """Length of a frame, s: measured once enough frames were seen."""
        hz = self.refresh_hz
        return 1.0 / (self.nominal_hz if hz is None else hz)

    @property
    def refresh_hz(self) -> float | None:
        """Measured rate, Hz; None while too few intervals were one frame long, and for a timer."""
        if not self.follows_screen:
            return None
        near = [each for each in self._intervals if abs(each * self.nominal_hz - 1) <= NEAR]
        return 1.0 / median(near) if len(near) >= N_FOR_ESTIMATE else None

    @property
    def is_held(self) -> bool:
        """Whether flips come at whole frames; where nothing holds them they come at any time."""
        whole = 0
        for each in self._intervals:
            n_frames = each * self.nominal_hz
            whole += abs(n_frames - max(1, round(n_frames))) <= NEAR
        return whole >= STEADY * len(self._intervals)

    @property
    def in_step(self) -> bool:
        """Whether the measured rate is the one that the screen states."""
        hz = self.refresh_hz
        return hz is not None and abs(hz / self.nominal_hz - 1) <= TOLERANCE

    def due(self) -> float | None:
        """When the next flip is expected, s; None before the first."""
        return None if self._last is None else self._grid + self.period

    def pause(self) -> None:
        """Forget the last flip: what comes next is no dropped frame, the numbers go on."""
        self._last = None

    def flip(self, stamp: float) -> int:
        """Take the time of a flip, s; return the number of its refresh."""
        if self._last is None:
            self.index += 1
            self._refresh, self._grid = self.index, stamp
        else:
            period = self.period
            # May be 0: a stamp in time after a late one. The numbers grow all the same, and what
            # they are ahead the next dropped frame takes back.
            n_frames = max(0, round((stamp - self._grid) / period))
            self._refresh += n_frames
            before, self.index = self.index, max(self.index + 1, self._refresh)
            self.n_dropped += self.index - before - 1
            expected = self._grid + n_frames * period
            off = stamp - expected
            self._grid = expected + off * (EARLY if off < 0 else LATE)
            self.worst_gap = max(self.worst_gap, stamp - self._last)
            self._intervals.append(stamp - self._last)
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
    hz = figures.refresh_hz
    measured = "refresh not measured" if hz is None else f"{hz:.2f} Hz measured"
    return (
        f"{measured} ({figures.nominal_hz:g} Hz stated) · {figures.n_dropped} of "
        f"{figures.n_frames + figures.n_dropped} frames dropped · {figures.method}"
    )
