"""Samples on their way through the time base: as they came, and as runs with times.

Owns the values and how blocks are cut, joined and sorted; decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.values import Float32, Float64

Bool = NDArray[np.bool_]
Flags = NDArray[Any]
"""What is wrong with a sample, or with each channel's value in it; 0: nothing."""


@dataclass(slots=True)
class Break:
    """A border between two runs: `sample` is the first of the new one.

    `n_lost` may still change during the first half second of the new run, when jitter hides
    the size of the gap.
    """

    sample: int
    timestamp: float
    reason: str
    n_lost: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Samples of one run, with local times.

    Attributes
    ----------
    data : ndarray, shape (n_channels, n_times), float32, microvolts
    timestamps : ndarray, shape (n_times,), float64, s, strictly increasing within a run
    bad : ndarray, shape (n_times,) or (n_times, n_channels)
        Flags that came with the samples, as they came.
    segment : int
    is_first : bool
        Whether the run starts here.
    is_doubtful : bool
        Whether the sender's clock jumped before this run, and no probe has said by how much: its
        times may be wrong by seconds.
    """

    data: Float32
    timestamps: Float64
    bad: Flags
    segment: int
    is_first: bool
    is_doubtful: bool = False


@dataclass(slots=True)
class Block:
    """Samples that wait for their times: data, raw stamps, flags, counts."""

    data: Float32
    stamps: Float64
    bad: Flags
    counts: Float64 | None

    def part(self, low: int, high: int | None = None) -> Block:
        """The samples from `low` up to `high`."""
        if low == 0 and (high is None or high == len(self.stamps)):
            return self
        counts = None if self.counts is None else self.counts[low:high]
        return Block(self.data[:, low:high], self.stamps[low:high], self.bad[low:high], counts)

    def joined(self, after: Block) -> Block:
        """Append the block that came after it."""
        both = None
        if self.counts is not None and after.counts is not None:
            both = np.concatenate((self.counts, after.counts))
        return Block(
            np.concatenate((self.data, after.data), axis=1),
            np.concatenate((self.stamps, after.stamps)),
            np.concatenate((self.bad, after.bad)),
            both,
        )

    def sorted(self, *, at: int, stop: int) -> Block:
        """Put samples `at` to `stop` into the order of their stamps."""
        order = np.arange(len(self.stamps))
        order[at:stop] = at + np.argsort(self.stamps[at:stop], kind="stable")
        counts = None if self.counts is None else self.counts[order]
        return Block(self.data[:, order], self.stamps[order], self.bad[order], counts)

    def without(self, repeated: Bool) -> Block:
        """The samples that are not repeats."""
        keep = ~repeated
        counts = None if self.counts is None else self.counts[keep]
        return Block(self.data[:, keep], self.stamps[keep], self.bad[keep], counts)


@dataclass(slots=True)
class Piece:
    """Neighbouring samples of a block with their fitted times in the sender's clock."""

    low: int
    times: list[float]
    reason: str | None
    is_doubtful: bool
