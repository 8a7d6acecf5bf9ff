"""The decoder's side in the main process: a bounded queue, one thread, one spawned process.

Owns starting, feeding, watching and restarting the process of `app.runtime.worker`. Knows
nothing of what a picture means. An epoch that is not taken is told at once (`submit` returns
False); one that fails comes back with its reason; nothing is lost in between.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Literal

from app.runtime.messages import Answer, Job, Load, Loaded, Loading, Ready, Refused
from app.runtime.processes import end_process
from app.runtime.worker import main
from configs import SessionConfig

_LOG = logging.getLogger(__name__)

START_TIMEOUT = 120.0
"""Longest time without a sign of life while the models are loaded, s. Loading as such may take as
long as it takes: on a machine that others use, or from a slow disk, that is minutes."""
SIGN_OF_LIFE = 0.1
"""What a process that loads computes meanwhile, s of CPU; more than telling so takes."""
JOB_TIMEOUT = 30.0
"""A job that takes longer is a hang: the process is ended and started anew, s."""
MAX_RESTARTS = 5
"""Restarts in a row without one answered job before the decoder gives up."""


class Decoder:
    """Runs jobs in a spawned process, one at a time, in order.

    Parameters
    ----------
    config : SessionConfig
    on_answer : callable
        Called in the decoder's thread with `(job, answer, returned)`, `returned` in seconds of
        `time.monotonic`.
    on_loaded : callable
        Called in the decoder's thread when an adapter that was asked for is there, or refused.
    target : callable
        What the process runs; `worker.main` but for tests.
    start_timeout, job_timeout : float
        Longest silence while it loads, longest time of a job, s.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        on_answer: Callable[[Job, Answer, float], None],
        on_loaded: Callable[[Loaded], None] = lambda _: None,
        target: Callable[[Connection, SessionConfig], None] = main,
        start_timeout: float = START_TIMEOUT,
        job_timeout: float = JOB_TIMEOUT,
    ) -> None:
        self._config = config
        self._on_answer = on_answer
        self._on_loaded = on_loaded
        self._target = target
        self._start_timeout = start_timeout
        self._job_timeout = job_timeout
        self._jobs: queue.Queue[Job | None] = queue.Queue(maxsize=config.decoder.queue_size)
        # Adapters to be asked for, and those that no answer has come for.
        self._to_load: deque[Load] = deque()
        self._loading: list[Load] = []
        self._settled = threading.Event()
        self._closing = threading.Event()
        self._idle = threading.Condition()
        self._n_open = 0
        self._ready: Ready | None = None
        self._refusal = ""
        self._state = "loading"
        self.n_restarts = 0
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)

    @property
    def state(self) -> str:
        """What it is doing, in a few words."""
        return self._state

    @property
    def ready(self) -> Ready | None:
        """What the process said of itself; None until it is loaded."""
        return self._ready

    @property
    def refusal(self) -> str:
        """Why it cannot decode at all; empty when it can."""
        return self._refusal

    def start(self) -> None:
        """Start thread and process; `wait_ready` tells when they can work."""
        self._thread.start()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the models are loaded; False on refusal or when time is up."""
        self._settled.wait(timeout)
        return self._ready is not None and not self._refusal

    def submit(self, job: Job, *, policy: Literal["refuse", "wait"] = "refuse") -> bool:
        """Queue a job; False when the queue is full (`refuse`) or the decoder has ended."""
        if self._closing.is_set() or self._refusal:
            return False
        with self._idle:
            self._n_open += 1
        while True:
            try:
                self._jobs.put(
                    job, timeout=0.2 if policy == "wait" else None, block=policy == "wait"
                )
            except queue.Full:
                if policy == "wait" and not self._closing.is_set() and not self._refusal:
                    continue
                self._finish_one()
                return False
            return True

    def take_oldest(self) -> Job | None:
        """Take back the job that has waited longest (newest-wins for continuous windows)."""
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        if job is not None:
            self._finish_one()
        return job

    def load(self, request: Load) -> None:
        """Ask for an adapter beside the one that decodes; `on_loaded` tells. Returns at once."""
        self._to_load.append(request)

    def drain(self, timeout: float) -> bool:
        """Wait until every queued job is answered; False when time is up."""
        with self._idle:
            return self._idle.wait_for(lambda: self._n_open == 0, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """End thread and process; jobs still queued come back as failed."""
        self._closing.set()
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._jobs.put_nowait(None)
            self._thread.join(timeout)

    def _finish_one(self) -> None:
        with self._idle:
            self._n_open -= 1
            self._idle.notify_all()

    def _answer(self, job: Job, answer: Answer) -> None:
        try:
            self._on_answer(job, answer, time.monotonic())
        finally:
            self._finish_one()

    def _run(self) -> None:
        process, connection = self._spawn()
        failures = 0
        while not self._closing.is_set():
            if process is None or connection is None:
                self._state = f"failed: {self._refusal}"
                break
            self._ask_for_adapters(connection)
            try:
                job = self._jobs.get(timeout=0.02 if self._loading else 0.2)
            except queue.Empty:
                self._hear(connection)
                if not process.is_alive():
                    process, connection = self._respawn(process, connection)
                continue
            if job is None:
                break
            answer = self._ask(process, connection, job)
            if answer is None:
                failures += 1
                self._answer(job, Answer(job.index, error="the decoder process died or hung"))
                if failures > MAX_RESTARTS:
                    self._refusal = f"the decoder process failed {failures} times in a row"
                    end_process(process)
                    connection.close()
                    process = None
                else:
                    process, connection = self._respawn(process, connection)
                continue
            failures = 0
            self._answer(job, answer)
        self._fail_queued()
        if process is not None and connection is not None:
            with contextlib.suppress(OSError):
                connection.send(None)
            end_process(process, grace=2.0)
            connection.close()

    def _fail_queued(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                self._answer(job, Answer(job.index, error=self._refusal or "the session ended"))

    def _ask(self, process: SpawnProcess, connection: Connection, job: Job) -> Answer | None:
        try:
            connection.send(job)
            deadline = time.monotonic() + self._job_timeout
            while (left := deadline - time.monotonic()) > 0:
                if connection not in wait([connection, process.sentinel], left):
                    return None
                answer = connection.recv()
                if isinstance(answer, Answer):
                    return answer
                self._take_word(answer)
        except (OSError, EOFError):
            _LOG.warning("the decoder's pipe broke", exc_info=True)
        return None

    def _ask_for_adapters(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):  # a broken pipe is found by the next job
            while self._to_load:
                request = self._to_load.popleft()
                self._loading.append(request)
                connection.send(request)

    def _hear(self, connection: Connection) -> None:
        """Take what came without having been waited for."""
        with contextlib.suppress(OSError, EOFError):
            while connection.poll(0):
                self._take_word(connection.recv())

    def _take_word(self, word: object) -> None:
        if isinstance(word, Loaded):
            self._loading = [each for each in self._loading if each.folder != word.folder]
            self._on_loaded(word)

    def _spawn(self) -> tuple[SpawnProcess | None, Connection | None]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=self._target, args=(theirs, self._config), name="phosphene-decoder", daemon=True
        )
        process.start()
        theirs.close()
        word = first_word(
            ours, process.sentinel, timeout=self._start_timeout, closing=self._closing
        )
        if isinstance(word, Ready):
            self._ready = word
            threads = self._config.decoder.threads
            self._state = f"ready ({word.device}, {threads} thread{'s' if threads != 1 else ''})"
        else:
            self._refusal = (
                word.reason
                if isinstance(word, Refused)
                else f"the decoder process {self._ending(process)}; see the log, and "
                "`phosphene doctor`"
            )
            end_process(process)
            ours.close()
        self._settled.set()
        return (None, None) if self._refusal else (process, ours)

    def _ending(self, process: SpawnProcess) -> str:
        if process.is_alive() and not self._closing.is_set():
            return f"did nothing for {self._start_timeout:g} s while loading"
        return "ended while loading"

    def _respawn(
        self, process: SpawnProcess, connection: Connection
    ) -> tuple[SpawnProcess | None, Connection | None]:
        _LOG.warning("restarting the decoder process (exit code %s)", process.exitcode)
        self._state = "restarting"
        self.n_restarts += 1
        end_process(process)
        connection.close()
        # What was being loaded died with the process.
        self._to_load.extendleft(reversed(self._loading))
        self._loading = []
        return self._spawn()


def first_word(
    connection: Connection,
    sentinel: int,
    *,
    timeout: float,
    closing: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> object:
    """Wait for `Ready` or `Refused`.

    None when the process ends (`sentinel`), has computed nothing for `timeout` s by `clock`, or is
    not wanted any more (`closing`).
    """
    heard, computed = clock(), 0.0
    while clock() - heard < timeout and not closing.is_set():
        if not wait([connection, sentinel], 0.2):
            continue
        try:
            word = connection.recv() if connection.poll(0) else None
        except (OSError, EOFError):
            return None
        if not isinstance(word, Loading):
            return word
        if word.cpu - computed >= SIGN_OF_LIFE:
            heard, computed = clock(), word.cpu
    return None
