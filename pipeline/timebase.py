"""Our own time base: raw stamps in, gap-free runs of samples with smooth local times out.

Owns the fit of sample number to time, and the decisions that follow from it: what is a gap, a
duplicate, a stray stamp, a jump of the clock; and the counts of each. Knows nothing of units,
filters or epochs. liblsl's own dejitter was rejected: it counts samples only, so one loss shifts
all later stamps by the loss.

The fit is a least-squares line with exponential forgetting, as the recursion over samples of
`_Line`. Every decision looks at single samples in their order, never at chunks, so any cut of
the stream gives the same bits. A sample whose stamp fits no line is held back, for `HOLD` s of
samples at most, until its followers say whether it was a stray stamp, a duplicate or a gap.
"""

from __future__ import annotations

import numpy as np

from pipeline.arrivals import AHEAD, BACK, is_plausible
from pipeline.clock import OffsetTracker
from pipeline.clock_jumps import ClockJumps
from pipeline.counter import PLAIN, CounterPattern, SampleCounter
from pipeline.counter_watch import TRUST, CounterWatch, Reading
from pipeline.line import Line
from pipeline.repeats import RepeatFinder
from pipeline.stretches import Block, Break, Flags, Piece, Stretch
from pipeline.values import Float32, Float64

HOLD = 0.25
"""Longest time of samples that are held back to judge a strange stamp, s."""
RESOLVE = 0.5
"""Under jitter a loss is counted once the new run's line has this much behind it, s."""
LONGEST_LOSS = 60.0
"""A counter that goes on by more than this while the clock jumps did not go on at all, s."""
MAX_BREAKS = 4096
_FIRST = 2
"""Samples of a run within which a number that does not follow says nothing, if its stamp does."""


