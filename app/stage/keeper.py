"""Keeps a session on the stage for hours: attract loop, visitors, what follows a failure.

Owns which session runs and when another takes its place. A new one is opened beside the old, which
goes on until the new one has drawn: the picture never waits for a decoder to load. Between people
it is the other way round: the old one ends first. Calls that may block run in threads of their own;
`poll` never waits. Knows nothing of Qt.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from app.port import Phase, Result, SessionPort, Snapshot, TraceBlock
from pipeline.errors import PhospheneError
from pipeline.values import Outcome

_LOG = logging.getLogger(__name__)
ENDING = 60.0
"""Longest wait for a session's own end, s: what it writes is deleted only after that."""
LOOKING = "Looking for the headset"
NO_HEADSET = "The headset is not in reach"
"""What an audience reads; the reason stands in the log."""


class Who(StrEnum):
    """Whose session it is."""

    ATTRACT = "attract"
    """The virtual headset's: nobody's."""
    VISITOR = "visitor"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the keeper waits, s.

    `start`: for a session's first epoch; `picture`: for the next one's end, picture or refusal;
    `silent`: for a stream that has gone; `rotate`: length of a session; `visit`: of a visit;
    `retry`, `longest_retry`: before the first and before any further try after failures; `tidy`:
    between two looks at the disk.
    """

    start: float = 60.0
    picture: float = 8.0
    silent: float = 5.0
    rotate: float = 900.0
    visit: float = 300.0
    retry: float = 0.5
    longest_retry: float = 8.0
    tidy: float = 30.0


@dataclass(slots=True, eq=False)
class Run:
    """One session and what is known of it."""

    who: Who
    port: SessionPort
    began: float
    n_taken: int = 0
    drew_at: float | None = None
    heard_at: float | None = None
    """When a marker or window last came to its end, picture or not."""
    newest: Result | None = None
    snapshot: Snapshot = field(default_factory=Snapshot)

    def look(self, now: float) -> None:
        """Take in what is new; only the newest picture is kept."""
        self.snapshot = self.port.snapshot()
        results = self.port.results(self.n_taken)
        self.n_taken += len(results)
        for result in results:
            self.heard_at = now
            if result.outcome is Outcome.DECODED and result.pixels is not None:
                self.newest, self.drew_at = result, now

    def traces(self, seconds: float) -> TraceBlock | None:
        """The newest samples; None where there are none."""
        info = self.snapshot.info
        if info is None:
            return None
        return self.port.traces(0, max(2, round(seconds * info.sfreq)))


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What the stage shows now.

    `result` is the newest picture of the session on show, None before its first; `run` counts
    sessions, so that two pictures of one number belong to one person; `words` say what is waited
    for, or what went wrong.
    """

    who: Who
    run: int
    result: Result | None
    is_simulated: bool
    words: str
    snapshot: Snapshot


class Staged(Protocol):
    """What the audience's window shows and asks."""

    @property
    def shown(self) -> Shown:
        """What to show now."""
        ...

    def poll(self) -> None:
        """Look after it; never waits."""
        ...

    def traces(self, seconds: float) -> TraceBlock | None:
        """The newest samples of the session on show."""
        ...

    def next_visitor(self) -> bool:
        """Begin anew for the next person, where that can be; whether it can."""
        ...

    def attract(self) -> None:
        """End the visit."""
        ...


