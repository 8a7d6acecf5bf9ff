"""The decoder process of a session that another machine decodes; this one stands by.

Owns going over: to the server while it answers, here while it does not, back when it is back. It
answers the pipe that `app.runtime.worker` answers. The local decoder is loaded beside, so that no
epoch waits for it, and a word says when it can take over, or that it cannot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection

from app.runtime.messages import (
    Answer,
    Job,
    Load,
    Loaded,
    Moved,
    Ready,
    Refused,
    StandsBy,
    Stepped,
    Switched,
)
from app.runtime.remote.client import RefusedByServerError, RemoteSession
from app.runtime.remote.transport import GoneError, OtherServerError
from app.runtime.worker import Worker, telling
from configs import SessionConfig
from pipeline.errors import PhospheneError

PROBE_EVERY = 1.0
"""How soon a server that is gone is looked for, s; later after each failure, and each time that it
was left again before it had decoded much."""
PROBE_MAX = 15.0
PROBE_GROWS, LEFT_AGAIN = 1.5, 2.0
SLACK = 1.5
"""Pictures' times that are left for drawing here what a server has not answered."""
LOCAL_TIMEOUT = 20.0
"""Longest wait for the decoder here to be loaded, of what may wait for as long as it likes, s."""


def main(connection: Connection, config: SessionConfig) -> None:
    """Answer jobs, there or here, until the pipe closes or `None` comes."""
    sending = threading.Lock()

    def send(word: object) -> None:
        with sending:
            connection.send(word)

    places = Places(config, send=send)
    with telling(connection):
        places.start()
    if places.refusal:
        send(Refused(places.refusal))
        return
    send(places.ready)
    places.announce()
    try:
        _answer(connection, places, send)
    finally:
        places.close()


def _answer(connection: Connection, places: Places, send: Callable[[object], None]) -> None:
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if request is None:
            return
        if isinstance(request, Load):
            send(places.load(request))
            continue
        send(places.decode(request))


class Local:
    """The decoder of this machine, loaded beside.

    Parameters
    ----------
    config : SessionConfig
    make : callable
        `Worker` but for tests.
    """

    def __init__(self, config: SessionConfig, make: Callable[..., Worker]) -> None:
        self.config = config
        self._make = make
        self._tell: Callable[[Stepped | Switched], None] = lambda _: None
        self._done: Callable[[], None] = lambda: None
        self.worker: Worker | None = None
        self.reason = ""
        self._loaded = threading.Event()
        self._thread = threading.Thread(target=self._load, name="local", daemon=True)
        self._folders: list[Load] = []

    def start(self, tell: Callable[[Stepped | Switched], None], done: Callable[[], None]) -> None:
        """Begin to load; `done` is called in the thread that does, also where it cannot be."""
        self._tell, self._done = tell, done
        self._thread.start()

    def wait(self, timeout: float) -> Worker | None:
        """Wait until it is loaded; None where it cannot be, or not in time."""
        self._loaded.wait(timeout)
        if self.worker is not None:
            # Not above: the session's own process names this module, and has no torch.
            from models.repeatable import make_repeatable

            make_repeatable(self.config.decoder.threads)  # torch keeps a part of this by thread
        return self.worker

    @property
    def is_loaded(self) -> bool:
        """Whether loading has ended, well or not."""
        return self._loaded.is_set()

    def load(self, request: Load) -> Loaded | None:
        """Have an adapter loaded, at once or as soon as there is a decoder."""
        if self.worker is None:
            self._folders.append(request)
            return None
        return self.worker.load(request)

    def _load(self) -> None:
        try:
            worker = self._make(self.config, tell=self._tell)
            worker.settle()
            for request in self._folders:
                worker.load(request)
            self.worker = worker
        except PhospheneError as error:
            self.reason = str(error)
        except Exception as error:  # noqa: BLE001 - the thread's top: the reason is told
            self.reason = f"{type(error).__name__}: {error}"
        finally:
            self._loaded.set()
            self._done()


