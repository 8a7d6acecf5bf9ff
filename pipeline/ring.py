"""The double-length ring: one writer, many readers, every window contiguous.

Owns the newest `capacity` samples of a stream with their timestamps, by absolute sample number.
Knows nothing of what the numbers mean, nor of locks: the writer never waits. A reader copies
first and then asks whether the writer has come round meanwhile; a mutex was rejected because a
slow reader (a window, a disk) could then hold up acquisition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pipeline.errors import ShapeError
from pipeline.values import Float32, Float64


class Ring:
    """Newest `capacity` samples of `n_channels`; each is written twice, `capacity` apart.

    Parameters
    ----------
    n_channels : int
    capacity : int
        Samples that are kept.
    dtype : dtype
        Of the data; timestamps are float64.
    """

    def __init__(self, n_channels: int, capacity: int, dtype: DTypeLike = np.float32) -> None:
        if n_channels < 1 or capacity < 1:
            raise ShapeError(
                f"Ring({n_channels} channels, {capacity} samples), expected at least one of each: "
                "check the stream's channels and the length of the buffer."
            )
        self.n_channels = n_channels
        self.capacity = capacity
        # One row a sample: a packet is one stretch of memory, whatever the ring's length; with
        # one row a channel each packet touched two pages a channel. Filled, not `zeros`: the
        # pages are touched here and not while samples come.
        self._data = np.full((2 * capacity, n_channels), 0, dtype=dtype)
        self._timestamps = np.full(2 * capacity, 0.0)
        # `_n_claimed` runs ahead of `n_written` while an append is under way: a reader that
        # looks at it after copying knows whether its window was being overwritten.
        self._n_claimed = 0
        self._n_written = 0

    @property
    def n_written(self) -> int:
        """Samples ever written: the absolute number of the next one."""
        return self._n_written

    @property
    def oldest(self) -> int:
        """Absolute number of the oldest sample that is still there."""
        return max(0, self._n_claimed - self.capacity)

    def append(self, data: Float32, timestamps: Float64) -> None:
        """Add samples; O(their number). Only one thread may call this.

        Parameters
        ----------
        data : ndarray, shape (n_channels, n_times)
        timestamps : ndarray, shape (n_times,), s

        Raises
        ------
        ShapeError
            Other channels, or not one timestamp a sample.
        """
        n_times = len(timestamps)
        if data.shape != (self.n_channels, n_times):
            raise ShapeError(
                f"Ring.append got data of shape {data.shape} and {n_times} timestamps, expected "
                f"({self.n_channels}, n_times): transpose, or pick the channels first."
            )
        position = self._n_written
        self._n_claimed = position + n_times
        if n_times > self.capacity:
            position += n_times - self.capacity
            data, timestamps = data[:, -self.capacity :], timestamps[-self.capacity :]
        at = position % self.capacity
        n_first = min(len(timestamps), self.capacity - at)
        self._write(data[:, :n_first], timestamps[:n_first], at)
        if n_first < len(timestamps):
            self._write(data[:, n_first:], timestamps[n_first:], 0)
        self._n_written = self._n_claimed

    def _write(self, data: Float32, timestamps: Float64, at: int) -> None:
        """Write a part that does not cross the ring's end, and its twin."""
        stop = at + len(timestamps)
        twin, twin_stop = at + self.capacity, stop + self.capacity
        self._data[at:stop] = data.T
        self._data[twin:twin_stop] = self._data[at:stop]
        self._timestamps[at:stop] = timestamps
        self._timestamps[twin:twin_stop] = timestamps

    def read(self, start: int, stop: int) -> tuple[Float32, Float64] | None:
        """Copy samples `start` to `stop` (exclusive); None when they are gone or not yet there.

        Safe from any thread while another appends: a window that was overwritten during the
        copy is never handed out.

        Returns
        -------
        data : ndarray, shape (n_channels, stop - start)
        timestamps : ndarray, shape (stop - start,), s
        """
        if not self._holds(start, stop):
            return None
        low = start % self.capacity
        data = self._data[low : low + stop - start].T.copy()
        timestamps = self._timestamps[low : low + stop - start].copy()
        return (data, timestamps) if start >= self.oldest else None

    def latest(self, n_times: int) -> tuple[Float32, Float64]:
        """Copy the newest samples, `n_times` or as many as there are."""
        while True:
            stop = self._n_written
            found = self.read(max(0, stop - min(n_times, self.capacity)), stop)
            if found is not None:
                return found
            # The writer came by during the copy of a nearly full ring: keep off its edge.
            n_times = max(1, min(n_times, self.capacity) * 3 // 4)

    def timestamps_view(self, start: int, stop: int) -> Float64:
        """Timestamps of samples that are there, without a copy: for the writer's thread only."""
        low = start % self.capacity
        return self._timestamps[low : low + stop - start]

    def data_view(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples that are there, without a copy: for the writer's thread only."""
        low = start % self.capacity
        return self._data[low : low + stop - start].T

    def _holds(self, start: int, stop: int) -> bool:
        return self.oldest <= start <= stop <= self._n_written
