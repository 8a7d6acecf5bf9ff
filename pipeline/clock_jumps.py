"""What becomes of the clock's offset when stamps jump: the clock did, or the stamps alone did.

Owns the doubt after a jump and what ends it: a probe that explains the jump, probes that see none,
or, where no probe comes (or none explains it), the samples' arrival. Samples that were as young as
20 ms when they came and are an hour old from one packet to the next did not age: their clock is
another one, and the offset moves by what they seem to have aged. Knows nothing of lines and runs.
"""

from __future__ import annotations

import math
from typing import Final

from pipeline.clock import TOLERANCE, OffsetTracker

EXPLAINS: Final = 0.1
"""A probe that moves the offset by what the stamps jumped, this exactly, is believed at once, s."""
N_AGREEING: Final = 3
"""Probes that see no change, after which a jump of the stamps is taken as it is."""
PATIENCE: Final = 12.0
"""How long a probe may explain a jump before the samples' arrival does, s: two probes' time."""
USUAL: Final = 10.0
"""The usual age of samples is the least one of this long, up to twice as long, s."""
CONFIRMED: Final = "the clock's offset is confirmed after a jump of the stamps"


class LeastAge:
    """The least age that samples arrived with in the last while; infinite: not known."""

    def __init__(self) -> None:
        self._since = -math.inf
        self._before = self._now = math.inf

    @property
    def value(self) -> float:
        """In s."""
        return min(self._before, self._now)

    def note(self, age: float, at: float) -> None:
        """Take the age (s) of samples that arrived at `at` (s, this machine's clock)."""
        if not at - self._since < USUAL:
            self._since, self._before, self._now = at, self._now, math.inf
        self._now = min(self._now, age)


class ClockJumps:
    """Keeps an `OffsetTracker` right when the stamps of its sender jump.

    Attributes
    ----------
    moved : float
        By how much arrivals have moved the offset so far, s; what else the same sender stamps may
        be off by as much.
    """

    def __init__(
        self, clock: OffsetTracker, *, by_arrival: bool, patience: float = PATIENCE
    ) -> None:
        self._clock, self._by_arrival, self._patience = clock, by_arrival, patience
        self.moved = 0.0
        # What probes are behind the belief by, as long as they see nothing of a move, s.
        self._unseen = 0.0
        self._jump: float | None = None
        self._n_agreeing = 0
        self._usual, self._since_jump = LeastAge(), LeastAge()
        self._began = math.inf
        self._news: list[str] = []

    @property
    def are_open(self) -> bool:
        """Whether the offset is in doubt."""
        return self._jump is not None

    def begin(self, jump: float) -> None:
        """Stamps jumped by `jump`, s, and no loss explains that."""
        if self._jump is None:
            self._jump, self._n_agreeing = jump, 0
            self._since_jump, self._began = LeastAge(), math.inf

    def drop(self) -> None:
        """The stream came back: the next probe is believed, whatever was in doubt."""
        self._jump = None
        self._clock.renew()

    def probe(self, measured_at: float, offset: float) -> str:
        """Take a clock probe; why a new run starts, empty where none does."""
        before = self._clock.offset
        if abs(offset + self._unseen - before) < abs(offset - before):
            offset += self._unseen
        else:
            self._unseen = 0.0
        explains = self._jump is not None and abs(offset - before + self._jump) <= EXPLAINS
        if self._clock.add(measured_at, offset, certain=explains):
            self._jump = None
            return f"clock offset moved by {self._clock.offset - before:+.3f} s"
        if self._jump is not None:
            self._n_agreeing += abs(offset - before) <= TOLERANCE
            if self._n_agreeing >= N_AGREEING and not self._by_arrival:
                self._jump = None
                return CONFIRMED
        return ""

    def note(self, newest: float, received_at: float, *, is_doubtful: bool) -> None:
        """Take the time of a sample by the belief, and its arrival, s, this machine's clock."""
        if not math.isfinite(received_at):
            return
        if is_doubtful:
            self._began = min(self._began, received_at)
        ages = self._since_jump if is_doubtful else self._usual
        ages.note(received_at - newest, received_at)

    def settle(self, received_at: float) -> str:
        """End a doubt that no probe has ended, by arrival; why a new run starts, else empty."""
        if self._jump is None or not self._by_arrival:
            return ""
        if not received_at - self._began >= self._patience:  # or nobody noted when they came
            return ""
        moved = self._since_jump.value - self._usual.value
        self._jump = None
        if not math.isfinite(moved) or abs(moved) <= EXPLAINS:
            return CONFIRMED
        self._clock.add(received_at, self._clock.offset + moved, certain=True)
        self._clock.renew()
        self.moved += moved
        self._unseen += moved
        self._news.append(
            f"The stamps of the EEG stream jumped by {-moved:+.1f} s and no clock probe explains "
            "it: their times go by the samples' arrival since. Restart its sender to be exact."
        )
        return f"the sender's clock moved by {-moved:+.3f} s, as samples arrive"

    def take_news(self) -> list[str]:
        """Give the sentences on moves since the last call."""
        news, self._news = self._news, []
        return news
