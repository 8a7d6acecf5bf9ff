"""A channel that counts: how its numbers follow each other, so that loss is exact.

A package number is not a count of samples: boards send one number for several samples, count by
two, start again at 100 or 201. Owns the pattern of the numbers and how far one is from another.
Knows of stamps only how far they say the stream went. What pattern a stream has, and whether it is
to be believed, is `pipeline.counter_watch`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

WRAPS = (256, 1024, 4096, 65536, 2**24, 2**32)
"""Where counters of the field wrap (8, 10, 12, 16, 24, 32 bits)."""


@dataclass(frozen=True, slots=True)
class CounterPattern:
    """How a counter goes on.

    Attributes
    ----------
    step : int
        From one number to the next.
    repeats : int
        Samples that carry the same number.
    last : int or None
        The number after which it starts again at `first`; None: not known.
    first_repeats : int
        Samples that carry `first`; 0: as many as any other (a Ganglion's 0 stands once).
    second : int or None
        The number after `first`; None: `first` + `step` (a Ganglion may go from 0 to 101).
    """

    step: int = 1
    repeats: int = 1
    last: int | None = None
    first: int = 0
    first_repeats: int = 0
    second: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it goes up by one a sample, with a wrap that is not known."""
        return self.step == 1 and self.repeats == 1 and self.last is None

    @property
    def lap(self) -> int | None:
        """Samples from one start to the next; None: not known."""
        if self.last is None:
            return None
        n_values = (self.last - self._second) // self.step + 1
        return self.repeats_of(self.first) + n_values * self.repeats

    @property
    def _second(self) -> int:
        return self.first + self.step if self.second is None else self.second

    def repeats_of(self, value: float) -> int:
        """Samples that carry this number."""
        is_first = self.last is not None and value == self.first
        return self.first_repeats if is_first and self.first_repeats else self.repeats

    def after(self, value: float) -> float:
        """The number that follows."""
        if self.last is not None:
            if value == self.last:
                return self.first
            if value == self.first:
                return self._second
        return value + self.step

    def place(self, value: float, nth: int) -> int | None:
        """Samples from the start of the lap to the `nth` (from 0) of this number; None: no such."""
        if self.last is None or not math.isfinite(value):
            return None
        if value == self.first:
            return nth
        steps, rest = divmod(value - self._second, self.step)
        if rest or not self._second <= value <= self.last:
            return None
        return self.repeats_of(self.first) + int(steps) * self.repeats + nth

    def to_table(self) -> dict[str, list[str]]:
        """As a stream's description holds it."""
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: [str(value)] for name, value in values if value is not None}

    @classmethod
    def of_stream(cls, desc: Mapping[str, Any]) -> CounterPattern | None:
        """The pattern in a stream's description (`acquisition/counter`); None without one."""
        table: Any = desc
        for word in ("acquisition", "counter"):
            table = table.get(word) if isinstance(table, Mapping) else None
            table = table[0] if isinstance(table, list | tuple) and table else table
        if not isinstance(table, Mapping):
            return None
        try:
            found = {f.name: int(str(table[f.name][0])) for f in fields(cls) if table.get(f.name)}
            pattern = cls(**found)
        except (TypeError, ValueError, IndexError, KeyError):
            return None
        is_possible = pattern.step > 0 and pattern.repeats > 0 and pattern.first_repeats >= 0
        is_possible &= pattern.last is None or pattern.first < pattern._second <= pattern.last
        return pattern if is_possible else None


PLAIN = CounterPattern()
"""Up by one a sample."""

_State = tuple[float, int, bool]
"""A number, which of its samples this is (from 0), and whether that is known."""


