"""The clock of a replay that a person may stop and hurry.

Owns the play head's time only; `devices.replay.RecordedSource` is paced by it. Safe from any
thread.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from app.errors import AppError

_NAP = 0.02
"""Longest wait at once, s: so soon does a change of pace show."""


class PlaybackClock:
    """Seconds that stand still while paused and run `speed` times as fast as real ones."""

    def __init__(self, speed: float = 1.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._speed = speed
        self._paused = False
        self._at = 0.0
        self._since = clock()
        self._stop = threading.Event()

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._paused

    @property
    def speed(self) -> float:
        """Times real time."""
        return self._speed

    def follow(self, stop: threading.Event) -> None:
        """Run on, paused or not, once `stop` is set: who waits by this clock must come back."""
        self._stop = stop

    def now(self) -> float:
        """Return the play head's time, s."""
        with self._lock:
            return self._turn()

    def set_paused(self, paused: bool) -> None:
        """Stand still, or go on."""
        with self._lock:
            self._turn()
            self._paused = paused

    def set_speed(self, speed: float) -> None:
        """Run `speed` times as fast as real time."""
        if not (math.isfinite(speed) and speed > 0):
            raise AppError(f"speed is {speed}, expected a number above 0: 1 is real time.")
        with self._lock:
            self._turn()
            self._speed = speed

    def wait(self, seconds: float) -> None:
        """Wait until about `seconds` of play have passed, or a moment, whichever is sooner."""
        self._stop.wait(min(_NAP, max(0.0, seconds) / self._speed))

    def _turn(self) -> float:
        """Carry the time up to the present; the lock is held."""
        real = self._clock()
        if not self._paused or self._stop.is_set():
            self._at += (real - self._since) * self._speed
        self._since = real
        return self._at
