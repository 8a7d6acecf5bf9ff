"""The decoder's side in the main process: a bounded queue, one thread, one spawned process.

Owns starting, feeding, watching and restarting the process of `app.runtime.worker`. Knows
nothing of what a picture means. An epoch that is not taken is told at once (`submit` returns
False); one that fails or grows too old comes back with its reason; nothing is lost in between. A
thread that cannot go on says why in `refusal`.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from statistics import median
from typing import Literal

from app.between import Between
from app.runtime.jobs import JobQueue, Waiting
from app.runtime.messages import (
    Answer,
    Job,
    Load,
    Loaded,
    Loading,
    Moved,
    Overrides,
    Ready,
    Refused,
    StandsBy,
    Stepped,
    Switched,
)
from app.runtime.pacing import host_of, in_words, ready_words
from app.runtime.processes import end_process, start_process
from app.runtime.remote.process import main as remote_main
from app.runtime.stepping_down import overridden, step_down
from app.runtime.worker import main, stand_by
from configs import SessionConfig
from models.faults import Fault
from models.pace import Pace

_LOG = logging.getLogger(__name__)

START_TIMEOUT = 120.0
"""Longest time without a sign of life while the models are loaded, s. Loading as such may take as
long as it takes: on a machine that others use, or from a slow disk, that is minutes."""
SIGN_OF_LIFE = 0.1
"""What a process that loads computes meanwhile, s of CPU; more than telling so takes."""
JOB_TIMEOUT = 30.0
"""A job without a sign of life for so long is a hang: the process is ended and started anew, s."""
HANG = 10.0
"""The same for slow systems: times the longest part of a picture, as it was measured."""
SLACK = 1.5
"""How long an epoch may wait in line at least, and a picture be late: times its expected time."""
SHOWN = 1.0
"""A picture that takes longer shows how far it is, s."""
NICENESS = 3
"""Of the decoder's process against ours: samples go before pictures."""
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Of the decoder's process. Of several threads, those that are done sleep: spinning, they would
keep the core that the last one waits for, and a picture take seconds on a busy machine. No plug-in
of pydantic is looked for among all installed distributions."""
MAX_RESTARTS = 5
"""Restarts in a row without one answered job before the decoder gives up."""
N_USUAL = 31
"""Newest pictures whose median time is the usual one."""


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
    on_between : callable
        Called in the decoder's thread with each picture on the way to the newest answer's.
    warn : callable
        Takes sentences, in the decoder's thread.
    target : callable
        What the process runs; None: `worker.main`, or `remote.process.main` where the settings
        name a server.
    start_timeout, job_timeout : float
        Longest silence while it loads, longest silence of a job that is not known to take long, s.
    spare : bool
        Keep a second process that has imported everything: it takes the place of one that died.
        For `worker.main` only.
    max_wait : float or None
        A job that waits longer, or whose picture comes later than usual by more, comes back as
        `aged`, s; None: none ever does. Never less than `SLACK` pictures take.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        on_answer: Callable[[Job, Answer, float], None],
        on_loaded: Callable[[Loaded], None] = lambda _: None,
        on_between: Callable[[Between], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
        target: Callable[[Connection, SessionConfig], None] | None = None,
        start_timeout: float = START_TIMEOUT,
        job_timeout: float = JOB_TIMEOUT,
        spare: bool = False,
        max_wait: float | None = None,
    ) -> None:
        self._config = config
        self._on_answer = on_answer
        self._on_loaded = on_loaded
        self._on_between = on_between
        self._warn = warn
        self._overrides: Overrides = {}
        if target is None:
            target = main if config.decoder.remote is None else remote_main
        self._target = target
        self._place = ""
        self._here = ""
        self._server: Ready | None = None
        self._start_timeout = start_timeout
        self._job_timeout = job_timeout
        self._keeps_spare = spare and target is main
        self._spare: tuple[SpawnProcess, Connection] | None = None
        self._max_wait = max_wait
        self._jobs = JobQueue(1 if config.decoder.policy == "newest" else config.decoder.queue_size)
        self._worked: deque[float] = deque(maxlen=N_USUAL)
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
        self._expected = 0.0
        self._drawing: tuple[float, int | None] | None = None
        self.n_restarts = 0
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)

    @property
    def state(self) -> str:
        """What it is doing, in a few words."""
        drawing, pace = self._drawing, None if self._ready is None else self._ready.pace
        if drawing is None or pace is None or self._expected < SHOWN:
            return self._where if self._place or self._here else self._state
        since, step = drawing
        left = in_words(max(0.0, self._expected - (time.monotonic() - since)))
        how_far = "" if step is None else f"step {step} of {pace.n_steps}, "
        return f"drawing ({how_far}about {left} left)"

    @property
    def _where(self) -> str:
        """Where a server decodes, or did: there, and whether it could be done here."""
        here = self._here and f"the decoder here {self._here}"
        return ", ".join(filter(None, (self._place and f"ready at {host_of(self._place)}", here)))

    @property
    def expected(self) -> float:
        """How long one job takes, s, as it was measured; 0: not known."""
        return self._expected

    @property
    def overrides(self) -> Overrides:
        """Settings that hold instead of the session's, since something changed meanwhile."""
        return self._overrides

    @property
    def max_wait(self) -> float | None:
        """How long a job may wait, s; None: as long as it likes."""
        return None if self._max_wait is None else max(self._max_wait, SLACK * self._expected)

    @property
    def ready(self) -> Ready | None:
        """What the process said of itself; None until it is loaded."""
        return self._ready

    @property
    def place(self) -> str:
        """Address of the server to which epochs go now; empty: they stay on this machine."""
        return self._place

    @property
    def server(self) -> Ready | None:
        """What the server that decoded last said of itself; None: none ever did."""
        return self._server

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
        self._give_up_aged()
        with self._idle:
            self._n_open += 1
        taken = self._jobs.put(job, wait=policy == "wait")
        if not taken:
            self._finish_one()
        return taken

    def take_oldest(self) -> Job | None:
        """Take back the job that has waited longest (newest-wins for continuous windows)."""
        oldest = self._jobs.take_oldest()
        if oldest is None:
            return None
        self._finish_one()
        return oldest.job

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
        self._jobs.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _finish_one(self) -> None:
        with self._idle:
            self._n_open -= 1
            self._idle.notify_all()

    def _answer(self, job: Job, answer: Answer) -> None:
        try:
            self._on_answer(job, answer, time.monotonic())
        except Exception as error:  # noqa: BLE001 - the thread's top loop: nothing ends unsaid
            _LOG.exception("the answer to epoch %d was not taken", job.index)
            self._give_up(
                f"The picture of epoch {job.index} could not be taken in ({type(error).__name__}: "
                f"{error}), so the decoder has ended; see the log."
            )
        finally:
            self._finish_one()

    def _give_up(self, reason: str) -> None:
        """Decode no more, and say why."""
        self._refusal = self._refusal or reason
        self._jobs.close()

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - the thread's top loop: nothing ends unsaid
            _LOG.exception("the decoder's thread failed")
            self._give_up(f"The decoder failed ({type(error).__name__}: {error}); see the log.")
        finally:
            self._jobs.close()
            self._end_spare()
            if self._refusal:
                self._state = f"failed: {self._refusal}"
            self._settled.set()
            while (left := self._jobs.take_oldest()) is not None:
                reason = self._refusal or "the session ended"
                self._answer(left.job, Answer(left.job.index, error=reason))

    def _serve(self) -> None:
        process, connection = self._spawn()
        failures = 0
        while process is not None and connection is not None:
            if self._closing.is_set() or self._refusal:
                with contextlib.suppress(OSError):
                    connection.send(None)
                end_process(process, grace=0.3)
                connection.close()
                return
            self._ask_for_adapters(connection)
            hurries = self._loading or self._config.decoder.between
            waiting = self._jobs.get(0.02 if hurries else 0.2)
            if waiting is None:
                self._hear(connection)
                if not process.is_alive():
                    process, connection = self._respawn(process, connection)
                continue
            job, max_wait = waiting.job, self.max_wait
            if max_wait is not None and waiting.age > max_wait:
                self._answer(job, Answer(job.index, aged=waiting.age))
                continue
            if job.overrides is not None and job.overrides != self._overrides:
                self._override(job.overrides)
                process, connection = self._respawn(process, connection)
                if process is None or connection is None:
                    self._answer(job, Answer(job.index, error=self._refusal))
                    return
            group = self._gather(waiting)
            answers = self._ask(process, connection, group)
            for each, answer in zip(group, answers, strict=False):
                failures = 0
                self._answer(each.job, replace(answer, overrides=self._overrides))
            unanswered = [each.job for each in group[len(answers) :]]
            if not unanswered:
                if any(self._step_down(fault) for fault in {each.fault for each in answers}):
                    process, connection = self._respawn(process, connection)
                continue
            is_over = self._closing.is_set()
            reason = "the session ended" if is_over else "the decoder process died or hung"
            for each_job in unanswered:
                self._answer(each_job, Answer(each_job.index, error=reason))
            if is_over:
                continue
            failures += 1
            if failures > MAX_RESTARTS:
                self._give_up(f"the decoder process failed {failures} times in a row")
            else:
                if failures > 1 and process.exitcode == -signal.SIGKILL:
                    self._step_down("memory")  # who kills twice is the system, for want of it
                process, connection = self._respawn(process, connection)

    def _override(self, overrides: Overrides) -> None:
        self._overrides = overrides
        self._end_spare()  # it has loaded by other settings

    def _step_down(self, fault: Fault) -> bool:
        """Override settings where the machine gave out, and say so; False: nothing to be done."""
        if not fault:
            return False
        ready = self._ready
        found = step_down(
            self._running.decoder,
            fault,
            device="" if ready is None else ready.device,
            can_save_memory=ready is not None and ready.can_save_memory,
        )
        if found is None:
            return False
        overrides, sentence = found
        self._override({**self._overrides, **overrides})
        self._warn(sentence)
        return True

    @property
    def _running(self) -> SessionConfig:
        """The settings with what is overridden."""
        if not self._overrides:
            return self._config
        decoder = overridden(self._config.decoder, self._overrides)
        return self._config.model_copy(update={"decoder": decoder})

    def _give_up_aged(self) -> None:
        """Take what has waited too long out of the queue: what comes now is worth more."""
        max_wait = self.max_wait
        if max_wait is None:
            return
        while (old := self._jobs.take_oldest(older_than=max_wait)) is not None:
            self._answer(old.job, Answer(old.job.index, aged=old.age))

    def _judge(self, answer: Answer, waiting: Waiting, sent: float) -> Answer:
        """Let go of a picture that comes later than its usual time by more than `max_wait`."""
        worked = time.monotonic() - sent
        usual = median(self._worked) if self._worked else worked
        self._worked.append(worked)
        age, max_wait = waiting.age, self.max_wait
        if max_wait is None or age - usual <= max_wait:
            return answer
        return replace(answer, vector=None, pixels=None, control_pixels=None, aged=age)

    def _gather(self, first: Waiting) -> list[Waiting]:
        """Take what waits behind a live job, as far as one call may draw it (decoder.max_batch)."""
        decoder, group = self._config.decoder, [first]
        # A replay repeats the batches that were recorded; a server makes its own.
        if first.job.overrides is not None or decoder.remote is not None:
            return group
        self._give_up_aged()
        while len(group) < decoder.max_batch and (more := self._jobs.get(0)) is not None:
            group.append(more)
        return group

    def _ask(
        self, process: SpawnProcess, connection: Connection, group: list[Waiting]
    ) -> list[Answer]:
        """Let a group be decoded; the answers that came, in its order, fewer where it died."""
        answers: list[Answer] = []
        try:
            sent = time.monotonic()
            self._drawing = sent, None
            jobs = tuple(each.job for each in group)
            connection.send(jobs if len(jobs) > 1 else jobs[0])
            silence = self._longest_silence()
            deadline = sent + silence
            while (left := deadline - time.monotonic()) > 0 and not self._closing.is_set():
                heard = wait([connection, process.sentinel], min(left, 0.2))
                if not heard:
                    continue
                if connection not in heard:
                    return answers
                answer = connection.recv()
                if isinstance(answer, Answer):
                    answers.append(self._judge(answer, group[len(answers)], sent))
                    if len(answers) == len(group):
                        return answers
                    deadline = time.monotonic() + silence
                if isinstance(answer, Stepped):
                    deadline = time.monotonic() + silence
                    if answer.step is not None:
                        self._drawing = sent, answer.step
                self._take_word(answer)
        except (OSError, EOFError):
            _LOG.debug("the decoder's pipe broke", exc_info=True)
        finally:
            self._drawing = None
        return answers

    def _longest_silence(self) -> float:
        """How long a job may give no sign of life, s."""
        pace = None if self._ready is None else self._ready.pace
        return self._job_timeout if pace is None else max(self._job_timeout, HANG * pace.longest)

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
        if isinstance(word, Between):
            self._on_between(word)
        elif isinstance(word, Loaded):
            self._loading = [each for each in self._loading if each.folder != word.folder]
            self._on_loaded(word)
        elif isinstance(word, Switched):
            self._switch(word)
        elif isinstance(word, Moved):
            self._place, self._server = word.place, word.server or self._server
            self._warn(word.sentence)
        elif isinstance(word, StandsBy):
            self._here = "cannot take over" if word.reason else ""
            self._warn(word.sentence)

    def _switch(self, word: Switched) -> None:
        """Take in that another back-end draws from the next answer on."""
        self._warn(word.words)
        if not word.settled or self._ready is None:
            return
        self._override({**self._overrides, **word.settled})
        self._ready = replace(self._ready, versions=word.versions)
        self._worked.clear()
        self._take_pace(word.pace)
        self._state = ready_words(self._ready, self._config, self._expected)
        self._stand_by()

    def _take_pace(self, pace: Pace | None) -> None:
        if self._ready is None or pace is None:
            return
        self._ready = replace(self._ready, pace=pace)
        # The control is a second picture of the same epoch.
        self._expected = pace.picture * (1 + self._config.decoder.control)
        self._worked.append(self._expected)

    def _stand_by(self) -> None:
        if self._keeps_spare:
            self._spare = self._start(stand_by)

    def _take_spare(self) -> tuple[SpawnProcess, Connection] | None:
        """The process that stands by, told to begin; None without one that lives."""
        if self._spare is not None:
            try:
                self._spare[1].send("begin")
            except OSError:
                self._end_spare()
        taken, self._spare = self._spare, None
        return taken

    def _end_spare(self) -> None:
        if self._spare is not None:
            process, connection = self._spare
            self._spare = None
            connection.close()
            end_process(process)

    def _start(
        self, target: Callable[[Connection, SessionConfig], None]
    ) -> tuple[SpawnProcess, Connection]:
        return start_process(
            target,
            self._running,
            name="phosphene-decoder",
            niceness=NICENESS,
            environment=ENVIRONMENT,
        )

    def _spawn(self) -> tuple[SpawnProcess | None, Connection | None]:
        process, ours = self._take_spare() or self._start(self._target)
        word = first_word(
            ours, process.sentinel, timeout=self._start_timeout, closing=self._closing
        )
        if isinstance(word, Ready):
            self._here = "is loading" if word.server else ""
            self._ready = word
            self._take_pace(word.pace)
            self._state = ready_words(word, self._config, self._expected)
            self._settled.set()
            self._stand_by()
            return process, ours
        if isinstance(word, Refused):
            self._give_up(word.reason)
        elif not self._closing.is_set():
            self._give_up(
                f"the decoder process {self._ending(process)}; see the log, and `phosphene doctor`"
            )
        end_process(process)
        ours.close()
        return None, None

    def _ending(self, process: SpawnProcess) -> str:
        if process.is_alive():
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