class Keeper:
    """The sessions of one stage.

    Parameters
    ----------
    make : callable
        Makes a session for somebody, not started yet; may block and raise `PhospheneError`.
    has_visitors : bool
        Whether there is a headset for visitors at all.
    patience : Patience, optional
    ended : callable
        Takes the folder of each session that has ended, and whose it was; may block.
    tidy : callable
        Looks after the disk now and then; may block.
    clock : callable
        s; `time.monotonic` but for tests.
    spawn : callable
        Runs something in a thread; at once in tests.
    """

    def __init__(
        self,
        make: Callable[[Who], SessionPort],
        *,
        has_visitors: bool,
        patience: Patience | None = None,
        ended: Callable[[Path, Who], None] = lambda _out, _who: None,
        tidy: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        spawn: Callable[[Callable[[], object]], threading.Thread | None] | None = None,
    ) -> None:
        self._make, self._ended, self._clock = make, ended, clock
        self._tidy, self._tidied_at = tidy, clock()
        self._patience = patience or Patience()
        self._has_visitors = has_visitors
        self._spawn = spawn or _in_thread
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._next: Run | None = None
        self._opening: Who | None = None
        self._opened: list[tuple[int, Who, SessionPort | None, str]] = []
        self._turn = 0
        """Counts who it was for: what was opened for one person is no other's."""
        self._threads: list[threading.Thread] = []
        self._who = Who.ATTRACT
        self._visit_began = 0.0
        self._retry_at = 0.0
        self._n_failures = 0
        self._closing = False
        self.n_runs = 0
        self.n_restarts = 0
        """Sessions that ended otherwise than by plan."""
        self._words = ""

    # -- what the window asks -----------------------------------------------------------------

    @property
    def shown(self) -> Shown:
        """What to show now."""
        run = self._run
        if run is None:
            return Shown(self._who, self.n_runs, None, self._who is Who.ATTRACT, self._words,
                         Snapshot())  # fmt: skip
        eeg = run.snapshot.eeg
        simulated = run.who is Who.ATTRACT if eeg is None else eeg.is_simulated
        return Shown(run.who, self.n_runs, run.newest, simulated, self._words, run.snapshot)

    @property
    def current(self) -> SessionPort | None:
        """The session on show; None between two."""
        return None if self._run is None else self._run.port

    def traces(self, seconds: float) -> TraceBlock | None:
        """The newest samples of the session on show; None where there are none."""
        return None if self._run is None else self._run.traces(seconds)

    def next_visitor(self) -> bool:
        """Begin anew for the next person; the old session ends first. False: there is no headset.

        Nothing of the person before is in it: no smoothing, no alignment, no picture.
        """
        if not self._has_visitors:
            return False
        self._go_to(Who.VISITOR)
        self._visit_began = self._clock()
        return True

    def attract(self) -> None:
        """End the visit, back to the virtual headset."""
        self._go_to(Who.ATTRACT)

    def poll(self) -> None:
        """Look after the sessions; call it some times a second. Never waits."""
        now = self._clock()
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._take_opened(now)
        for run in (self._run, self._next):
            if run is not None:
                run.look(now)
        self._swap()
        self._judge(now)
        is_visit = self._run is not None and self._run.who is Who.VISITOR
        if is_visit and now - self._visit_began > self._patience.visit:
            self.attract()
        if self._wants_one(now):
            self._open(self._who)
        if now - self._tidied_at > self._patience.tidy and not self._closing:
            self._tidied_at = now
            self._start(self._tidy)

    def close(self, timeout: float = 30.0) -> None:
        """End all sessions and wait for their files; safe to call twice."""
        self._closing = True
        for run in (self._run, self._next):
            if run is not None:
                self._retire(run)
        self._run = self._next = None
        deadline = time.monotonic() + timeout
        while self._threads and time.monotonic() < deadline:
            self._threads[0].join(max(0.0, deadline - time.monotonic()))
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._take_opened(self._clock())

    # -- the sessions ---------------------------------------------------------------------------

    def _wants_one(self, now: float) -> bool:
        if self._closing or self._opening is not None or now < self._retry_at:
            return False
        if self._run is None:
            return self._next is None
        is_old = now - self._run.began > self._patience.rotate
        # A visit is one session: a new one would forget what was learnt of the person.
        return is_old and self._next is None and self._run.who is Who.ATTRACT

    def _open(self, who: Who) -> None:
        self._opening, turn = who, self._turn

        def work() -> None:
            port: SessionPort | None = None
            reason = ""
            try:
                port = self._make(who)
                port.start()
            except (PhospheneError, OSError) as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001 - the thread's top loop: the stage goes on
                _LOG.exception("a session could not be opened")
                reason = f"{type(error).__name__}: {error}"
            with self._lock:
                self._opened.append((turn, who, port if not reason else None, reason))

        self._start(work)

    def _take_opened(self, now: float) -> None:
        with self._lock:
            opened, self._opened = self._opened, []
        for turn, who, port, reason in opened:
            self._opening = None
            if port is not None and (self._closing or turn != self._turn):
                self._retire(Run(who, port, now))
            elif turn != self._turn:
                continue
            elif port is None:
                self._fail(who, reason, now)
            else:
                self._next = Run(who, port, now)

    def _swap(self) -> None:
        """Put the next session on show once it has drawn, or at once where there is none."""
        if self._next is None:
            return
        if self._run is None or self._next.drew_at is not None:
            old, self._run, self._next = self._run, self._next, None
            self.n_runs += 1
            if old is not None:
                self._retire(old)
            elif self._run.drew_at is None:
                self._words = "" if self._run.who is Who.ATTRACT else LOOKING

    def _judge(self, now: float) -> None:
        run = self._run
        if run is None:
            return
        reason = self._fault(run, now)
        if reason:
            self._run = None
            self._retire(run)
            self._fail(run.who, reason, now)
        elif run.drew_at is not None and run.drew_at == now:
            self._n_failures, self._words = 0, ""
        waiting = self._next
        if waiting is not None and (reason := self._fault(waiting, now)):
            self._next = None
            self._retire(waiting)
            self._fail(waiting.who, reason, now)

    def _fault(self, run: Run, now: float) -> str:
        """Why a session must end; empty while all is well."""
        snapshot, patience = run.snapshot, self._patience
        if snapshot.phase in (Phase.FAILED, Phase.STOPPED):
            return snapshot.message or "the session ended"
        if (snapshot.silent_for or 0.0) > patience.silent:
            return "the headset is silent"
        if run.heard_at is None:
            late = now - run.began > patience.start
            return "nothing came after the start" if late else ""
        # A decoder that died is started anew by its session: no reason to begin from the beginning.
        is_ready = snapshot.decoder.startswith("ready")
        limit = patience.picture if is_ready else patience.start
        return "nothing is decoded any more" if now - run.heard_at > limit else ""

    def _fail(self, who: Who, reason: str, now: float) -> None:
        self.n_restarts += 1
        self._n_failures += 1
        wait = self._patience.retry * 2.0 ** (self._n_failures - 1)
        self._retry_at = now + min(self._patience.longest_retry, wait)
        _LOG.warning("the %s session is started anew: %s", who, reason)
        if who is Who.VISITOR and self._who is Who.VISITOR and self._n_failures > 1:
            self._words = NO_HEADSET
            self._who, self._retry_at = Who.ATTRACT, now
            self._turn += 1
        else:
            self._words = LOOKING if who is Who.VISITOR else ""

    def _go_to(self, who: Who) -> None:
        for run in (self._run, self._next):
            if run is not None:
                self._retire(run)
        self._run = self._next = None
        self._turn += 1
        self._who, self._n_failures, self._retry_at, self._words = who, 0, 0.0, ""

    def _retire(self, run: Run) -> None:
        def work() -> None:
            try:
                run.port.stop(ENDING, at_once=True)
                out = run.port.snapshot().out
                if out is not None:
                    self._ended(out, run.who)
            except (PhospheneError, OSError):
                _LOG.exception("a session did not end well")

        self._start(work)

    def _start(self, work: Callable[[], object]) -> None:
        thread = self._spawn(work)
        if thread is not None:
            self._threads.append(thread)


def _in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, name="stage", daemon=True)
    thread.start()
    return thread
