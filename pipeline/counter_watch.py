"""Whether a counter is to be believed: its pattern, learnt before it counts, doubted when it lies.

Owns the trust. A counter begins with the pattern that its board describes, else as up by one a
sample; at the first number that does not fit, the samples wait until a pattern is found in them.
None found, or a pattern that contradicts the stamps over a longer stretch: the stamps count. Every
decision falls at a certain sample, never at the end of a chunk. Knows nothing of samples' values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.counter import PLAIN, CounterPattern, SampleCounter
from pipeline.counter_learning import learn_pattern
from pipeline.line import Line

TRUST = 0.25
"""A counter is believed while it and the stamps differ by no more than this, s."""
WINDOW = 64
"""Numbers in which a pattern is looked for, and after which one that held is proven."""
LONGEST_WINDOW = 160
"""A package of many samples needs more, but no more wait than for these."""
LATER_WINDOW = 2048
"""While the stamps count anyway nobody waits: packages may be long."""
LONG = 60.0
"""Counter and stamps are compared over so long at a time, s."""
MOST_ODD = 3
"""Numbers of no place in the pattern, in that time and beyond 1 %, that end the trust."""
MOST_DOUBTS = 2
"""A counter that lost its trust so often is not tried again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the next `n_times` samples are to be counted; `pattern` None: by their stamps.

    `n_untrue`: samples that the counter told of as lost before, and the stamps did not.
    """

    n_times: int
    pattern: CounterPattern | None
    n_untrue: int = 0


class CounterWatch:
    """Follows a counter beside the stamps.

    Parameters
    ----------
    sfreq : float
        Nominal rate, Hz.
    pattern : CounterPattern, optional
        What the board's description says.

    Attributes
    ----------
    note : str
        One sentence once the stamps count instead; else "".
    """

    def __init__(self, sfreq: float, pattern: CounterPattern | None = None) -> None:
        self.note = ""
        self._sfreq = sfreq
        self._line = Line(sfreq)
        self._counter: SampleCounter | None = SampleCounter(pattern or PLAIN)
        # The newest numbers and stamps, while a pattern is looked for.
        self._counts: list[float] = []
        self._stamps: list[float] = []
        self._is_proven = False
        self._n_doubts = 0
        self._times: list[float] = []
        self._first: float | None = None
        self._fall: tuple[float, float, int] | None = None
        self._n_received = self._n_told = self._n_odd = self._n_strange = 0
        self._n_at_fall = -1

    def restart(self) -> None:
        """The stream came back: perhaps the counter began anew."""
        self._restart_stretch()
        if not self._is_proven or self._counter is None:
            self._counts, self._stamps = [], []

    def read(
        self, counts: list[float], stamps: list[float], *, is_last: bool = False
    ) -> Iterator[Reading]:
        """Judge the next samples; what no reading covers must be given again with those after.

        Parameters
        ----------
        counts, stamps : list of float
            Stamps in s, NaN where there is none.
        is_last : bool
            Nothing comes after them: every sample is judged.
        """
        at = begun = 0
        while at < len(counts):
            if self._pattern is None:
                at, is_found = self._look_again(counts, stamps, at)
                if is_found:
                    yield Reading(at - begun, None)
                    begun = at
                continue
            at = self._go_on(counts, stamps, at)
            if at == len(counts):
                break
            if not self._is_proven:
                if at > begun:
                    yield Reading(at - begun, self._pattern)
                    begun = at
                if not self._settle(counts[at:], stamps[at:], is_last=is_last):
                    return
                continue
            before = self._pattern
            untrue = self._judge(counts[at], stamps[at])
            if untrue is None:
                at += 1
                continue
            yield Reading(at - begun, before)
            begun = at
            yield Reading(0, self._pattern, untrue)
        if at > begun:
            yield Reading(at - begun, self._pattern)

    @property
    def _pattern(self) -> CounterPattern | None:
        return None if self._counter is None else self._counter.pattern

    # -- before there is trust ------------------------------------------------------------------

    def _settle(self, counts: list[float], stamps: list[float], *, is_last: bool) -> bool:
        """Look for the pattern from the first number that does not fit on; False: too few yet."""
        for size in (WINDOW, LONGEST_WINDOW):
            if len(counts) < size and not is_last:
                return False
            window = self._counts + counts[:size]
            found = learn_pattern(window, self._stamps + stamps[:size], self._sfreq)
            if found is not None:
                break
        self._is_proven = True
        is_short = len(counts) < WINDOW
        self._counts, self._stamps = [], []
        if found is not None and self._counter is not None:
            if found != self._counter.pattern:
                self._counter = self._counter.moved(found)
        elif not is_short:
            self._distrust("no pattern is found in its numbers")
        return True

    def _look_again(self, counts: list[float], stamps: list[float], at: int) -> tuple[int, bool]:
        """Collect numbers until a pattern shows: the position after them, and whether it did."""
        if self._n_doubts >= MOST_DOUBTS:
            return len(counts), False
        size = WINDOW
        while size <= len(self._counts):
            size *= 2
        stop = min(len(counts), at + size - len(self._counts))
        self._counts += counts[at:stop]
        self._stamps += stamps[at:stop]
        if len(self._counts) < size:
            return stop, False
        found = learn_pattern(self._counts, self._stamps, self._sfreq)
        if found is not None:
            self._counter = SampleCounter(found)
            self._counter.begin(self._counts[-1])
            self._is_proven = True
            self._restart_stretch()
        if found is not None or size >= LATER_WINDOW:
            self._counts, self._stamps = [], []
        return stop, found is not None

    def _distrust(self, reason: str) -> None:
        self._counter = None
        self._n_doubts += 1
        self._counts, self._stamps = [], []
        self.note = self.note or (
            f"The sample counter is not believed ({reason}): lost samples are told from the "
            "stamps instead."
        )

    # -- with trust -----------------------------------------------------------------------------

    def _go_on(self, counts: list[float], stamps: list[float], at: int) -> int:
        """Take the numbers from `at` that follow the pattern; the position of one that does not."""
        counter = self._counter
        if counter is None or not counter.is_next(counts[at]):
            return at
        stop = counter.run_end(counts, at)
        counter.accept(counts, at, stop)
        if not self._is_proven:
            self._counts += counts[at:stop]
            self._stamps += stamps[at:stop]
            if len(self._counts) >= WINDOW:
                self._is_proven, self._counts, self._stamps = True, [], []
        self._follow(stamps, at, stop)
        return stop

    def _follow(self, stamps: list[float], at: int, stop: int) -> None:
        """Let the line follow the stamps of numbers that follow each other."""
        line, times = self._line, self._times
        while at < stop:
            if self._first is None:
                if np.isfinite(stamps[at]):
                    self._first = line.restart(stamps[at])
                self._count(1, 1)
                at += 1
                continue
            n_left = round(LONG * self._sfreq) - self._n_received
            if n_left <= 0:  # a new stretch, on the same line
                self._restart_stretch()
                self._first = line.last
                continue
            times.clear()
            after, verdict = line.follow_all(stamps, at, min(stop, at + n_left), times)
            self._count(after - at, after - at)
            at = after
            if verdict == "strange":
                self._pass_strange(stamps[at])
                at += 1

    def _pass_strange(self, stamp: float) -> None:
        """A stamp beside the line: a stray, or, if that lasts, a clock that jumped."""
        line = self._line
        self._n_strange += 1
        if self._n_strange * line.period > TRUST and self._first is not None:
            self._first += stamp - line.expected(1)
            line.restart(stamp)
            self._n_strange = 0
        else:
            line.coast()
        self._count(1, 1)

    def _judge(self, count: float, stamp: float) -> int | None:
        """A number that does not follow; None: it was taken, else what was untrue before it."""
        counter, line = self._counter, self._line
        if counter is None:
            return 0
        by_stamps = (stamp - line.last) / line.period if self._first is not None else np.nan
        advance = counter.advance(count, by_stamps)
        tolerance = line.tolerance / line.period
        off = np.inf if advance is None else abs(by_stamps - advance)
        if abs(by_stamps - 1) <= tolerance:
            learnt = self._exception(counter, count, is_clear=off > tolerance)
            if learnt is not None:
                self._counter = counter.moved(learnt)
                return 0
        is_odd = advance is None or off > max(TRUST / line.period, tolerance)
        if is_odd:
            self._n_odd += 1
            advance = max(1, round(by_stamps)) if np.isfinite(by_stamps) else 1
        told = max(0, advance or 0)
        untrue = self._contradiction(told, count, stamp)
        if untrue is not None:
            return untrue
        # What was lost before a stretch began is none of its affair: the stamps of it start here.
        self._count(1, 1 if self._first is None else told)
        if told:
            line.advance(told - 1)
            line.follow(stamp)
        if is_odd:
            counter.begin(count)
        elif told:
            counter.expect(count)
            counter.accept([count], 0, 1)
        return None

    def _exception(
        self, counter: SampleCounter, count: float, *, is_clear: bool
    ) -> CounterPattern | None:
        """The pattern with the end, or the start, that this number shows; None: it shows neither.

        Called where the stamps show no loss; `is_clear`: and what the counter tells misfits them.
        """
        pattern, before = counter.pattern, counter.value
        if before is None or count % 1 or before % 1:
            return None
        if is_clear and count < before and count <= 1 + pattern.step:
            self._n_at_fall = self._n_received
            return replace(
                pattern, last=int(before), first=int(count), first_repeats=0, second=None
            )
        # The first number of a lap may stand for fewer samples, or be followed by a jump.
        is_new = self._n_received - self._n_at_fall == counter.n_here
        may_be = pattern.last is not None and before == pattern.first and (is_clear or is_new)
        if not may_be or not before < count <= (pattern.last or 0):
            return None
        n_first, second = counter.n_here, int(count)
        return replace(
            pattern,
            first_repeats=0 if n_first == pattern.repeats else n_first,
            second=None if second == pattern.first + pattern.step else second,
        )

    def _contradiction(self, told: int, count: float, stamp: float) -> int | None:
        """What the counter told of loss untruly, if counter and stamps contradict each other."""
        counter = self._counter
        if counter is None or self._first is None:
            return None
        untrue = self._n_told - self._n_received
        lap = self._same_fall(counter, count, told)
        if lap is not None:
            self._counter = counter.moved(lap)
            self._n_told, self._n_at_fall = self._n_told - told + 1, self._n_received
            return told - 1
        claimed = untrue + told - 1
        missed = (stamp - self._first) * self._sfreq - self._n_received
        if abs(claimed) > TRUST * self._sfreq and abs(missed) < 0.5 * abs(claimed):
            what = "more" if claimed > 0 else "fewer"
            self._distrust(f"it tells of {abs(claimed)} samples {what} than the stamps")
            real = round(missed) if missed > TRUST * self._sfreq else 0
            return max(0, untrue - real)
        if self._n_odd >= MOST_ODD and self._n_odd > 0.01 * self._n_received:
            self._distrust("its numbers do not follow each other")
            return 0
        return None

    def _same_fall(self, counter: SampleCounter, count: float, told: int) -> CounterPattern | None:
        """The pattern with its end, where the counter fell alike twice and told of a loss."""
        before = counter.value
        if before is None or not count < before or counter.pattern.last is not None:
            return None
        fall, self._fall = self._fall, (before, count, told)
        if told == 1 or fall != self._fall or count % 1 or before % 1:
            return None
        return replace(
            counter.pattern, last=int(before), first=int(count), first_repeats=0, second=None
        )

    def _count(self, n_received: int, n_told: int) -> None:
        self._n_received += n_received
        self._n_told += n_told

    def _restart_stretch(self) -> None:
        """Compare anew: `_first` is when the stretch began, s, the counts are since then."""
        self._first = None
        self._n_received = self._n_told = self._n_odd = self._n_strange = 0
        self._n_at_fall = -1
        self._fall = None