class SampleCounter:
    """Follows a counter of a known pattern, sample by sample."""

    def __init__(self, pattern: CounterPattern = PLAIN) -> None:
        self.pattern = pattern
        self._at: _State | None = None
        self._expected: float | None = None
        self._largest = 0.0

    @property
    def value(self) -> float | None:
        """The newest number; None before the first."""
        return None if self._at is None else self._at[0]

    @property
    def n_here(self) -> int:
        """Samples of the newest number so far."""
        return 0 if self._at is None else self._at[1] + 1

    def moved(self, pattern: CounterPattern) -> SampleCounter:
        """The counter at the same place of another pattern."""
        other = SampleCounter(pattern)
        other._expected, other._largest = self._expected, self._largest
        if self._at is not None:
            value, nth, is_known = self._at
            other._at = value, nth, is_known and pattern.repeats == self.pattern.repeats
        return other

    def begin(self, count: float) -> None:
        """The run starts at this number: which of its samples this is, nobody knows."""
        self._largest = max(self._largest, count)
        self._at, self._expected = (count, 0, self.pattern.repeats == 1), None

    def accept(self, counts: list[float], at: int, stop: int) -> None:
        """The samples from `at` up to `stop` were taken: each the next one of the one before."""
        pattern, last = self.pattern, counts[stop - 1]
        self._largest = max(self._largest, last)
        if pattern.is_plain:
            self._at, self._expected = (last, 0, True), None
            return
        state = self._taken(counts[at])
        for count in counts[at + 1 : stop]:
            state = _follow(pattern, state, count) or (count, 0, True)
        self._at, self._expected = state, None

    def expect(self, count: float) -> None:
        """Take this number as the next one, whatever came before."""
        self._expected = count

    def is_next(self, count: float) -> bool:
        """Whether this is the number that must follow (or none can be told)."""
        if self._expected is not None:
            return count == self._expected
        if self._at is None:
            return True
        if self.pattern.is_plain:
            return count == self._at[0] + 1
        return _follow(self.pattern, self._at, count) is not None

    def run_end(self, counts: list[float], at: int) -> int:
        """Position after the last of the numbers that follow the one at `at` without a break."""
        if self.pattern.is_plain:
            expected = counts[at]
            for i in range(at, len(counts)):
                if counts[i] != expected:
                    return i
                expected += 1
            return len(counts)
        state = self._taken(counts[at])
        for i in range(at + 1, len(counts)):
            after = _follow(self.pattern, state, counts[i])
            if after is None:
                return i
            state = after
        return len(counts)

    def advance(self, count: float, by_stamps: float) -> int | None:
        """How many samples on from the last one this is; 0 or less: it came before.

        None: the pattern has no place for it.

        Parameters
        ----------
        count : float
        by_stamps : float
            How many samples on the stamps say it is; tells a loss of a whole lap from none.
        """
        if self._at is None or not math.isfinite(count):
            return 1
        if self._expected is not None and self.pattern.is_plain:
            before, nth = self._expected - 1, 0
        else:
            before, nth, is_known = self._at
            if not is_known:  # no loss is made up of not knowing
                nth = max(nth, self.pattern.repeats_of(before) - 1)
        step, lap = self._distance(before, nth, count)
        if step is None:
            return None
        if not math.isfinite(by_stamps):
            return step if step >= 0 else step + lap
        return step + lap * round((by_stamps - step) / lap)

    def _distance(self, before: float, nth: int, count: float) -> tuple[int | None, int]:
        """Samples from the `nth` of `before` to the first of `count`, and those of a lap."""
        pattern = self.pattern
        lap = pattern.lap
        if lap is None:
            # Only a counter that is seen to fall, or that has a short wrap, can have gone round.
            wrap = next((wrap for wrap in WRAPS if max(self._largest, count) < wrap), WRAPS[-1])
            lap = max(1, wrap // pattern.step * pattern.repeats)
            steps, rest = divmod(round(count - before), pattern.step)
            there = None if rest else steps * pattern.repeats
            here: int | None = 0
        else:
            here, there = pattern.place(before, 0), pattern.place(count, 0)
        if here is None or there is None:
            return None, lap
        if count == before:  # one more of its samples, or one that came twice
            return (1 if nth + 1 < pattern.repeats_of(before) else 0), lap
        step = there - here - nth
        return (step if pattern.lap is None else (step + nth) % lap - nth), lap

    def _taken(self, count: float) -> _State:
        """The state once this number was taken, whatever it is."""
        if self._expected is None and self._at is not None:
            after = _follow(self.pattern, self._at, count)
            if after is not None:
                return after
        return count, 0, self._at is not None or self.pattern.repeats == 1


def _follow(pattern: CounterPattern, state: _State, count: float) -> _State | None:
    """The state after a number that goes on; None for one that does not."""
    value, nth, is_known = state
    is_whole = nth + 1 >= pattern.repeats_of(value)
    if count == value and not is_whole:
        return value, nth + 1, is_known
    if count == pattern.after(value) and (is_whole or not is_known):
        return count, 0, True
    return None
