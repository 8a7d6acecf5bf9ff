"""Values that are no numbers, where 0 may stand for them: voxels outside the brain, mostly.

Owns which samples can be used so, and the count of what was filled in. A pure function of single
samples: any cut of a stream fills in the same. EEG does without: there a channel without numbers
is left out (`pipeline.screening`).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from pipeline.stretches import Flags
from pipeline.values import Float32

MOST = 0.5
"""A sample that lacks a larger part of its values than this is unusable."""


class Missing:
    """Puts 0 in the place of what is missing, sample by sample.

    Parameters
    ----------
    n_channels : int
    n_kept : int
        Samples whose counts are remembered.
    """

    def __init__(self, n_channels: int, n_kept: int) -> None:
        self._n_channels = n_channels
        self._counts: deque[tuple[int, int]] = deque(maxlen=n_kept)
        self._news = ""
        self._is_told = False

    def fill(self, data: Float32, flags: Flags, at: int) -> tuple[Float32, Flags]:
        """Samples without what is missing, and the flags of those that stay unusable.

        Parameters
        ----------
        data : ndarray, shape (n_channels, n_times), float32
        flags : ndarray, shape (n_times, n_channels)
            Not 0 where a value is no number.
        at : int
            Number of the first sample.
        """
        if not flags.any():
            return data, flags
        is_bad = flags != 0
        counts = is_bad.sum(axis=1)
        self._counts.extend((at + k, int(counts[k])) for k in np.flatnonzero(counts).tolist())
        if not self._is_told:
            self._is_told = True
            n = int(counts[counts > 0][0])
            self._news = (
                f"{n} of {self._n_channels} channels hold values that are no numbers: 0 stands "
                "for them (epochs.fill_missing)."
            )
        left = np.where((counts > MOST * self._n_channels)[:, np.newaxis], flags, 0)
        return np.where(is_bad.T, np.float32(0), data), left

    def n_missing(self, start: int, stop: int) -> int:
        """Most values that a sample from `start` to `stop` (exclusive) lacked."""
        return max((n for number, n in self._counts if start <= number < stop), default=0)

    def take_news(self) -> list[str]:
        """Give the sentence on the first sample that lacked something, once."""
        news, self._news = self._news, ""
        return [news] if news else []