class Places:
    """Where epochs are decoded: there, or here.

    Parameters
    ----------
    config : SessionConfig
    send : callable
        Takes words for the session.
    open_session : callable
        `RemoteSession` but for tests.
    make_local : callable
        `Worker` but for tests.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        send: Callable[[object], None],
        open_session: Callable[[SessionConfig], RemoteSession] = RemoteSession,
        make_local: Callable[..., Worker] = Worker,
        probe_every: float = PROBE_EVERY,
    ) -> None:
        self._config = config
        self._url = config.decoder.remote or ""
        self._send = send
        self._open = open_session
        self._local = Local(config, make_local)
        self._remote: RemoteSession | None = None
        self._probe_every = self._pause = probe_every
        self._closing = threading.Event()
        self._found: tuple[RemoteSession, list[Load]] | None = None
        """A session that waits to be used, and the adapters that it was sent."""
        self._prober: threading.Thread | None = None
        self._server: Ready | None = None
        self._lock = threading.Lock()
        self._loads: list[Load] = []
        self._here = 0
        """Epochs that were decoded here since the server decoded the last one."""
        self._word = Moved("", "")
        self._tells = False
        """Whether to say, when that is known, that the decoder here is loaded, or is none."""
        self.refusal = ""
        self.ready: Ready | None = None

    def start(self) -> None:
        """Open the session there and load the decoder here; wait for what answers first."""
        first = self._config.decoder.adapter
        if first is not None:
            self._loads.append(Load(first))
        reason, told = "", {""}
        try:
            self._remote = self._opened(self._loads)
        except PhospheneError as error:
            reason, told = _words(error), {"", _kind(error)}
        settled = {} if self._remote is None else self._remote.ready.settled
        # By the server's back-end where this machine has it, so that pictures of both are of one
        # kind, and a replay by one setting repeats them all. No epoch waits for a build meanwhile.
        update = dict(settled) if settled.get("device") == "cpu" else {}
        decoder = self._config.decoder.model_copy(update={**update, "build": "first"})
        self._local.config = self._config.model_copy(update={"decoder": decoder})
        self._local.start(self._send, self._stand_by)
        if self._remote is not None:
            self.ready = self._remote.ready
            self._word = Moved(
                self._url,
                f"EEG leaves this machine: {self._url} decodes it, as was asked for. The decoder "
                "here is loaded beside; until it stands by, a server that goes costs pictures.",
                self._remote.ready,
            )
            return
        worker = self._local.wait(timeout=3600.0)
        if worker is None:
            self.refusal = (
                f"{self._url} does not decode ({reason}), and neither does this machine: "
                f"{self._local.reason}"
            )
            return
        self.ready = worker.ready
        self._word = Moved(
            "", f"{self._url} does not decode ({reason}): pictures are decoded here until it does."
        )
        self._look_for_it(told=told)

    def announce(self) -> None:
        """Say where epochs are decoded, and whether this machine could take over."""
        self._send(self._word)
        with self._lock:
            # Where no server was there to begin with, the decoder here has been waited for.
            self._tells = self._remote is not None
        self._stand_by()

    def _stand_by(self) -> None:
        """Say once that the decoder here is loaded, or is none, when there is a session to hear."""
        with self._lock:
            if not self._tells or not self._local.is_loaded:
                return
            self._tells = False
        reason = self._local.reason
        sentence = f"The decoder of this machine stands by, to take over from {self._url}."
        if reason:
            sentence = f"This machine cannot take over from {self._url}: {reason}"
        self._send(StandsBy(sentence, reason))

    def _opened(self, loads: list[Load]) -> RemoteSession:
        """Open a session there, with adapters that this one uses."""
        session = self._open(self._config)
        try:
            for request in loads:
                loaded = session.load(request)
                if loaded.spec is None:
                    raise RefusedByServerError("adapter", loaded.reason)
        except PhospheneError:
            session.close()
            raise
        return session

    def load(self, request: Load) -> Loaded:
        """Load an adapter where epochs are decoded, and where they may be."""
        here = self._local.load(request)
        remote = self._remote
        if remote is None:
            if here is None:
                worker = self._local.wait(LOCAL_TIMEOUT)
                here = None if worker is None else worker.load(request)
            found = here or Loaded(request.folder, reason="no decoder is loaded yet.")
        else:
            try:
                found = remote.load(request)
            except GoneError as error:
                self._away(remote, error)
                return self.load(request)
        if found.spec is not None:
            with self._lock:
                self._loads = [*self._loads[-3:], request]
        return found

    def decode(self, job: Job) -> Answer:
        """Answer one job, there while the server answers, else here."""
        self._return()
        remote = self._remote
        if remote is not None:
            try:
                answer = remote.decode(job, within=self._within())
            except GoneError as error:
                self._away(remote, error)
            else:
                self._pause = max(self._probe_every, self._pause / PROBE_GROWS)
                # What follows the person here has missed what was decoded there, and vice versa.
                began = answer.began and (job.draw or answer.observed)
                self._here = 0
                return replace(answer, began=began)
        return self._decode_here(job)

    def _within(self) -> float | None:
        """How long the server's answer is worth waiting for, while it can be drawn here yet, s."""
        max_wait, worker = self._config.decoder.max_wait, self._local.worker
        pace = None if worker is None else worker.ready.pace
        if max_wait is None or pace is None:
            return None
        left = max_wait - SLACK * pace.picture
        return left if left > max_wait / 2 else None

    def _decode_here(self, job: Job) -> Answer:
        # No longer than a picture may wait: the next epochs would wait behind it.
        max_wait = self._config.decoder.max_wait or LOCAL_TIMEOUT
        worker = self._local.wait(min(max_wait, LOCAL_TIMEOUT))
        if worker is None:
            away = f"{self._url} does not decode, and here"
            if self._local.reason:
                return Answer(job.index, error=f"{away}: {self._local.reason}")
            return Answer(job.index, overload=f"{away} the decoder is still loading")
        began = self._here == 0
        if began:
            worker.forget()
            self._compare(worker.ready)
        self._here += 1
        return replace(worker.decode(job), began=began)

    def _compare(self, here: Ready) -> None:
        """Say once where other weights draw here than there."""
        there = self._server
        if there is None or here.sampler_sha256 == there.sampler_sha256:
            return
        self._server = None
        self._send(Moved("", f"Other weights draw here than at {self._url}: so do the pictures."))

    def _away(self, left: RemoteSession, error: GoneError) -> None:
        """Go over to this machine; nothing more is asked of the server by whom an epoch waits."""
        self._server, self._remote = left.ready, None
        self._send(
            Moved(
                "",
                f"{self._url} does not decode any more ({_words(error)}): pictures are decoded "
                "here until it is back.",
            )
        )
        self._look_for_it(left, told={"", _kind(error)})
        self._pause = min(PROBE_MAX, LEFT_AGAIN * self._pause)

    def _look_for_it(self, left: RemoteSession | None = None, *, told: set[str]) -> None:
        self._prober = threading.Thread(
            target=self._probe, args=(self._pause, left, told), name="probe", daemon=True
        )
        self._prober.start()

    def _probe(self, pause: float, left: RemoteSession | None, told: set[str]) -> None:
        """Look for the server until it takes this session; say what a person has to mend."""
        while not self._closing.wait(pause):
            loads = self._loads
            try:
                found = self._opened(loads)
            except Exception as error:  # noqa: BLE001 - the thread's top: it goes on looking
                pause = min(PROBE_MAX, PROBE_GROWS * pause)
                kind = _kind(error)
                if kind not in told:
                    told.add(kind)
                    sentence = (
                        f"{self._url} does not take this session ({_words(error)}): pictures are "
                        "decoded here until it does."
                    )
                    self._send(Moved("", sentence))
                continue
            with self._lock:
                self._found = found, loads
            if left is not None:
                left.close()  # it may never have been told
            return

    def _return(self) -> None:
        with self._lock:
            found, self._found = self._found, None
        if found is None:
            return
        remote, loads = found
        if loads is not self._loads:  # an adapter was loaded here meanwhile
            self._look_for_it(remote, told={""})
            return
        self._remote = remote
        sentence = f"{self._url} decodes from here on: EEG leaves this machine for it."
        self._send(Moved(self._url, sentence, remote.ready))

    def close(self) -> None:
        """End the session there."""
        self._closing.set()
        if self._prober is not None:
            self._prober.join(0.2)
        for each in (self._remote, self._found and self._found[0]):
            if each is not None:
                each.close()


def _kind(error: Exception) -> str:
    """What is told of once while a server is looked for; empty: that it is not there."""
    if isinstance(error, RefusedByServerError):
        return "" if error.code in ("away", "draining") else error.code
    is_gone = isinstance(error, GoneError) and not isinstance(error, OtherServerError)
    return "" if is_gone else type(error).__name__


def _words(error: Exception) -> str:
    words = str(error) if isinstance(error, PhospheneError) else f"{type(error).__name__}: {error}"
    return words.rstrip(".")
