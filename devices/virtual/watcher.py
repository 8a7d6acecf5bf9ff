"""A virtual person in front of a real window: EEG in real time, to the frames that were shown.

Owns the pace and the hand-over from the window's thread; the EEG is the virtual looker's. It looks
at the picture that it is asked for. A simulation, no EEG of anybody.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from devices.virtual.looker import CHUNK, SFREQ, Looker, LookerSource
from pipeline.looks import Grid, read_label
from pipeline.values import SourceItem

FOREVER = 1 << 30


class WatcherSource(LookerSource):
    """The virtual person's headset in real time, with a window's markers.

    Parameters
    ----------
    looker : Looker
    grid : Grid
        What the window shows.
    clock : callable
        LSL's `local_clock`, s, by which the window stamps its flips.
    """

    def __init__(self, looker: Looker, grid: Grid, *, clock: Callable[[], float]) -> None:
        super().__init__(looker, grid, n_looks=FOREVER)
        self._clock = clock
        self._t_start = clock()
        self._closed = threading.Event()
        self._seen: deque[tuple[float, bool]] = deque()
        self._said: deque[tuple[float, str]] = deque()

    @property
    def is_live(self) -> bool:
        """It keeps to the clock."""
        return True

    def see(self, at: float, bright: bool) -> None:
        """The attended picture is bright, or is not, from the flip at `at` on; from any thread."""
        self._seen.append((at - self._t_start, bright))

    def mark(self, label: str, at: float) -> None:
        """Take a marker of the window; from any thread."""
        self._said.append((at - self._t_start, label))

    def read(self, timeout: float) -> list[SourceItem]:
        """Wait for the next 33 ms of EEG, up to `timeout` s."""
        left = self._t_start + (self._n_times + CHUNK) / SFREQ - self._clock()
        if left > 0:
            self._closed.wait(min(left, timeout))
            if left > timeout:
                return []
        return super().read(timeout)

    def close(self) -> None:
        """End; safe to call twice."""
        super().close()
        self._closed.set()

    def _flicker(self, end: float) -> None:
        """Evoke what the flips since the last chunk evoke, and hand on their markers."""
        while self._seen and self._seen[0][0] < end:
            at, bright = self._seen.popleft()
            self._see(bright, at)
        while self._said:
            at, label = self._said.popleft()
            said = read_label(label)
            if said is not None:
                self._due.append((at, said))