class TimeBase:
    """Turns raw stamps into runs of samples on our own clock.

    Parameters
    ----------
    sfreq : float
        Nominal rate, Hz.
    has_counter : bool
        Whether `feed` gets the values of a counting channel.
    pattern : CounterPattern, optional
        How that channel counts, where its board says so; else it is learnt.
    by_arrival : bool
        Whether the samples' arrival moves the clock's offset where their stamps jump and no probe
        explains it.

    Attributes
    ----------
    clock : OffsetTracker
    jumps : ClockJumps
    breaks : list of Break
        The newest ones; another thread may copy it while samples come.
    n_lost, n_gaps, n_duplicates, n_strays, n_reordered : int
        `n_gaps` counts borders between runs; a stray is a stamp that was replaced by the line.
    """

    def __init__(
        self,
        sfreq: float,
        *,
        has_counter: bool = False,
        pattern: CounterPattern | None = None,
        by_arrival: bool = True,
    ) -> None:
        self.clock = OffsetTracker()
        self.jumps = ClockJumps(self.clock, by_arrival=by_arrival)
        self.breaks: list[Break] = []
        self.n_lost = self.n_gaps = self.n_duplicates = self.n_strays = 0
        self.n_reordered = 0
        self.n_emitted = 0
        self.segment = -1
        self._sfreq = self._rate_before = sfreq
        self._line = Line(sfreq)
        self._watch = CounterWatch(sfreq, pattern) if has_counter else None
        # None: by stamps, as long as the counter is not believed.
        self._counter = SampleCounter(pattern or PLAIN) if has_counter else None
        self._unread: Block | None = None
        self._repeats = RepeatFinder(sfreq)
        self._n_hold = max(3, round(HOLD * sfreq))
        self._held: Block | None = None
        self._break_reason: str | None = "start"
        self._line_must_restart = True
        self._has_returned = False
        self._may_have_lost = True
        self._n_lost_here = 0
        self._shuffled_until = 0
        self._received_at = np.inf
        self._offset_before = 0.0
        # An unresolved loss: where the old line expected the new run's first sample.
        self._open: tuple[Break, float, float] | None = None

    @property
    def effective_sfreq(self) -> float:
        """Rate of the sender by our clock, Hz; in the first 5 s of a run what was known before."""
        return 1.0 / self._line.period if self._line.age > 5 * self._sfreq else self._rate_before

    @property
    def jitter(self) -> float:
        """Root mean square of the stamps around the line, s."""
        return self._line.jitter

    @property
    def counter_note(self) -> str:
        """One sentence once the counter is not believed; else ""."""
        return "" if self._watch is None else self._watch.note

    def add_probe(self, measured_at: float, offset: float) -> None:
        """Take a clock probe; a jump of the offset starts a new run at the next sample."""
        self._break(self.jumps.probe(measured_at, offset))

    def _break(self, reason: str) -> None:
        """Start a new run at the next sample, for a reason if there is one."""
        if reason and self.segment >= 0:
            self._break_reason = self._break_reason or reason

    def restart(self, reason: str, *, may_have_lost: bool = True) -> list[Stretch]:
        """Start a new run at the next sample (the stream came back); yields what was held.

        `may_have_lost` False: nothing can be missing at the border, whatever the stamps say.
        """
        stretches = self.finish()
        if self.segment >= 0:
            if not self._has_returned:
                self._offset_before = self.clock.offset
            self._break_reason, self._line_must_restart = reason, True
            self._has_returned = True
            self._may_have_lost = may_have_lost
            self.jumps.drop()
        if self._watch is not None:
            self._watch.restart()
        return stretches

    def feed(
        self,
        data: Float32,
        stamps: Float64,
        bad: Flags,
        counts: Float64 | None = None,
        *,
        received_at: float = np.inf,
    ) -> list[Stretch]:
        """Take the next samples.

        Parameters
        ----------
        data : ndarray, shape (n_channels, n_times), float32, microvolts
        stamps : ndarray, shape (n_times,), float64, s, sender's clock
        bad : ndarray, shape (n_times,) or (n_times, n_channels)
            Flags that are handed on with the samples.
        counts : ndarray, shape (n_times,), float64, or None
            Values of the counting channel.
        received_at : float
            When they arrived, s, this machine's clock; infinite: not known.
        """
        self._received_at = received_at
        block = Block(data, stamps, bad, counts)
        stretches = self._take(block) if self._watch is None else self._read(block, is_last=False)
        self._break(self.jumps.settle(received_at))
        return stretches

    def finish(self) -> list[Stretch]:
        """Let go of what is held: nothing more will come (for now)."""
        stretches: list[Stretch] = []
        if self._unread is not None:
            block, self._unread = self._unread, None
            stretches = self._read(block, is_last=True)
        if self._held is not None:
            block, self._held = self._held, None
            stretches += self._run(block, is_last=True)
        self._resolve()
        return stretches

    def _take(self, block: Block) -> list[Stretch]:
        """Take samples whose counter, if any, is believed by now."""
        if self._counter is None:
            repeated = self._repeats.find(block.data, block.stamps)
            if repeated is not None:
                self.n_duplicates += int(repeated.sum())
                block = block.without(repeated)
        if self._held is not None:
            block, self._held = self._held.joined(block), None
        return self._run(block, is_last=False)

    def _read(self, block: Block, *, is_last: bool) -> list[Stretch]:
        """Take samples as their counter is to be read; some may have to wait for that."""
        stretches: list[Stretch] = []
        if self._unread is not None:
            block, self._unread = self._unread.joined(block), None
        if self._watch is None or block.counts is None:
            return self._take(block)
        at = 0
        counts, stamps = block.counts.tolist(), block.stamps.tolist()
        for reading in self._watch.read(counts, stamps, is_last=is_last):
            self._count_by(reading)
            if reading.n_times:
                stretches += self._take(block.part(at, at + reading.n_times))
                at += reading.n_times
        if at < len(stamps):
            self._unread = block.part(at)
        return stretches

    def _count_by(self, reading: Reading) -> None:
        self.n_lost = max(0, self.n_lost - reading.n_untrue)
        if reading.pattern is None:
            self._counter = None
        elif self._counter is None:
            self._counter = SampleCounter(reading.pattern)
        elif reading.pattern is not self._counter.pattern:
            self._counter = self._counter.moved(reading.pattern)

    # -- one block ------------------------------------------------------------------------------

    def _run(self, block: Block, *, is_last: bool) -> list[Stretch]:
        stamps: list[float] = block.stamps.tolist()
        counts = None if block.counts is None else block.counts.tolist()
        n_times = len(stamps)
        stretches: list[Stretch] = []
        piece = Piece(0, [], None, self.jumps.are_open)
        at = 0
        while at < n_times:
            starts = self._line_must_restart or self._break_reason is not None
            if starts or piece.low + len(piece.times) != at:
                self._put(stretches, block, piece)
                piece = Piece(at, [], None, self.jumps.are_open)
            if starts:
                at = self._start(piece, stamps, counts, at)
                continue
            after = self._step(piece, stamps, counts, at, is_last=is_last)
            if self._shuffled_until:
                block = block.sorted(at=piece.low + len(piece.times), stop=self._shuffled_until)
                stamps = block.stamps.tolist()
                self.n_reordered += self._shuffled_until - piece.low - len(piece.times)
                self._shuffled_until = 0
            if after is None:
                self._held = block.part(piece.low + len(piece.times))
                break
            at = after
        self._put(stretches, block, piece)
        return stretches

    def _start(self, piece: Piece, stamps: list[float], counts: list[float] | None, at: int) -> int:
        """Begin a run at sample `at`."""
        stamp = stamps[at]
        line = self._line
        is_very_first = self.segment < 0
        if not np.isfinite(stamp):
            if is_very_first:  # no time can be told yet: such a sample cannot be placed
                self.n_strays += 1
                return at + 1
            stamp = line.expected(1)
        piece.reason = self._break_reason or "gap"
        if self._line_must_restart:
            self._resolve()
            expected, period = line.expected(1), line.period
            if self._has_returned:  # perhaps with another clock: count the loss in ours
                expected += self._offset_before - self.clock.offset
            self._rate_before = self.effective_sfreq
            age = self._received_at - self.clock.offset - stamp
            if self._has_returned and np.isfinite(self._received_at) and not is_plausible(age):
                self.jumps.begin(stamp - line.expected(1))
            piece.is_doubtful = self.jumps.are_open
            time = line.restart(stamp)
            border = self._border(piece.reason, time)
            # A counter may start anew with the device: then the stamps say what was lost.
            # A clock that jumped says nothing of loss.
            counts_loss = self._may_have_lost and (self._counter is None or self._has_returned)
            if not is_very_first and counts_loss and not self.jumps.are_open:
                self._open = (border, expected, period)
        else:
            time = line.follow(stamp)
            self._border(piece.reason, time)
        if self._counter is not None and counts is not None:
            if self._line_must_restart:
                self._counter.begin(counts[at])
            else:
                self._counter.accept(counts, at, at + 1)
        piece.times.append(time)
        self._line_must_restart, self._break_reason, self._has_returned = False, None, False
        self._may_have_lost = True
        return at + 1

    def _border(self, reason: str, time: float) -> Break:
        self.segment += 1
        border = Break(self.n_emitted, time, reason, self._n_lost_here)
        self._n_lost_here = 0
        if self.segment > 0:
            self.n_gaps += 1
            if len(self.breaks) >= MAX_BREAKS:  # a new list: nobody may be iterating over it
                self.breaks = self.breaks[MAX_BREAKS // 2 :]
            self.breaks.append(border)
        return border

    def _step(
        self,
        piece: Piece,
        stamps: list[float],
        counts: list[float] | None,
        at: int,
        *,
        is_last: bool,
    ) -> int | None:
        """Go on in the run from `at`; the next position, or None when the rest must be held."""
        stop = len(stamps)
        if self._counter is not None and counts is not None:
            if not self._counter.is_next(counts[at]):
                return self._jumped_count(stamps, counts, at)
            stop = self._counter.run_end(counts, at)
        if self._open is not None:
            n_left = round(RESOLVE * self._sfreq) - self._line.age
            if n_left <= 0:
                self._resolve()
            else:
                stop = min(stop, at + n_left)
        after, verdict = self._line.follow_all(stamps, at, stop, piece.times)
        if self._counter is not None and counts is not None and after > at:
            self._counter.accept(counts, at, after)
        if verdict == "ok":
            return after
        if verdict == "shifted":  # the last sample that was followed shows a lasting shift
            self._break_reason, self._line_must_restart = "samples lost under jitter", True
            return after
        return self._judge(piece, stamps, counts, after, is_last=is_last)

    def _judge(
        self,
        piece: Piece,
        stamps: list[float],
        counts: list[float] | None,
        at: int,
        *,
        is_last: bool,
    ) -> int | None:
        """Sample `at` has a strange stamp: look at its followers in order."""
        line = self._line
        n_seen = 0
        for n_seen in range(1, min(self._n_hold, len(stamps) - at)):
            stamp = stamps[at + n_seen]
            if line.fits(stamp, n_seen + 1):
                if self._counter is None and self._are_shuffled(stamps[at : at + n_seen]):
                    self._shuffled_until = at + n_seen
                    return at
                # Back on the line: the stamps between were strays.
                self.n_strays += n_seen
                piece.times.extend(line.coast() for _ in range(n_seen))
                if self._counter is not None and counts is not None:
                    self._counter.accept(counts, at, at + n_seen)
                return at + n_seen
            # Under heavy jitter a stamp that went back says nothing: drop no sample for it.
            came_before = stamps[at] < line.expected(1) and line.fits(stamp, 1)
            if self._counter is None and came_before and line.tolerance < 2 * line.period:
                self.n_duplicates += n_seen  # as if they had not come: sent twice, or too late
                return at + n_seen
        if n_seen + 1 < self._n_hold and not is_last:
            return None
        if (
            self._counter is not None
            and counts is not None
            and self._has_lapped(stamps, counts, at)
        ):
            return at
        jump = stamps[at] - line.expected(1)
        word = "stamps jumped back" if jump < 0 else "gap"
        self._break_reason, self._line_must_restart = f"{word} ({jump:+.3f} s)", True
        self._doubt_clock(stamps[at])
        return at

    def _are_shuffled(self, stamps: list[float]) -> bool:
        """Whether samples came in another order than they were taken: sorted, they fit."""
        ordered = sorted(stamps)
        return ordered != stamps and all(
            self._line.fits(stamp, i + 1) for i, stamp in enumerate(ordered)
        )

    def _doubt_clock(self, stamp: float) -> bool:
        """Whether a jump to `stamp` cannot be a loss alone; then the clock is in doubt."""
        jump = stamp - self._line.expected(1)
        is_future = stamp + self.clock.offset - self._received_at > AHEAD
        if not (jump < -BACK or is_future):
            return False
        self.jumps.begin(jump)
        return True

    def _has_lapped(self, stamps: list[float], counts: list[float], at: int) -> bool:
        """Whether whole laps of a short counter were lost: it counts on, the stamps do not."""
        counter, line = self._counter, self._line
        if counter is None or not np.isfinite(stamps[at]):
            return False
        by_stamps = (stamps[at] - line.last) / line.period
        advance = counter.advance(counts[at], by_stamps)
        if advance is None or advance <= 1:
            return False
        off = abs(by_stamps - advance) * line.period
        if off > max(2 * line.period, 3 * line.jitter):
            return False  # a jump of the clock
        self._lose(advance, counts[at])
        return True

    def _lose(self, advance: int, count: float) -> None:
        """The counter tells of a loss: the line goes on, the run does not."""
        if self._counter is not None:
            self._counter.expect(count)
        self._line.advance(advance - 1)
        self._n_lost_here = advance - 1
        self.n_lost += advance - 1
        self._break_reason = f"{advance - 1} samples lost (counter)"

    def _jumped_count(self, stamps: list[float], counts: list[float], at: int) -> int:
        """The counter did not count on by one at `at`."""
        counter, line = self._counter, self._line
        if counter is None:
            return at
        stamp = stamps[at]
        by_stamps = (stamp - line.last) / line.period if np.isfinite(stamp) else 1.0
        advance = counter.advance(counts[at], by_stamps)
        off = np.inf if advance is None else abs(by_stamps - advance) * line.period
        if advance is None or off > max(TRUST, line.tolerance):  # it started anew
            if line.age <= _FIRST and line.fits(stamp, 1):
                counter.expect(counts[at])  # its first numbers are of a lap that it had not begun
                return at
            self._break_reason, self._line_must_restart = "sample counter restarted", True
            if self._doubt_clock(stamp):  # or the clock did: then the counter may well go on
                by_stamps = (
                    advance
                    if advance is not None and 0 < advance < LONGEST_LOSS * self._sfreq
                    else 1.0
                )
            self._n_lost_here = max(0, round(by_stamps) - 1)
            self.n_lost += self._n_lost_here
            return at
        if advance <= 0:
            self.n_duplicates += 1
            return at + 1
        if advance == 1:  # the counter wrapped
            counter.expect(counts[at])
        else:
            self._lose(advance, counts[at])
        return at

    # -- loss and output ------------------------------------------------------------------------

    def _resolve(self) -> None:
        """Count the loss at the newest border, now that the line behind it is known."""
        if self._open is None:
            return
        border, expected, period = self._open
        self._open = None
        n_since = self._line.n_followed
        shift = self._line.last - (expected + n_since * period)
        border.n_lost = max(0, round(shift / period))
        self.n_lost += border.n_lost

    def _put(self, stretches: list[Stretch], block: Block, piece: Piece) -> None:
        """Make a stretch of a piece, if there is anything in it."""
        if not piece.times:
            return
        times = np.array(piece.times)
        if piece.reason is not None:
            self.clock.settle()
        local = times + self.clock.at(times)
        self.clock.fold(piece.times[-1])
        self.jumps.note(float(local[-1]), self._received_at, is_doubtful=piece.is_doubtful)
        part = block.part(piece.low, piece.low + len(times))
        if piece.reason is not None and self.breaks and self.breaks[-1].sample == self.n_emitted:
            self.breaks[-1].timestamp = float(local[0])
        self.n_emitted += len(times)
        stretches.append(
            Stretch(
                part.data,
                local,
                part.bad,
                self.segment,
                piece.reason is not None,
                piece.is_doubtful,
            )
        )
