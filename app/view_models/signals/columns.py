"""Samples to pixel columns: the least and the largest value of each column, nothing lost.

Owns the reduction of a stream to columns of the screen and the ring that keeps them. Knows
nothing of Qt, colours or scales.

A trace is the line through its samples. Column `k` covers the positions `[k w, (k + 1) w)`, `w`
samples wide (less than one when the window is short), and keeps the extremes of that line
inside: of the samples and of the line's value at both edges. Neighbours share an edge, so a
trace has no holes, and a spike of one sample shows at every width. Decimating by mean or by
stride, as most viewers do, hides it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.values import Float32


class ColumnStore:
    """A ring of pixel columns for all channels.

    The content does not depend on where the stream is cut into pushes.

    Parameters
    ----------
    n_channels : int
    samples_per_column : float
        Width of a column in samples, above 0.
    n_columns : int
        How many columns are kept.
    """

    def __init__(self, n_channels: int, samples_per_column: float, n_columns: int) -> None:
        if samples_per_column <= 0 or n_columns < 1 or n_channels < 1:
            raise ValueError(
                f"ColumnStore got {n_channels} channels, {n_columns} columns of "
                f"{samples_per_column} samples, expected all above zero."
            )
        self.samples_per_column = float(samples_per_column)
        self.n_columns = n_columns
        self.low: Float32 = np.full((n_channels, n_columns), np.nan, dtype=np.float32)
        self.high: Float32 = np.full((n_channels, n_columns), np.nan, dtype=np.float32)
        self.gaps: NDArray[np.bool_] = np.zeros(n_columns, dtype=np.bool_)
        self.newest = -1
        """Absolute number of the newest column that holds something; -1 before."""
        self._position = 0
        self._last: Float32 | None = None

    @property
    def position(self) -> int:
        """Position of the next sample."""
        return self._position

    @property
    def oldest(self) -> int:
        """Absolute number of the oldest column still kept."""
        return max(0, self.newest - self.n_columns + 1)

    def column_of(self, position: float) -> int:
        """Return the absolute number of the column that `position` falls into."""
        return int(np.floor(position / self.samples_per_column))

    def slots(self, first: int, last: int) -> NDArray[np.intp]:
        """Return the places in the ring of columns `first` to `last`, both included."""
        return np.arange(first, last + 1, dtype=np.intp) % self.n_columns

    def skip(self, n_samples: int) -> None:
        """Leave a gap of `n_samples` samples; its columns are marked and hold nothing."""
        first = self.newest + 1
        self._last = None
        self._position += max(1, n_samples)
        last = self.column_of(self._position)
        self._advance(last)
        marked = self.slots(max(first, last - self.n_columns + 1), last)
        if marked.size == 0:
            marked = self.slots(last, last)
        self.gaps[marked] = True

    def push(self, data: Float32) -> int:
        """Add samples, shape (n_channels, n_times); return the first column that changed."""
        n_times = data.shape[1]
        width = self.samples_per_column
        if n_times == 0:
            return self.newest + 1
        if self._last is None:
            start, points = self._position, data
        else:
            start = self._position - 1
            points = np.concatenate([self._last[:, None], data], axis=1)
        end = start + points.shape[1] - 1
        first = max(0, self.column_of(start))
        # Edges strictly inside (start, end]: where a new column begins.
        edges = np.arange(first + 1, self.column_of(end) + 1)
        positions = edges * width
        # The fraction is taken from the absolute position, so that no cut changes a bit of it.
        whole = np.floor(positions)
        fraction = (positions - whole).astype(np.float32)
        left = whole.astype(np.intp) - start
        right = np.minimum(left + 1, points.shape[1] - 1)
        values: Float32 = points[:, left] + fraction * (points[:, right] - points[:, left])
        self._advance(self.column_of(end))
        self._merge(first, points, start, positions, values)
        self._position += n_times
        self._last = points[:, -1].copy()
        return first

    def _merge(
        self,
        first: int,
        points: Float32,
        start: int,
        positions: NDArray[Any],
        values: Float32,
    ) -> None:
        """Fold samples and edge values into the columns from `first` on."""
        n_edges = positions.size
        order = np.searchsorted(positions, start + np.arange(points.shape[1]), side="right")
        merged = np.empty((points.shape[0], points.shape[1] + n_edges), dtype=np.float32)
        sample_at = np.arange(points.shape[1]) + order
        edge_at = np.searchsorted(start + np.arange(points.shape[1]), positions, side="left")
        edge_at = edge_at + np.arange(n_edges)
        merged[:, sample_at] = points
        merged[:, edge_at] = values
        # Each column begins at its left edge; the piece before the first edge belongs to `first`.
        begins = np.concatenate([[0], edge_at]).astype(np.intp)
        low = np.minimum.reduceat(merged, begins, axis=1)
        high = np.maximum.reduceat(merged, begins, axis=1)
        if n_edges:
            # ... and ends at its right edge, which is the next one's first point.
            low[:, :-1] = np.minimum(low[:, :-1], values)
            high[:, :-1] = np.maximum(high[:, :-1], values)
        keep = min(low.shape[1], self.n_columns)
        last = first + low.shape[1] - 1
        slots = self.slots(last - keep + 1, last)
        self.low[:, slots] = np.fmin(self.low[:, slots], low[:, -keep:])
        self.high[:, slots] = np.fmax(self.high[:, slots], high[:, -keep:])

    def _advance(self, last: int) -> None:
        """Empty the columns after the newest, up to `last`."""
        if last <= self.newest:
            return
        fresh = self.slots(max(self.newest + 1, last - self.n_columns + 1), last)
        self.low[:, fresh] = np.nan
        self.high[:, fresh] = np.nan
        self.gaps[fresh] = False
        self.newest = last
