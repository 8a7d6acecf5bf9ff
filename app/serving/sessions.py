"""Open sessions of a server: whose each is, what was asked last, and which adapters are theirs.

Owns what makes a request belong to a session: the client that opened it, numbers that only rise,
and adapters that this very session has sent. Bounded in every direction. Pure but for the clock.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from app.errors import AppError
from app.runtime.remote.adapters import AdapterFiles
from app.runtime.remote.wire import RefusalCode
from configs import SessionConfig

MAX_SESSIONS = 1024
MAX_PER_CLIENT = 32
MAX_OPEN = 8
"""Epochs of one session that may be under way: one headset gives one after the other."""
MAX_ADAPTERS = 4
"""Adapters that one session keeps; the oldest gives way."""
IDLE = 900.0
"""A session that asks nothing for so long is over, s."""
QUIET = 10.0
"""Where there are too many, one that asked nothing for so long gives way, s. A client whose opening
was answered too late opens another, and knows of no session to close."""


class RefusedError(AppError):
    """A request is refused; `code` is what is counted."""

    def __init__(self, code: RefusalCode, reason: str) -> None:
        super().__init__(reason)
        self.code: RefusalCode = code


@dataclass(slots=True, eq=False)
class OpenSession:
    """One session of a client."""

    id: str
    client: str
    config: SessionConfig
    subject: str
    budget: float
    opened: float
    seen: float
    number: int = -1
    n_open: int = 0
    state: str = ""
    n_observed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    adapters: OrderedDict[str, AdapterFiles] = field(default_factory=OrderedDict)

    def take_number(self, number: int) -> None:
        """Take a request's number; refuse one that was taken before."""
        if number <= self.number:
            raise RefusedError(
                "replayed", f"number {number} was asked before, expected above {self.number}."
            )
        if self.n_open >= MAX_OPEN:
            raise RefusedError(
                "overload", f"{MAX_OPEN} epochs of this session are under way already."
            )
        self.number = number

    def adapter(self, sha256: str) -> AdapterFiles | None:
        """The adapter of a hash; none but what this session has sent."""
        if not sha256:
            return None
        found = self.adapters.get(sha256)
        if found is None:
            raise RefusedError("adapter", "this session has sent no adapter of that hash.")
        return found

    def keep(self, files: AdapterFiles) -> None:
        """Keep an adapter that came, and was found to be this session's person's."""
        self.adapters[files.sha256] = files
        while len(self.adapters) > MAX_ADAPTERS:
            self.adapters.popitem(last=False)


class Sessions:
    """All of a server's.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    on_end : callable
        Takes each session that is over, once.
    """

    def __init__(
        self, *, clock: Callable[[], float], on_end: Callable[[OpenSession], None]
    ) -> None:
        self._clock = clock
        self._on_end = on_end
        self._open: dict[str, OpenSession] = {}

    def __len__(self) -> int:
        """Open ones."""
        return len(self._open)

    def open(
        self, *, client: str, subject: str, config: SessionConfig, budget: float
    ) -> OpenSession:
        """Open a session for a client; raises `RefusedError` where there are too many."""
        self.sweep()
        own = [each for each in self._open.values() if each.client == client]
        if len(own) >= MAX_PER_CLIENT:
            self._make_room(own, n_own=len(own))
        if len(self._open) >= MAX_SESSIONS:
            self._make_room(list(self._open.values()), n_own=len(own))
        now = self._clock()
        made = OpenSession(
            secrets.token_hex(16), client, config, subject, budget, opened=now, seen=now
        )
        self._open[made.id] = made
        return made

    def _make_room(self, among: list[OpenSession], *, n_own: int) -> None:
        """End the session that was silent longest; its client, if there is one, opens another."""
        silent = min(among, key=lambda each: (each.n_open > 0, each.seen))
        if silent.n_open or self._clock() - silent.seen < QUIET:
            raise RefusedError(
                "overload", f"{len(self._open)} sessions are open, {n_own} of them of this client."
            )
        self.close(silent)

    def get(self, session: str, *, client: str) -> OpenSession:
        """A client's own session; of another's it is not even said that there is one."""
        found = self._open.get(session)
        if found is None or found.client != client:
            raise RefusedError("session", "there is no such session of this client: open one.")
        found.seen = self._clock()
        return found

    def close(self, session: OpenSession) -> None:
        """End a session."""
        if self._open.pop(session.id, None) is not None:
            self._on_end(session)

    def sweep(self, *, everything: bool = False) -> None:
        """End what has been silent for `IDLE`, or `everything`."""
        now = self._clock()
        for each in list(self._open.values()):
            if everything or (now - each.seen > IDLE and not each.n_open):
                self.close(each)
