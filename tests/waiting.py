"""Waiting for what another thread or process does, instead of sleeping; and timing promises.

Two things are told apart. How long a test waits before it gives up (`PATIENCE`) is no promise of
ours: it costs time only where something is broken, so it is long. What we promise (an alarm within
a second) is measured with a `Stopwatch`, which leaves out the time in which the machine had fewer
processors than work: a test that runs beside others must not fail for their sake.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 120.0
"""Longest wait for anything that must happen, s."""
_PRESSURE = Path("/proc/pressure/cpu")


def starved() -> float:
    """Time in which something on this machine waited for a processor, since it started, s.

    0 where the system does not say: there a `Stopwatch` is a plain clock.
    """
    try:
        some = _PRESSURE.read_text(encoding="ascii").splitlines()[0]
    except (OSError, IndexError):
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6


class Stopwatch:
    """Time since its making, less the time in which the machine was short of processors."""

    def __init__(self) -> None:
        self._began, self._starved = time.monotonic(), starved()

    def seconds(self) -> float:
        """Read it, s."""
        return max(0.0, time.monotonic() - self._began - (starved() - self._starved))


def wait_for(condition: Callable[[], object], timeout: float = PATIENCE) -> float:
    """Wait until a condition holds, at most `timeout` s; how long that took by a `Stopwatch`, s."""
    pause, began, watch = threading.Event(), time.monotonic(), Stopwatch()
    while not condition():
        assert time.monotonic() - began < timeout, f"it did not come within {timeout:g} s"
        pause.wait(0.01)
    return watch.seconds()
