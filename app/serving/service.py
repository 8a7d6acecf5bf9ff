"""A replica that batches what its sessions ask, and what stands between it and the gate.

Owns the one thread that computes. Knows nothing of Ray, which runs this class on each replica, nor
of the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from app.runtime.messages import Ready
from app.runtime.remote.adapters import AdapterFiles
from app.runtime.remote.wire import Served
from app.serving.batching import Batcher, OverloadError
from app.serving.replica import Work
from configs import SessionConfig
from models.api import EncoderSpec
from models.repeatable import make_repeatable
from pipeline.errors import PhospheneError


@dataclass(frozen=True, slots=True)
class Declined:
    """An answer that is none: `is_overload`, or the request's own fault; in a sentence."""

    reason: str
    is_overload: bool = False


class Backend(Protocol):
    """What decodes for the gate: replicas behind Ray, or one here."""

    async def ready(self) -> Ready:
        """What decodes; raises where nothing does."""
        ...

    async def decode(self, work: Work, *, budget: float) -> Served | Declined:
        """Decode one epoch."""
        ...

    async def check_adapter(
        self, files: AdapterFiles, config: SessionConfig, ch_names: tuple[str, ...]
    ) -> EncoderSpec | Declined:
        """Load an adapter as the session would."""
        ...


class Decodes(Protocol):
    """What a service runs; `Replica` but for tests."""

    @property
    def ready(self) -> Ready:
        """What it is."""
        ...

    def decode(self, works: Sequence[Work]) -> list[Served]:
        """Answer a batch."""
        ...

    def check_adapter(
        self, files: AdapterFiles, config: SessionConfig, *, ch_names: tuple[str, ...]
    ) -> EncoderSpec:
        """Load an adapter as a session would."""
        ...


class ReplicaService:
    """A replica and its batches; satisfies `Backend`.

    Parameters
    ----------
    replica : Decodes
    max_batch : int
    max_wait : float
        Of an idle replica for a second request, s.
    threads : int
        CPU threads that compute.
    """

    def __init__(
        self, replica: Decodes, *, max_batch: int, max_wait: float, threads: int = 1
    ) -> None:
        self._replica = replica
        self._executor = ThreadPoolExecutor(
            1, thread_name_prefix="decode", initializer=make_repeatable, initargs=(threads,)
        )
        self._batcher: Batcher[Work, Served] = Batcher(
            replica.decode, executor=self._executor, max_batch=max_batch, max_wait=max_wait
        )

    async def ready(self) -> Ready:
        """What decodes."""
        return self._replica.ready

    async def decode(self, work: Work, *, budget: float) -> Served | Declined:
        """Decode one epoch within a batch; `waited` of the answer has the wait for it."""
        try:
            served, waited = await self._batcher.submit(work, budget=budget)
        except OverloadError as error:
            return Declined(str(error), is_overload=True)
        return replace(served, waited=served.waited + waited)

    async def check_adapter(
        self, files: AdapterFiles, config: SessionConfig, ch_names: tuple[str, ...]
    ) -> EncoderSpec | Declined:
        """Load an adapter beside what decodes."""

        def check() -> EncoderSpec:
            return self._replica.check_adapter(files, config, ch_names=ch_names)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, check)
        except PhospheneError as error:
            return Declined(str(error))

    async def close(self) -> None:
        """End; what waits is refused."""
        await self._batcher.close()
        self._executor.shutdown(wait=False)
