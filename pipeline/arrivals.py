"""Whether a stream's times agree with this machine's clock, so that a latency means something.

Owns the judgement, sample time against arrival; pure. A clock that jumped, or that never was ours,
shows as samples from the future, as times that run backwards, or as an age that no buffer explains.
Knows nothing of what becomes of samples: `pipeline.timebase` places them, right or wrong.
"""

from __future__ import annotations

import math
from typing import Final

AHEAD: Final = 0.5
"""Samples stamped later than they arrived, by more than this, tell of another clock, s."""
BACK: Final = 0.05
"""Times that run back further tell of another clock, s."""
BACKLOG: Final = 60.0
"""Older samples than this were kept by nobody: their stamps are wrong, s."""
NEAR: Final = 0.1
"""After a jump the times agree again once samples are as young as before, up to this, s."""


def is_plausible(age: float) -> bool:
    """Whether a sample's age at its arrival, s, can be true."""
    return -AHEAD <= age <= BACKLOG


class Arrivals:
    """Follows the newest sample's time as packets arrive."""

    def __init__(self) -> None:
        self._newest = -math.inf
        self._least = math.inf
        self.agree = False
        """Whether the newest times agree with the clock; not before the first."""

    def note(self, newest: float, arrived: float) -> None:
        """Take a packet: its newest sample's time and its arrival, s, both on this machine's clock.

        A sample's age falls as a backlog is read and is never less than the way it had; so what
        came back as a jump stays one until samples are as young as they were before it.
        """
        age, back = arrived - newest, newest < self._newest - BACK
        self._newest = newest
        oldest = BACKLOG if self.agree or math.isinf(self._least) else self._least + NEAR
        self.agree = not back and -AHEAD <= age <= oldest
        if self.agree:
            self._least = min(self._least, age)
