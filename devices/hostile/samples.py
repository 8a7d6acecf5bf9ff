"""What the hostile stream's samples hold: a value that tells label and number, and the faults.

Owns the content. Knows nothing of stamps, packets or arrival.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from devices.hostile import faults as kinds
from devices.hostile.faults import Fault
from pipeline.values import Float32

POP_TIME = 0.1
"""How long a pop lasts, s."""
WRAP = 2**20
"""The counting channel begins anew after so many samples: a float32 holds it exactly."""


def content(ch_name: str, numbers: NDArray[np.int64]) -> Float32:
    """Value of samples of one channel without faults, within 16 microvolts, same shape.

    A mixed hash of label and number: neighbours, in time or among the channels, never agree.
    """
    return _mixed(_code(ch_name), numbers)


def _code(ch_name: str) -> np.uint64:
    return np.uint64(zlib.crc32(ch_name.encode()))


def _mixed(code: np.uint64 | NDArray[np.uint64], numbers: NDArray[np.int64]) -> Float32:
    mixed = (numbers.astype(np.uint64) + code) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    level = (mixed >> np.uint64(52)).astype(np.float32)
    result: Float32 = (level - np.float32(2048)) / np.float32(128)
    return result


class Samples:
    """The stream's samples by number.

    Parameters
    ----------
    ch_names : tuple of str
        A counting channel follows them.
    rate : float
        True rate, Hz.
    faults : sequence of Fault
        Those that concern values are used.
    """

    def __init__(self, ch_names: tuple[str, ...], rate: float, faults: Sequence[Fault]) -> None:
        self._ch_names = ch_names
        self._codes = np.array([_code(name) for name in ch_names], dtype=np.uint64)
        self._rate = rate
        spans = [(self._span(f), f) for f in faults if isinstance(f, kinds.OfChannel)]
        self._faults = sorted(spans, key=lambda pair: pair[0])
        self._starts = np.array([span[0] for span, _ in self._faults], dtype=np.int64)
        self._longest = max((span[1] - span[0] for span, _ in self._faults), default=0)

    def at(self, numbers: NDArray[np.int64]) -> Float32:
        """Samples as the device would send them, shape (n_times, n_channels + 1), microvolts."""
        samples = np.empty((len(numbers), len(self._codes) + 1), dtype=np.float32)
        samples[:, :-1] = _mixed(self._codes, numbers[:, None])
        samples[:, -1] = numbers % WRAP
        if len(numbers) and self._faults:
            low, high = int(numbers[0]), int(numbers[-1]) + 1
            first = int(np.searchsorted(self._starts, low - self._longest))
            for (start, stop), fault in self._faults[
                first : int(np.searchsorted(self._starts, high))
            ]:
                inside = (numbers >= start) & (numbers < stop)
                if inside.any():
                    column = samples[:, self._ch_names.index(fault.ch_name)]
                    column[inside] = self._spoilt(fault, column[inside], numbers[inside])
        return samples

    def _span(self, fault: Fault) -> tuple[int, int]:
        """First and last (exclusive) sample of a fault in the values."""
        first = int(np.ceil(fault.at * self._rate))
        if isinstance(fault, kinds.NotFinite):
            return first, first + fault.n_samples
        end = fault.end if isinstance(fault, kinds.Lasting) else fault.at + POP_TIME
        return first, int(np.ceil(end * self._rate))

    def _spoilt(self, fault: Fault, values: Float32, numbers: NDArray[np.int64]) -> Float32:
        if isinstance(fault, kinds.NotFinite):
            return np.full_like(values, fault.value)
        if isinstance(fault, kinds.Flat):
            return np.zeros_like(values)
        if isinstance(fault, kinds.Railed):
            return np.full_like(values, fault.level_uv)
        added = np.zeros(len(values))
        if isinstance(fault, kinds.LineNoise):
            turn = 2 * np.pi * fault.freq / self._rate * numbers
            added = fault.amplitude_uv * np.sin(turn)
        elif isinstance(fault, kinds.Pop):
            added += fault.size_uv
        result: Float32 = (values + added).astype(np.float32)
        return result
