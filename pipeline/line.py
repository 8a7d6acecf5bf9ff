"""A causal least-squares line through the stamps of one run, sample by sample.

Owns the recursion and its tolerance. Knows nothing of what follows from a misfit.

With ages k = 0 (now), 1, 2, ... and weights w^k, the fit of level and slope minimises
sum w^k (stamp_k - level + slope k)^2 + prior (slope - nominal)^2. Written as a recursion it is
a tracker: predict, look at the innovation e, correct the level by g e and the slope by h e,
where g and h depend on the number of samples only and come from a table.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import Literal

import numpy as np
from scipy.signal import lfilter

from pipeline.values import Float64

HALF_LIFE = 60.0
"""A stamp's weight halves in this time, s."""
SLOPE_PRIOR = 250.0**2
"""Trust in the nominal rate: as if jitter were half a period and the rate good to 0.2 %."""
FIRST_JITTER = 0.020
"""Jitter that is assumed before any is seen, s: chunks may be stamped as one."""
N_FIRST_JITTER = 10
"""Weight of that assumption, samples."""
JITTER_TIME = 1.0
"""Time constant of the running jitter, s."""
SHIFT_TIME = 0.2
"""Time constant of the running mean misfit, s."""
USUAL_SHIFT = 0.001
"""Mean misfit that is assumed usual before any is seen, s."""
USUAL_TIME = 60.0
"""Time constant of the usual mean misfit, s."""
N_SHIFT = 6.0
"""A mean misfit beyond this many usual ones (and half a period) is a lasting shift. Neighbouring
stamps may err together (one delay a chunk), so the jitter alone does not tell what is usual."""
N_JITTER = 6.0
"""A stamp further off than this many jitters (and half a period) does not fit."""
MAX_TABLE = 500_000
KEEP_RATE_AFTER = 10.0
"""A rate learnt over at least this long is kept across a gap, s."""

Verdict = Literal["ok", "strange", "shifted"]


@lru_cache(maxsize=4)
def _gains(sfreq: float) -> tuple[Float64, Float64, Float64]:
    """Gains of level, slope and jitter by the number of samples seen."""
    n_table = min(MAX_TABLE, int(4 * HALF_LIFE * sfreq) + 2)
    keep = 0.5 ** (1.0 / (HALF_LIFE * sfreq))
    weight = lfilter([1.0], [1.0, -keep], np.ones(n_table))
    before = np.concatenate(([0.0], weight[:-1]))
    first = lfilter([1.0], [1.0, -keep], keep * before)
    before_first = np.concatenate(([0.0], first[:-1]))
    second = lfilter([1.0], [1.0, -keep], keep * (2 * before_first + before))
    second = second + SLOPE_PRIOR * keep ** np.arange(n_table)
    determinant = weight * second - first * first
    # Below one sample in `JITTER_TIME` (fMRI) the newest misfit alone is what is known.
    least = min(1.0, 1.0 / (JITTER_TIME * sfreq))
    jitter = np.maximum(1.0 / (np.arange(n_table) + N_FIRST_JITTER), least)
    return second / determinant, first / determinant, jitter


