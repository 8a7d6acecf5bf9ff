"""Finds the pattern of a counter in a stretch of its numbers.

Owns the guess and how well it must fit. Knows nothing of streams, or of what is done with it.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

from pipeline.counter import CounterPattern

N_RUNS = 6
"""Numbers that must have followed each other before a pattern is told."""
FITS = 0.6
"""Share of the numbers that must follow the pattern: losses break it too."""
AMBIGUOUS = 0.35
"""A pattern whose samples miss the time that the stamps say by this share is another one."""

_Run = tuple[int, int]


def learn_pattern(counts: list[float], stamps: list[float], sfreq: float) -> CounterPattern | None:
    """The pattern of these numbers; None when there is none, or too few to tell.

    Parameters
    ----------
    counts, stamps : list of float
        One a sample, in order; stamps in s, NaN where there is none.
    sfreq : float
        Nominal rate, Hz.
    """
    if not all(np.isfinite(counts)) or any(count % 1 for count in counts):
        return None
    runs = _runs(counts)
    if len(runs) < N_RUNS:
        return None
    steps = Counter(b[0] - a[0] for a, b in pairwise(runs) if b[0] > a[0])
    lengths = Counter(length for _, length in runs[1:-1])
    if not steps:
        return None
    repeats = lengths.most_common(1)[0][0]
    candidates = [
        CounterPattern(step, repeats) for step in dict.fromkeys((steps.most_common(1)[0][0], 1))
    ]
    elapsed = _elapsed(stamps, sfreq)
    pattern = min(candidates, key=lambda each: _misses(each, runs, len(counts), elapsed))
    # Where every second number is lost, none follows the other.
    most = pattern.step if pattern is candidates[0] else 16
    good = sum(n for step, n in steps.items() if step <= most and step % pattern.step == 0)
    whole = lengths[repeats] / max(1, sum(lengths.values()))
    if good < FITS * (len(runs) - 1 - _n_falls(runs)) or whole < FITS:
        return None
    if _misses(pattern, runs, len(counts), elapsed) > AMBIGUOUS:
        return None
    return _with_lap(pattern, runs)


def _runs(counts: list[float]) -> list[_Run]:
    values = np.array(counts)
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    lengths = np.diff([*starts, len(values)])
    return [(int(values[s]), int(n)) for s, n in zip(starts, lengths, strict=True)]


def _n_falls(runs: list[_Run]) -> int:
    return sum(b[0] < a[0] for a, b in pairwise(runs))


def _elapsed(stamps: list[float], sfreq: float) -> float | None:
    """Samples between the first and the last by their stamps; None: they do not say."""
    span = (stamps[-1] - stamps[0]) * sfreq
    return span if np.isfinite(span) and span > 0.5 * len(stamps) else None


def _misses(pattern: CounterPattern, runs: list[_Run], n: int, elapsed: float | None) -> float:
    """By which share the samples that the pattern tells of miss the time that passed."""
    if elapsed is None:
        return 0.0
    told = n - 1.0
    for a, b in pairwise(runs):
        if b[0] > a[0] and b[0] - a[0] != pattern.step and (b[0] - a[0]) % pattern.step == 0:
            told += ((b[0] - a[0]) // pattern.step - 1) * pattern.repeats
    # A jump that no loss explains (0 to 101) tells of nothing.
    return min(abs(told - elapsed), abs(n - 1.0 - elapsed)) / elapsed


def _with_lap(pattern: CounterPattern, runs: list[_Run]) -> CounterPattern:
    """The pattern with its start and end, where it was seen to start anew twice alike."""
    falls = Counter((a[0], b) for a, b in pairwise(runs[:-1]) if b[0] < a[0])
    if not falls:
        return pattern
    (last, (first, n_first)), n = falls.most_common(1)[0]
    if n < 2 and last < max(value for value, _ in runs):
        return pattern
    after = Counter(b[0] for a, b in pairwise(runs) if a[0] == first)
    second = after.most_common(1)[0][0]
    plain_wrap = pattern.step == pattern.repeats == 1 and first == 0 and last == 255
    if n < 2 or plain_wrap or second > last:
        return pattern
    return CounterPattern(
        pattern.step,
        pattern.repeats,
        last=last,
        first=first,
        first_repeats=0 if n_first == pattern.repeats else n_first,
        second=None if second == first + pattern.step else second,
    )
