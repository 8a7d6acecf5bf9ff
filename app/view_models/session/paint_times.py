"""How long a decoded picture takes from this process to the screen: the last part of the latency.

Owns the times of the newest pictures. Knows nothing of Qt; who paints says when it has.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np

from app.port import Result

NEWEST = 200
"""Pictures that the percentiles are of, as the session's own."""


class PaintTimes:
    """Milliseconds from a picture's return to its first paint, by the index of its marker.

    `clock` is `time.monotonic`, which the session stamps the return with as well.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._paint: OrderedDict[int, float] = OrderedDict()
        self._total: OrderedDict[int, float] = OrderedDict()
        self._watched_since: float | None = -math.inf

    def watch(self, on: bool) -> None:
        """Say in every frame whether pictures are on a screen at all."""
        if not on:
            self._watched_since = None
        elif self._watched_since is None:
            self._watched_since = self._clock()

    def reset(self) -> None:
        """Begin anew."""
        self._paint.clear()
        self._total.clear()

    def painted(self, result: Result) -> None:
        """Say that `result` is on the screen now; only the first time counts.

        One that came while nothing was on a screen was not painted late: nobody wanted it painted.
        """
        if result.returned is None or result.stages is None or result.index in self._paint:
            return
        if self._watched_since is None or result.returned < self._watched_since:
            return
        paint = 1000 * (self._clock() - result.returned)
        self._paint[result.index] = paint
        self._total[result.index] = result.stages.total_after_epoch + paint
        for kept in (self._paint, self._total):
            while len(kept) > NEWEST:
                kept.popitem(last=False)

    def of(self, index: int) -> float | None:
        """Return the time of one picture, ms; None when it was never painted, or long ago."""
        return self._paint.get(index)

    def stages(self, known: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """Return `known`, p50 and p95 by stage, with `paint` and the `total` up to the screen."""
        stages = dict(known)
        total = stages.pop("total_after_epoch", None)
        if total is not None:
            stages["total"] = total
        for name, kept in (("paint", self._paint), ("total", self._total)):
            if kept:
                p50, p95 = np.percentile(list(kept.values()), (50, 95))
                stages[name] = (float(p50), float(p95))
        return stages