class Line:
    """The line of one run; `period` is its slope, s a sample, `last` its newest time, s."""

    def __init__(self, sfreq: float) -> None:
        self._nominal = 1.0 / sfreq
        self._gains = _gains(sfreq)
        self._n_table = len(self._gains[0])
        self._shift_gain = 1.0 / max(1.0, SHIFT_TIME * sfreq)
        self._n_warm = round(0.5 * sfreq)
        self._n_keep_rate = round(KEEP_RATE_AFTER * sfreq)
        self._least_step = 0.05 * self._nominal
        self._level = 0.0
        self._jitter2 = FIRST_JITTER**2
        self._n_jitter = 0
        self._shift = 0.0
        self._usual_gain = 1.0 / (USUAL_TIME * sfreq)
        self._usual2 = USUAL_SHIFT**2
        self.period = self._nominal
        self.last = 0.0
        """Newest time that was given out, s: the level, made strictly increasing."""
        self.age = 0
        """Stamps in the fit."""
        self.n_followed = 0
        """Samples since the line began, first one not counted."""

    @property
    def jitter(self) -> float:
        """Root mean square of the misfit, s."""
        return sqrt(self._jitter2)

    @property
    def tolerance(self) -> float:
        """Largest misfit that still fits, s."""
        return max(0.5 * self._nominal, N_JITTER * self.jitter)

    def expected(self, n_ahead: int) -> float:
        """Time of the sample that is `n_ahead` after the newest, s."""
        return self._level + n_ahead * self.period

    def fits(self, stamp: float, n_ahead: int) -> bool:
        """Whether a stamp belongs to the sample `n_ahead` after the newest."""
        return abs(stamp - self.expected(n_ahead)) <= self.tolerance

    def restart(self, stamp: float) -> float:
        """Begin anew at this stamp; what is known of jitter and a long-known rate stay."""
        if self.age < self._n_keep_rate:
            self.period = self._nominal
        self._level = self.last = stamp
        self._shift = 0.0
        self.age, self.n_followed = 1, 0
        return stamp

    def advance(self, n_times: int) -> None:
        """Pass over samples that are known to be lost."""
        self._level += n_times * self.period
        self.n_followed += n_times

    def coast(self) -> float:
        """Give the next sample its time without looking at its stamp."""
        self._level += self.period
        self.last = max(self._level, self.last + self._least_step)
        self.n_followed += 1
        return self.last

    def follow(self, stamp: float) -> float:
        """Follow one stamp if it fits, else coast; the sample's time, s."""
        times: list[float] = []
        _, verdict = self.follow_all([stamp], 0, 1, times)
        return self.coast() if verdict == "strange" else times[0]

    def follow_all(
        self, stamps: list[float], at: int, stop: int, times: list[float]
    ) -> tuple[int, Verdict]:
        """Follow stamps from `at` until `stop` or until one does not fit; append their times.

        Returns
        -------
        after : int
            Position after the last stamp that was followed.
        verdict : str
            `strange`: the stamp at `after` does not fit; `shifted`: the last ones lie beside
            the line together; else `ok`.
        """
        level, period, last = self._level, self.period, self.last
        jitter2, shift = self._jitter2, self._shift
        usual2, usual_gain = self._usual2, self._usual_gain
        least, shift_gain = self._least_step, self._shift_gain
        floor2 = (0.5 * self._nominal) ** 2
        strange2, far2 = N_JITTER * N_JITTER, N_SHIFT * N_SHIFT
        cold = max(0, self._n_warm - self.age)
        level_gains, slope_gains, jitter_gains = self._slices(stop - at)
        little2 = 0.2 * floor2
        verdict: Verdict = "ok"
        first = at
        n_before = len(times)
        append = times.append
        part = stamps if at == 0 and stop == len(stamps) else stamps[at:stop]
        # The one loop over samples of the live path: no calls in it but `append`.
        for stamp, level_gain, slope_gain, jitter_gain in zip(
            part, level_gains, slope_gains, jitter_gains, strict=True
        ):
            error = stamp - level - period
            error2 = error * error
            if error2 > floor2 and error2 > strange2 * jitter2:
                verdict = "strange"
                break
            if error != error:  # noqa: PLR0124 - not a number: no stamp at all
                error = error2 = 0.0
            level = level + period + level_gain * error
            period = period + slope_gain * error
            jitter2 += jitter_gain * (error2 - jitter2)
            shift += shift_gain * (error - shift)
            last += least
            if level > last:  # noqa: PLR1730 - max() costs a call a sample
                last = level
            append(last)
            shift2 = shift * shift
            if (
                shift2 > floor2
                and shift2 > 0.25 * jitter2
                and shift2 > far2 * usual2
                and len(times) - n_before > cold
            ):
                verdict = "shifted"
                break
            # Clipped, so that a lasting shift does not teach itself to be usual.
            most2 = 4.0 * usual2 + little2
            usual2 += usual_gain * ((shift2 if shift2 < most2 else most2) - usual2)
        n_done = len(times) - n_before
        at = first + n_done
        self._level, self.period, self.last = level, period, last
        self._jitter2, self._shift, self._usual2 = jitter2, shift, usual2
        self.age += n_done
        self._n_jitter += n_done
        self.n_followed += n_done
        return at, verdict

    def _slices(self, n_times: int) -> tuple[list[float], list[float], list[float]]:
        level, slope, jitter = self._gains
        return (
            self._part(level, self.age, n_times),
            self._part(slope, self.age, n_times),
            self._part(jitter, self._n_jitter, n_times),
        )

    def _part(self, table: Float64, start: int, n_times: int) -> list[float]:
        part: list[float] = table[start : start + n_times].tolist()
        if len(part) < n_times:
            part += [float(table[-1])] * (n_times - len(part))
        return part
