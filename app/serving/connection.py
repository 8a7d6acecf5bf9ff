"""One connection of a server: closed when a request's head does not come.

Owns the time that a stranger may take before anything of a request is known, and the parser: h11,
whose heads are bounded (httptools, which uvicorn would take where it is installed, bounds none).
What a whole request says is the gate's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT = 10.0
"""Longest time for a request's first line and headers to come, s."""


def impatient_protocol(timeout: float = HEAD_TIMEOUT) -> type[H11Protocol]:
    """Make uvicorn's protocol of HTTP/1.1, with an end to waiting for a head."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):  # type: ignore[misc]
        """Closes a connection whose head is not whole in time."""

        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        @property
        def _waits_for_head(self) -> bool:
            return self.cycle is None or bool(self.cycle.response_complete)

        def _watch(self) -> None:
            if not self._waits_for_head:
                self._unwatch()
            elif self._late is None:
                self._late = self.loop.call_later(timeout, self._close_late)

        def _unwatch(self) -> None:
            if self._late is not None:
                self._late.cancel()
            self._late = None

        def _close_late(self) -> None:
            self._late = None
            # Between two requests uvicorn has its own, longer time.
            is_idle = self.timeout_keep_alive_task is not None
            if self._waits_for_head and not is_idle and not self.transport.is_closing():
                # Not closed in TLS's own order: that waits half a minute for the other end's word.
                self.transport.abort()

    return Impatient
