"""Waiting for what another thread or process does, instead of sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], timeout: float = 30.0) -> float:
    """Wait until a condition holds, at most `timeout` s; how long that took, s."""
    pause, began = threading.Event(), time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, f"it did not come within {timeout:g} s"
        pause.wait(0.01)
    return time.monotonic() - began
