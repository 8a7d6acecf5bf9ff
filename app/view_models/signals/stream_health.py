"""Packet loss and rate over time: a bounded series of what a stream did, second by second.

Owns the series. Knows nothing of Qt; time is the stream's own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from app.port import Snapshot

MAX_SECONDS = 600
"""Ten minutes are shown; the session's sums are in the snapshot."""
RATE_OVER = 10.0
"""Length over which the rate is counted, s: one packet more or less hardly shows."""
ALERT_SHARE = 0.01
"""Loss in the last minute from which it is shown as a warning."""


@dataclass(frozen=True, slots=True)
class HealthPoint:
    """What one second of the stream brought; `rate` in samples a second, None at first."""

    at: float
    lost: float
    rate: float | None


class StreamHealthModel:
    """Loss and rate of the last ten minutes."""

    def __init__(self) -> None:
        self.points: deque[HealthPoint] = deque(maxlen=MAX_SECONDS)
        self.nominal: float | None = None
        self.revision = 0
        self._counts: deque[tuple[float, int, int]] = deque(maxlen=MAX_SECONDS + 1)

    def reset(self) -> None:
        """Begin anew."""
        self.points.clear()
        self._counts.clear()
        self.nominal = None
        self.revision += 1

    def update(self, snapshot: Snapshot) -> bool:
        """Take the counts at most once a second of stream time; return whether it did."""
        at = snapshot.duration
        if at <= 0 or (self._counts and at < self._counts[-1][0] + 1.0):
            return False
        now = (at, snapshot.n_received, snapshot.n_lost)
        if snapshot.info is not None:
            self.nominal = snapshot.info.sfreq
        if self._counts:
            before = self._counts[-1]
            new, lost = now[1] - before[1], now[2] - before[2]
            share = lost / (new + lost) if new + lost > 0 else 0.0
            self.points.append(HealthPoint(at, share, self._rate(now)))
        self._counts.append(now)
        self.revision += 1
        return True

    @property
    def last_minute(self) -> float | None:
        """Share lost in the last minute; None before there is any data."""
        if len(self._counts) < 2:
            return None
        *before, newest = self._counts
        oldest = next((each for each in before if each[0] >= newest[0] - 60.0), before[-1])
        new, lost = newest[1] - oldest[1], newest[2] - oldest[2]
        return lost / (new + lost) if new + lost > 0 else 0.0

    def _rate(self, now: tuple[float, int, int]) -> float | None:
        """Samples a second that came, over the last ten seconds."""
        recent = (each for each in self._counts if each[0] >= now[0] - RATE_OVER - 1.0)
        since = next(recent, self._counts[-1])  # nothing recent: the window was hidden
        span = now[0] - since[0]
        return (now[1] - since[1]) / span if span >= RATE_OVER / 2 else None
