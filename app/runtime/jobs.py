"""The epochs that wait for the decoder: a short queue that says how long each has waited.

Owns the bound and the waiting; safe from any thread. Knows nothing of processes or answers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from app.runtime.messages import Job


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A queued job and when it was queued, `time.monotonic`, s."""

    job: Job
    since: float

    @property
    def age(self) -> float:
        """How long it has waited, s."""
        return time.monotonic() - self.since


class JobQueue:
    """Jobs in order of arrival, at most `size`; a closed one takes no more."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job, *, wait: bool) -> bool:
        """Add a job; False when closed, or when full and not to `wait` for room."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._size)
            if self._closed or len(self._waiting) >= self._size:
                return False
            self._waiting.append(Waiting(job, time.monotonic()))
            self._changed.notify_all()
            return True

    def get(self, timeout: float) -> Waiting | None:
        """Take the oldest, waiting up to `timeout` s for one; None without one."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting, timeout)
            return self._take()

    def take_oldest(self, *, older_than: float = -1.0) -> Waiting | None:
        """Take the oldest at once if it has waited longer than `older_than` s; else None."""
        with self._changed:
            if not self._waiting or self._waiting[0].age <= older_than:
                return None
            return self._take()

    def close(self) -> None:
        """Take no more jobs and wake whoever waits; what is queued can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self) -> Waiting | None:
        if not self._waiting:
            return None
        taken = self._waiting.popleft()
        self._changed.notify_all()
        return taken
