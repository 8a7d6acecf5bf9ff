"""Channels that cannot be used at all, so that one of them does not condemn every epoch.

Owns the rule, second by second of a gap-free run. A channel whose values are mostly unusable (NaN,
infinity, beyond ten volts), or whose peak to peak is mostly beyond the limit of an epoch, is left
out until it has been good for ten seconds. A pure function of the samples, judged at whole seconds
only: any cut of a stream, and its replay, leaves out the same channels at the same sample.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.stretches import Bool, Flags
from pipeline.values import Float32, Info

NOT_FINITE, ABSURD = 1, 2
"""Why a value is unusable: no number; or one that no electrode gives."""
MEMORY = 10
"""Seconds that are looked back upon."""
OUT = 0.5
"""A channel that is bad for a larger part of them is left out."""
BACK = 0.1
"""One that was left out is taken again once at most this part of them is bad."""
LEAST_EXCEEDING = 5
"""Seconds that must have been seen before amplitude counts: one blink is no hopeless channel."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A channel that was left out: for how many of the judged seconds, and why at last."""

    ch_name: str
    share: float
    reason: str


class Screening:
    """Decides which channels count.

    Parameters
    ----------
    info : Info
    names : tuple of str
        The channels as the user knows them, for the sentences.
    reject_uv : mapping
        Largest peak-to-peak by channel type, microvolts.
    settling_time : float
        Of the filter, s: what comes before is its own settling.
    enabled : bool
        Off: every channel counts always, as in sessions of earlier versions.

    Attributes
    ----------
    left_out : ndarray, shape (n_channels,), bool
        As of the next sample; replaced as a whole.
    """

    def __init__(
        self,
        info: Info,
        names: tuple[str, ...],
        *,
        reject_uv: Mapping[str, float],
        settling_time: float,
        enabled: bool = True,
    ) -> None:
        n = info.n_channels
        self.left_out: Bool = np.zeros(n, dtype=bool)
        self._names = names
        self._enabled = enabled
        self._limits = np.array([reject_uv.get(kind, np.inf) for kind in info.ch_types])
        self._n_window = max(1, round(info.sfreq))
        self._n_settle = int(np.ceil(settling_time * info.sfreq))
        self._unusable: deque[Bool] = deque(maxlen=MEMORY)
        self._exceeding: deque[Bool] = deque(maxlen=MEMORY)
        self._news: list[str] = []
        self._n_judged = 0
        self._n_out = np.zeros(n, dtype=np.int64)
        self._reasons = [""] * n
        self._high: Float32
        self._low: Float32
        self.start_run()

    def start_run(self) -> None:
        """Start a gap-free run: an unfinished second is forgotten."""
        self._n_run = 0
        self._begin()

    @property
    def left(self) -> int:
        """Samples that are missing until the next decision."""
        return self._n_window - self._n_in

    def take_news(self) -> list[str]:
        """Sentences on channels that were left out, or taken again, since the last call."""
        news, self._news = self._news, []
        return news

    def summary(self) -> tuple[LeftOut, ...]:
        """Channels that were left out at any time."""
        return tuple(
            LeftOut(name, int(n) / self._n_judged, reason)
            for name, n, reason in zip(self._names, self._n_out, self._reasons, strict=True)
            if n
        )

    def feed(self, flags: Flags, filtered: Float32) -> None:
        """Take samples of the current run, at most `left` of them.

        Parameters
        ----------
        flags : ndarray, shape (n_times, n_channels)
            0, `NOT_FINITE` or `ABSURD`.
        filtered : ndarray, shape (n_channels, n_times), float32, microvolts
        """
        n_times = len(flags)
        if not self._enabled or not n_times:
            return
        if flags.any():
            self._n_not_finite += np.count_nonzero(flags == NOT_FINITE, axis=0)
            self._n_absurd += np.count_nonzero(flags == ABSURD, axis=0)
        self._high = np.maximum(self._high, filtered.max(axis=1))
        self._low = np.minimum(self._low, filtered.min(axis=1))
        self._n_in += n_times
        self._n_run += n_times
        if self._n_in >= self._n_window:
            self._judge()
            self._begin()

    def _begin(self) -> None:
        n = len(self.left_out)
        self._n_in = 0
        self._n_not_finite = np.zeros(n, dtype=np.int64)
        self._n_absurd = np.zeros(n, dtype=np.int64)
        self._high = np.full(n, -np.inf, dtype=np.float32)
        self._low = np.full(n, np.inf, dtype=np.float32)

    def _judge(self) -> None:
        """Judge the second that has ended, and decide for the coming one."""
        self._unusable.append((self._n_not_finite + self._n_absurd) > OUT * self._n_in)
        if self._n_run - self._n_in >= self._n_settle:
            self._exceeding.append((self._high - self._low) > self._limits)
        self._n_judged += 1
        unusable = self._decide(self._unusable, least=1)
        if unusable.all():
            unusable = np.zeros_like(unusable)
        exceeding = self._decide(self._exceeding, least=LEAST_EXCEEDING) & ~unusable
        # Where more than half would go, it is not a channel that is wrong: the epochs are refused.
        if 2 * np.count_nonzero(unusable | exceeding) > len(unusable):
            exceeding = np.zeros_like(exceeding)
        self._turn(unusable | exceeding, unusable)
        self._n_out += self.left_out

    def _decide(self, seconds: deque[Bool], *, least: int) -> Bool:
        if len(seconds) < least:
            return np.zeros_like(self.left_out)
        share = np.mean(seconds, axis=0)
        return np.asarray((share > OUT) | (self.left_out & (share > BACK)))

    def _turn(self, now: Bool, unusable: Bool) -> None:
        for k in np.flatnonzero(now & ~self.left_out).tolist():
            if not unusable[k]:
                reason = f"swings beyond {self._limits[k]:g} µV most of the time"
            elif self._n_absurd[k] > self._n_not_finite[k]:
                reason = "holds numbers beyond 10 V, which no electrode gives"
            else:
                reason = "holds values that are no numbers"
            self._reasons[k] = reason
            self._news.append(
                f"Channel {self._names[k]} is left out: it {reason}. The others are decoded."
            )
        for k in np.flatnonzero(self.left_out & ~now).tolist():
            self._news.append(f"Channel {self._names[k]} is taken again: its signal is usable.")
        self.left_out = now
