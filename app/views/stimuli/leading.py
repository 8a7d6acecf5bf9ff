"""Opens the stimulus window for whoever shall look, counts down, and only then lets pictures come.

Owns the countdown and when it begins anew. What waits for it, a session or a calibration, is asked
and told through two functions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from app.views.stimuli.window import StimulusWindow

COUNTDOWN = 5.0
"""From the open window to the first picture, s: time to look there."""


class Leading:
    """Leads a person to the pictures; `poll` it in every frame.

    Parameters
    ----------
    window : StimulusWindow
    waiting : callable
        What waits for somebody to see its pictures; None: nothing does.
    seen : callable
        Takes whether somebody sees them, whenever that changes.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        window: StimulusWindow,
        *,
        waiting: Callable[[], object | None],
        seen: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window, self._waiting, self._seen, self._clock = window, waiting, seen, clock
        self._opened_for: object | None = None
        self._since: float | None = None
        self._is_seen = False

    def poll(self) -> None:
        """Open the window for what waits, count down while it is visible, say when it is seen."""
        waiting = self._waiting()
        if waiting is None:
            self._forget()
            return
        if waiting is not self._opened_for:
            self._opened_for, self._is_seen = waiting, False
            self._window.show_full()
        if not self._window.isVisible():
            # Closed by the person: the pictures rest until it is opened again.
            self._since = None
            self._tell(on=False)
            return
        if self._is_seen:
            return
        now = self._clock()
        self._since = now if self._since is None else self._since
        left = COUNTDOWN - (now - self._since)
        if left > 0:
            self._window.say(f"Look at the cross. The pictures begin in {math.ceil(left)}.")
        else:
            self._window.say("")
            self._tell(on=True)

    def _tell(self, *, on: bool) -> None:
        if on != self._is_seen:
            self._is_seen = on
            self._seen(on)

    def _forget(self) -> None:
        if self._opened_for is not None:
            self._window.say("")
        self._opened_for, self._since, self._is_seen = None, None, False
