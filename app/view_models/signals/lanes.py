"""Which channels are in view: all, a fixed number, or as many as can be read; the rest by pages.

Owns the pages. Knows nothing of samples or pixels.
"""

from __future__ import annotations

LANES: tuple[int | None, ...] = (0, None, 4, 8, 16, 32, 64)
"""Channels in view that are offered: 0 as many as can be read, None all."""
FEWEST = 4
"""Channels that are in view however low the plot is."""


class Lanes:
    """A page of channels; every change is told by the return value."""

    def __init__(self) -> None:
        self.n_channels = 0
        self.wanted: int | None = None
        """Channels in view as chosen: None all, 0 as many as can be read."""
        self._first = 0
        self._fitting = 1_000_000

    @property
    def n_lanes(self) -> int:
        """How many channels are in view."""
        if self.wanted is None:
            return self.n_channels
        if self.wanted:
            return min(self.wanted, self.n_channels)
        # Pages of about the same length, not one full and one with the rest.
        n_pages = -(-self.n_channels // self._fitting)
        return -(-self.n_channels // n_pages) if n_pages else 0

    @property
    def shown(self) -> range:
        """Numbers of the channels in view."""
        first = min(self._first, max(0, self.n_channels - self.n_lanes))
        return range(first, first + self.n_lanes)

    def reset(self, n_channels: int) -> None:
        """Begin at the first of `n_channels`."""
        self.n_channels, self._first = n_channels, 0

    def want(self, lanes: int | None) -> bool:
        """Show `lanes` channels at once; return whether that is a change."""
        if lanes == self.wanted:
            return False
        self.wanted, self._first = lanes, 0
        return True

    def fit(self, n_lanes: int) -> bool:
        """Say how many can be read; return whether that changes what is in view."""
        before = self.n_lanes
        self._fitting = max(FEWEST, n_lanes)
        if self.n_lanes == before:
            return False
        # The channel at the top stays in view, on the page that it is on now.
        self._first -= self._first % max(1, self.n_lanes)
        return True

    def turn(self, pages: int) -> bool:
        """Go so many pages on, or back when negative; return whether there were any."""
        furthest = max(0, self.n_channels - self.n_lanes)
        first = min(max(0, self.shown.start + pages * self.n_lanes), furthest)
        moved = first != self._first
        self._first = first
        return moved
