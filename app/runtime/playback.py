"""A replay that a person may stop, hurry, move and repeat; satisfies `app.port.Playback`.

Owns the play head's clock, by which `devices.replay.RecordedSource` is paced, and hands the rest
on to that source. Safe from any thread.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from app.errors import AppError
from app.port import Movable

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
        self._source: Movable | None = None

    def attach(self, source: Movable) -> None:
        """Tell what `seek` and `set_loop` move."""
        self._source = source

    @property
    def loop(self) -> bool:
        """Whether it starts again at the end."""
        return self._source is not None and self._source.loop

    @property
    def position(self) -> float:
        """Where it stands, s from the recording's first sample."""
        return 0.0 if self._source is None else self._source.position

    @property
    def duration(self) -> float | None:
        """Length of the recording, s; None: unknown."""
        return None if self._source is None else self._source.duration

    def set_loop(self, on: bool) -> None:
        """Start again at the end, or end there."""
        if self._source is not None:
            self._source.set_loop(on)

    def seek(self, seconds: float) -> None:
        """Go on `seconds` after the recording's first sample."""
        if not math.isfinite(seconds):
            raise AppError(f"seek has {seconds}, expected seconds from the recording's start.")
        if self._source is not None:
            self._source.seek(seconds)

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
