"""Steps as they are taken: for who shows how far a picture is, or times a few of them.

Every solver asks `steps` for its levels, so one is watched or cut short from outside, whatever
network it asks and whoever started it. Nothing is watched unless somebody does. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.sampling.denoisers import Level


@dataclass(frozen=True, slots=True)
class Run:
    """One solver's way from noise to a sample, cut short: its steps, and times in s.

    `step` is how long the last one took that was taken, `taken` all of those.
    """

    n_steps: int
    step: float
    taken: float


Watch = Callable[[int, int], bool]
"""(steps taken, steps in all), before the first and after each; True ends the run there."""
_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


def steps(levels: Sequence[Level]) -> Iterator[tuple[Level, Level]]:
    """Pairs of neighbouring levels, each step's two ends."""
    watch = _WATCH.get()
    if watch is None:
        yield from pairwise(levels)
        return
    n = len(levels) - 1
    watch(0, n)
    for taken, pair in enumerate(pairwise(levels), 1):
        yield pair
        if watch(taken, n):
            return


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Within, `watch` is called at every step that this thread takes."""
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


@contextmanager
def timed(synchronise: Callable[[], None]) -> Iterator[list[Run]]:
    """Within, every run ends after two steps; the second of them is timed.

    The first one is of no use: it warms caches up, and some solvers take it twice. `synchronise`
    waits until the device has done what it was told.
    """
    runs: list[Run] = []
    started = began = 0.0

    def watch(taken: int, n: int) -> bool:
        nonlocal started, began
        synchronise()
        now = perf_counter()
        if taken == 0:
            started = now
        is_over = taken == min(2, n)
        if is_over:
            runs.append(Run(n, now - began, now - started))
        began = now
        return is_over

    with watched(watch):
        yield runs
