"""What the reader of one stream needs, whatever its role.

Owns a connection, the scout that looks for one, and the items that wait to be handed out. Knows
nothing of samples.
"""

from __future__ import annotations

import pylsl

from devices.lsl.connection import Connection
from devices.lsl.scout import Scout
from pipeline.values import (
    ClockOffset,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)


class RoleReader:
    """Base of the readers of EEG and of markers; one thread uses it.

    Attributes
    ----------
    info : StreamInfo or None
        The stream as the session knows it; None before it was found.
    connection : Connection or None
        The open inlet; None while the stream is away.
    state : StreamState
    items : list of SourceItem
        What `step` has produced and nobody has taken yet.
    """

    def __init__(self, role: StreamRole) -> None:
        self.role = role
        self.info: StreamInfo | None = None
        self.connection: Connection | None = None
        self.state = StreamState.CONNECTING
        self.items: list[SourceItem] = []
        self.last_offset = 0.0
        self._scout: Scout | None = None
        self._retired: list[Scout] = []
        self._admitted: set[str] = set()

    @property
    def foreign_hosts(self) -> tuple[str, ...]:
        """Hosts whose namesakes of the lost stream are refused now. Safe from any thread."""
        scout = self._scout
        return () if scout is None else scout.refused_hosts

    def admit(self, host: str) -> None:
        """Take a namesake on `host` for the lost stream. Safe from any thread."""
        self._admitted.add(host)

    def probe(self) -> None:
        """Hand out the newest clock offset; never waits, and never without a measurement."""
        offset = self.connection.offset() if self.connection is not None else None
        if offset is not None:
            self._tell_offset(offset)

    def tell_note(self) -> None:
        """Hand out why a stream is not chosen yet, once."""
        note = self._scout.note() if self._scout is not None else ""
        if note:
            self._tell(self.state, note)

    def release(self) -> tuple[list[Connection], list[Scout]]:
        """Give up the connection and the scouts; they are the caller's to close."""
        scouts = [*self._retired, *([self._scout] if self._scout is not None else [])]
        connections = [self.connection] if self.connection is not None else []
        self._retired, self._scout, self.connection = [], None, None
        return connections, scouts

    def _tell(self, state: StreamState, reason: str) -> None:
        self.state = state
        self.items.append(StateChange(self.role, state, pylsl.local_clock(), reason))

    def _tell_offset(self, offset: float) -> None:
        self.last_offset = offset
        self.items.append(ClockOffset(self.role, pylsl.local_clock(), offset))

    def _take(self) -> Connection | None:
        return self._scout.take() if self._scout is not None else None

    def _send(self, scout: Scout | None) -> None:
        """Let the present scout go, without waiting for its thread, and send another."""
        if self._scout is not None:
            self._scout.cancel()
            self._retired = [old for old in self._retired if old.alive] + [self._scout]
        self._scout = scout

    def _disconnect(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
