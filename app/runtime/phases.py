"""Where a session stands, and what may follow.

Owns the transition table and the one lock around the phase; knows nothing of what a phase does.

    IDLE -> STARTING -> RUNNING -> STOPPING -> STOPPED
              |            |          |
              +------------+----------+--> FAILED
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType

from app.port import Phase
from pipeline.errors import TransitionError

TRANSITIONS: Mapping[Phase, frozenset[Phase]] = MappingProxyType(
    {
        Phase.IDLE: frozenset({Phase.STARTING, Phase.STOPPED}),
        Phase.STARTING: frozenset({Phase.RUNNING, Phase.STOPPING, Phase.FAILED}),
        Phase.RUNNING: frozenset({Phase.STOPPING, Phase.FAILED}),
        Phase.STOPPING: frozenset({Phase.STOPPED, Phase.FAILED}),
        Phase.STOPPED: frozenset(),
        Phase.FAILED: frozenset(),
    }
)


class PhaseMachine:
    """The phase of one session, changed under one lock by the table."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._phase = Phase.IDLE
        self._message = "Not started."

    def read(self) -> tuple[Phase, str]:
        """Phase and its sentence, consistent with each other."""
        with self._lock:
            return self._phase, self._message

    def say(self, message: str) -> None:
        """Change the sentence, not the phase."""
        with self._lock:
            self._message = message

    def move(self, to: Phase, message: str) -> None:
        """Change the phase; raise `TransitionError` when the table forbids it."""
        with self._lock:
            if to not in TRANSITIONS[self._phase]:
                raise TransitionError(
                    f"A session that is {self._phase} cannot become {to}: "
                    f"allowed are {sorted(TRANSITIONS[self._phase]) or 'none'}."
                )
            self._phase, self._message = to, message
            self._lock.notify_all()

    def try_move(self, to: Phase, message: str) -> bool:
        """Change the phase if the table allows it; say whether it did."""
        with self._lock:
            if to not in TRANSITIONS[self._phase]:
                return False
            self._phase, self._message = to, message
            self._lock.notify_all()
            return True

    def wait(self, *phases: Phase, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the phase is one of `phases`."""
        with self._lock:
            return self._lock.wait_for(lambda: self._phase in phases, timeout)
