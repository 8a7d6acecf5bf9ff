"""Finds samples that were sent twice: same raw stamp, same values.

Owns a second of raw samples to compare with. Knows nothing of lines and gaps.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from pipeline.ring import Ring
from pipeline.values import Float32, Float64

MEMORY = 1.0
"""How far back a repetition is recognised, s."""


class RepeatFinder:
    """Remembers the newest second of a stream.

    Stamps alone cannot tell: a whole chunk may carry one stamp, and jitter sends stamps back.
    A flat stretch under one stamp is not a repetition either, so the value before must differ.
    """

    def __init__(self, sfreq: float) -> None:
        self._n_memory = max(2, round(MEMORY * sfreq))
        # Stamps in a ring to search; rows as the blocks they came in, without a copy.
        self._ring = Ring(1, 2 * self._n_memory + 1)
        self._nothing = np.zeros((1, self._n_memory), np.float32)
        self._blocks: deque[tuple[int, Float32]] = deque()
        self._newest = -np.inf

    def find(self, data: Float32, stamps: Float64) -> NDArray[np.bool_] | None:
        """Flags of the repeated samples, shape (n_times,), or None when there are none.

        At most `MEMORY` of samples at a time, so that any cut finds the same.
        """
        n_times = len(stamps)
        if n_times > self._n_memory:
            parts = [
                (data[:, low : low + self._n_memory], stamps[low : low + self._n_memory])
                for low in range(0, n_times, self._n_memory)
            ]
            found = [self.find(*part) for part in parts]
            if all(flags is None for flags in found):
                return None
            return np.concatenate(
                [
                    np.zeros(len(part[1]), bool) if flags is None else flags
                    for part, flags in zip(parts, found, strict=True)
                ]
            )
        first = self._ring.n_written
        if n_times == 0:
            return None
        self._ring.append(self._nothing[:, :n_times], stamps)
        self._blocks.append((first, data))
        oldest = self._ring.oldest
        while self._blocks[0][0] + self._blocks[0][1].shape[1] <= oldest:
            self._blocks.popleft()
        if stamps[0] > self._newest and (stamps[1:] > stamps[:-1]).all():
            self._newest = float(stamps[-1])  # the usual case: time goes on
            return None
        before = np.empty(n_times)
        before[0] = self._newest
        np.fmax.accumulate(stamps[:-1], out=before[1:])
        np.fmax(before, self._newest, out=before)
        self._newest = float(np.fmax(before[-1], stamps[-1]))
        candidates = np.flatnonzero(stamps <= before)
        if not len(candidates):
            return None
        flags = np.zeros(n_times, dtype=bool)
        for i in candidates.tolist():
            flags[i] = self._is_repeat(first + i)
        return flags if flags.any() else None

    def _is_repeat(self, number: int) -> bool:
        low = max(0, number - self._n_memory)
        stamps = self._ring.timestamps_view(low, number + 1)
        same_stamp = np.flatnonzero(stamps[:-1] == stamps[-1])
        if not len(same_stamp):
            return False
        row = self._row(number)
        for j in (low + same_stamp).tolist():
            earlier = self._row(j)
            if j > low and (earlier == row).all() and (self._row(j - 1) != earlier).any():
                return True
        return False

    def _row(self, number: int) -> Float32:
        """Values of one remembered sample, shape (n_channels,), microvolts."""
        for first, data in reversed(self._blocks):
            if first <= number:
                return data[:, number - first]
        return self._blocks[0][1][:, 0]
