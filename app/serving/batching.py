"""Requests of many sessions, drawn together.

Owns which requests share a batch, and which are refused because they would come too late. A batch
begins as soon as the one before it is done; an idle server waits for company only as long as the
request in the greatest hurry allows. Knows nothing of EEG, Ray or the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.errors import AppError

SHARE = 0.1
"""Part of its budget that a request may wait for company."""
MEMORY = 0.3
"""Weight of the newest batch in what a batch is expected to take."""

SLACK = 1.5
"""A budget is never less than what so many batches take: a slow system would decode nothing."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class OverloadError(AppError):
    """There is no room: the picture would come later than its session can use it."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[_Item, _Result]):
    item: _Item
    since: float
    budget: float
    future: asyncio.Future[tuple[_Result, float]]


class Batcher(Generic[_Item, _Result]):
    """Runs items in batches, in order of arrival, one batch at a time.

    Parameters
    ----------
    run : callable
        Takes items and returns as many results, in their order; called in `executor`.
    executor : Executor
        With one thread: what is run keeps its order, and its state.
    max_batch : int
        Most items of one batch.
    max_wait : float
        Longest that an idle server waits for a second request, s.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        run: Callable[[Sequence[_Item]], Sequence[_Result]],
        *,
        executor: Executor,
        max_batch: int,
        max_wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._executor = executor
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._clock = clock
        self._waiting: deque[_Waiting[_Item, _Result]] = deque()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._busy_since: float | None = None
        self._expected = 0.0
        self.sizes: dict[int, int] = {}
        """How often a batch had which size."""

    @property
    def n_waiting(self) -> int:
        """Items that no batch has taken yet."""
        return len(self._waiting)

    def expected_wait(self) -> float:
        """How long an item that came now would wait for its result, s, as batches took so far."""
        ahead = -(-(len(self._waiting) + 1) // self._max_batch) * self._expected
        if self._busy_since is not None:
            ahead += max(0.0, self._expected - (self._clock() - self._busy_since))
        return ahead

    async def submit(self, item: _Item, *, budget: float) -> tuple[_Result, float]:
        """Run an item within a batch; its result, and how long it waited, s.

        Parameters
        ----------
        budget : float
            How long its session can wait for the result, s.

        Raises
        ------
        OverloadError
            The result would come later than that, or has waited for so long already.
        """
        ahead, budget = self.expected_wait(), max(budget, SLACK * self._expected)
        if self._expected and ahead > budget:
            raise OverloadError(
                f"{len(self._waiting)} epochs wait already, and a picture would come in "
                f"{ahead:.2g} s, later than the {budget:.2g} s that the session waits."
            )
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        future: asyncio.Future[tuple[_Result, float]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, self._clock(), budget, future))
        self._changed.set()
        return await future

    async def close(self) -> None:
        """End; what waits is refused."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for each in self._waiting:
            if not each.future.done():
                each.future.set_exception(OverloadError("the server is ending."))
        self._waiting.clear()

    async def _serve(self) -> None:
        while True:
            self._changed.clear()
            if not self._waiting:
                await self._changed.wait()
                continue
            if await self._company():
                continue
            batch = self._take()
            if batch:
                await self._work(batch)

    async def _company(self) -> bool:
        """Wait for more to come; False when the batch should begin."""
        first = min(each.since + min(self._max_wait, SHARE * each.budget) for each in self._waiting)
        left = first - self._clock()
        if len(self._waiting) >= self._max_batch or left <= 0:
            return False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), left)
            return True
        return False

    def _take(self) -> list[_Waiting[_Item, _Result]]:
        batch: list[_Waiting[_Item, _Result]] = []
        now = self._clock()
        while self._waiting and len(batch) < self._max_batch:
            each = self._waiting.popleft()
            waited = now - each.since
            if each.future.done():  # whoever asked has gone
                continue
            if waited + self._expected > max(each.budget, SLACK * self._expected):
                each.future.set_exception(
                    OverloadError(
                        f"the epoch waited {waited:.2g} s, and its picture would come later than "
                        f"the {each.budget:.2g} s that its session waits."
                    )
                )
                continue
            batch.append(each)
        return batch

    async def _work(self, batch: list[_Waiting[_Item, _Result]]) -> None:
        began = self._busy_since = self._clock()
        loop = asyncio.get_running_loop()
        self.sizes[len(batch)] = self.sizes.get(len(batch), 0) + 1
        try:
            results = await loop.run_in_executor(
                self._executor, self._run, [each.item for each in batch]
            )
        except Exception as error:  # noqa: BLE001 - the loop's top: each of them gets the reason
            for each in batch:
                if not each.future.done():
                    each.future.set_exception(error)
            return
        finally:
            took = self._clock() - began
            self._busy_since = None
            self._expected += (took - self._expected) * (MEMORY if self._expected else 1.0)
        for each, result in zip(batch, results, strict=True):
            if not each.future.done():
                each.future.set_result((result, began - each.since))
