"""Samples that come when they come: the responses of an irregular stream, one an event.

Owns their times: each sample has its own stamp, on our clock, and is a gap-free run of its own.
`pipeline.timebase` is for streams with a rate; here there is no line to fit, nothing can be lost
unseen, and a stamp that does not go on is a repetition. Knows nothing of markers.
"""

from __future__ import annotations

import numpy as np

from pipeline.arrivals import is_plausible
from pipeline.clock import OffsetTracker
from pipeline.clock_jumps import ClockJumps
from pipeline.stretches import Break, Flags, Stretch
from pipeline.values import Float32, Float64

NOMINAL_SFREQ = 0.5
"""What stands for a rate where there is none, Hz: a marker meets a sample within half of 2 s."""


class ScatteredTimes:
    """Gives each sample its own time; has the surface of `pipeline.timebase.TimeBase`.

    Attributes
    ----------
    clock : OffsetTracker
    n_duplicates, n_strays : int
        Samples that were dropped: of a time that had been, or of none.
    """

    counter_note = ""
    jitter = 0.0
    n_lost = n_gaps = 0

    def __init__(self, sfreq: float, *, by_arrival: bool = True) -> None:
        self.clock = OffsetTracker()
        self.jumps = ClockJumps(self.clock, by_arrival=by_arrival, patience=0.0)
        self.breaks: list[Break] = []
        self.n_duplicates = self.n_strays = 0
        self.effective_sfreq = sfreq
        self._segment = 0
        self._last = -np.inf

    def add_probe(self, measured_at: float, offset: float) -> None:
        """Take a clock probe."""
        self.jumps.probe(measured_at, offset)

    def restart(self, _reason: str, *, may_have_lost: bool = True) -> list[Stretch]:
        """The stream came back, or goes on elsewhere: its stamps may begin anew."""
        if may_have_lost:
            self.jumps.drop()
        self._last = -np.inf
        return []

    def feed(
        self,
        data: Float32,
        stamps: Float64,
        bad: Flags,
        _counts: Float64 | None = None,
        *,
        received_at: float = np.inf,
    ) -> list[Stretch]:
        """Take the next samples; see `TimeBase.feed`."""
        self._check_clock(stamps, received_at)
        times = stamps + self.clock.at(stamps)
        stretches: list[Stretch] = []
        for k, time in enumerate(times.tolist()):
            if not np.isfinite(time):
                self.n_strays += 1
            elif time <= self._last:
                self.n_duplicates += 1
            else:
                part = slice(k, k + 1)
                stretches.append(
                    Stretch(data[:, part], times[part], bad[part], self._segment, is_first=True)
                )
                self._segment += 1
                self._last = time
        return stretches

    def _check_clock(self, stamps: Float64, received_at: float) -> None:
        """Move the offset at once where a stamp cannot be true: there is no line to doubt it by."""
        known = stamps[np.isfinite(stamps)]
        if not (len(known) and np.isfinite(received_at)):
            return
        newest = float(known[-1]) + self.clock.offset
        if is_plausible(received_at - newest):
            self.jumps.note(newest, received_at, is_doubtful=False)
        else:
            self.jumps.begin(newest - received_at)
            self.jumps.note(newest, received_at, is_doubtful=True)
            self.jumps.settle(received_at)

    def finish(self) -> list[Stretch]:
        """Nothing is ever held."""
        return []
