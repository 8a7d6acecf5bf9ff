"""A channel that counts samples: unwrapped, so that loss is exact.

Owns the wrap of the counter. Knows of stamps only how far they say the stream went.
"""

from __future__ import annotations

import math

WRAPS = (256, 1024, 4096, 65536, 2**24, 2**32)
"""Where counters of the field wrap (8, 10, 12, 16, 24, 32 bits)."""


class SampleCounter:
    """Follows a counter that goes up by one a sample and may wrap."""

    def __init__(self) -> None:
        self._next: float | None = None
        self._largest = 0.0

    def accept(self, count: float) -> None:
        """The sample with this count was taken."""
        self._largest = max(self._largest, count)
        self._next = count + 1

    def expect(self, count: float) -> None:
        """Take this count as the next one, whatever came before."""
        self._next = count

    def is_next(self, count: float) -> bool:
        """Whether this is the count that must follow (or none can be told)."""
        return self._next is None or count == self._next

    def run_end(self, counts: list[float], at: int) -> int:
        """Position after the last of the counts that go up by one from `at`."""
        # One comparison finds the usual case, a run to the end, without a loop: in between it
        # can only have gone wrong if a loss and as many duplicates cancel, which the loop sees.
        expected = counts[at]
        for i in range(at, len(counts)):
            if counts[i] != expected:
                return i
            expected += 1
        return len(counts)

    def advance(self, count: float, by_stamps: float) -> int:
        """How many samples on from the last one this is; 0 or less: it came before.

        Parameters
        ----------
        count : float
        by_stamps : float
            How many samples on the stamps say it is; tells a loss of a whole wrap from none.
        """
        if self._next is None or not math.isfinite(count):
            return 1
        step = round(count - self._next) + 1
        # Only a counter that is seen to fall, or that has a short wrap, can have gone round.
        wrap = next((wrap for wrap in WRAPS if max(self._largest, count) < wrap), WRAPS[-1])
        return step + wrap * round((by_stamps - step) / wrap)
