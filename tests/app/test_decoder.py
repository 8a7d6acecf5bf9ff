"""The decoder's queue and its process: order, crashes, refusals, a clean end."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
import pytest

from app.between import Between
from app.errors import AppError
from app.runtime import worker
from app.runtime.decoder import NICENESS, Decoder, first_word
from app.runtime.messages import Answer, Job, Loading, Ready, Refused
from configs import DecoderConfig, SessionConfig
from models.api import EncoderSpec, InputSpec
from tests.waiting import PATIENCE

SPEC = EncoderSpec("toy", InputSpec(100.0), 0.0, 0.5, None, None, 4)


def queued(size: int) -> SessionConfig:
    return SessionConfig(decoder=DecoderConfig(queue_size=size))


def toy_decoder(connection: Connection, config: SessionConfig) -> None:
    """Answer each job with its own data's sum; die on label `die`, hang on `hang`."""
    connection.send(Ready(SPEC, "0" * 64, "cpu", {}))
    while (request := connection.recv()) is not None:
        jobs = request if isinstance(request, tuple) else (request,)
        for at, job in enumerate(jobs):
            if job.event == "die":
                os._exit(3)
            if job.event == "hang":
                time.sleep(60)
            vector = np.full(4, job.data.sum(), np.float32)
            now, black = time.monotonic(), np.zeros((2, 2, 3), np.uint8)
            batch = (len(jobs), at) if len(jobs) > 1 else None
            connection.send(Answer(job.index, vector, black, now, now, now, batch=batch))
            if config.decoder.between:
                connection.send(Between(job.index, 0.5, black))


def stuck(connection: Connection, config: SessionConfig) -> None:
    """Neither load nor end."""
    threading.Event().wait(60)


def test_pictures_on_the_way_come_after_the_answer() -> None:
    got, heard = list[Between](), threading.Event()
    between = SessionConfig(decoder=DecoderConfig(between=1))
    decoder = Decoder(
        between,
        on_answer=lambda *_: None,
        on_between=lambda each: (got.append(each), heard.set()),  # type: ignore[func-returns-value]
        target=toy_decoder,
    )
    decoder.start()
    assert decoder.submit(job(5))
    assert heard.wait(PATIENCE)
    decoder.close()
    assert [(each.index, each.at) for each in got] == [(5, 0.5)]


def refusing(connection: Connection, config: SessionConfig) -> None:
    connection.send(Refused("weights are missing: fetch them"))


def job(index: int, event: str = "") -> Job:
    data = np.full((2, 3), index, np.float32)
    return Job(index, 0.0, data, ("A", "B"), ("eeg", "eeg"), 100.0, 0.0, 0.02, event, 1)


class Collected:
    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.arrived = threading.Condition()

    def __call__(self, job: Job, answer: Answer, returned: float) -> None:
        with self.arrived:
            self.answers.append(answer)
            self.arrived.notify_all()


@pytest.fixture
def collected() -> Collected:
    return Collected()


def test_jobs_are_answered_in_order_and_drained(collected: Collected) -> None:
    decoder = Decoder(queued(8), on_answer=collected, target=toy_decoder)
    decoder.start()
    try:
        assert decoder.wait_ready(PATIENCE)
        for index in range(6):
            assert decoder.submit(job(index), policy="wait")
        assert decoder.drain(PATIENCE)
    finally:
        decoder.close()
    assert [a.index for a in collected.answers] == list(range(6))
    assert [float(a.vector[0]) for a in collected.answers if a.vector is not None] == [
        6.0 * i for i in range(6)
    ]


def test_a_crash_costs_what_was_asked_for_and_the_next_is_decoded(collected: Collected) -> None:
    """Live epochs that wait share a call, up to `max_batch`; those of a replay never do."""
    config = SessionConfig(decoder=DecoderConfig(queue_size=16, max_batch=3))
    decoder = Decoder(config, on_answer=collected, target=toy_decoder)
    # They wait until it is ready.
    for index in range(9):
        given = job(index, "die" if index == 6 else "")
        assert decoder.submit(replace(given, overrides={}) if index < 2 else given)
    decoder.start()
    try:
        assert decoder.drain(PATIENCE)
    finally:
        decoder.close()
    assert [a.index for a in collected.answers] == list(range(9))
    assert [bool(a.error) for a in collected.answers] == [6 <= i < 8 for i in range(9)]
    batches = [a.batch for a in collected.answers]
    assert batches == [None, None, (3, 0), (3, 1), (3, 2), (3, 0), None, None, None]
    assert decoder.n_restarts == 1


def test_a_hang_is_ended(collected: Collected) -> None:
    decoder = Decoder(queued(8), on_answer=collected, target=toy_decoder, job_timeout=0.5)
    decoder.start()
    try:
        assert decoder.wait_ready(PATIENCE)
        decoder.submit(job(0, "hang"))
        decoder.submit(job(1))
        assert decoder.drain(PATIENCE)
    finally:
        decoder.close()
    assert [bool(a.error) for a in collected.answers] == [True, False]


def test_a_full_queue_refuses_and_the_oldest_can_be_taken_back(collected: Collected) -> None:
    decoder = Decoder(queued(2), on_answer=collected, target=toy_decoder)
    # Not started: nothing leaves the queue.
    assert decoder.submit(job(0))
    assert decoder.submit(job(1))
    assert not decoder.submit(job(2))
    oldest = decoder.take_oldest()
    assert oldest is not None
    assert oldest.index == 0
    assert decoder.submit(job(2))


@pytest.mark.parametrize(("step", "is_alive"), [(0.15, True), (0.001, False)])
def test_loading_may_take_long_while_the_process_computes(step: float, is_alive: bool) -> None:
    """A busy machine is no fault; a process that only tells that it is there has hung."""
    ours, theirs = multiprocessing.Pipe()
    ends, sentinel = multiprocessing.Pipe()
    now = itertools.count(step=40.0)
    ready = Ready(SPEC, "", "cpu", {})
    for n in range(20):
        theirs.send(Loading(n * step))
    theirs.send(ready)
    with ours, theirs, ends, sentinel:
        word = first_word(
            ours,
            sentinel.fileno(),
            timeout=120.0,
            closing=threading.Event(),
            clock=lambda: next(now),
        )
    assert word == (ready if is_alive else None)


def test_a_process_that_does_nothing_is_refused(collected: Collected) -> None:
    decoder = Decoder(SessionConfig(), on_answer=collected, target=stuck, start_timeout=0.3)
    decoder.start()
    try:
        assert not decoder.wait_ready(PATIENCE)
        assert "did nothing for 0.3 s while loading; see the log" in decoder.refusal
    finally:
        decoder.close()


def test_the_process_tells_that_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = multiprocessing.Pipe()
    heard: list[object] = []

    def load(_: SessionConfig, *, tell: object) -> None:
        heard.extend(ours.recv() for _ in range(2))
        raise AppError("no weights")

    monkeypatch.setattr(worker, "_TELL_EVERY", 0.01)
    monkeypatch.setattr(worker, "Worker", load)
    before = signal.getsignal(signal.SIGINT)
    try:
        worker.main(theirs, SessionConfig())
    finally:
        signal.signal(signal.SIGINT, before)
    first, second = heard
    assert isinstance(first, Loading)
    assert isinstance(second, Loading)
    assert second.cpu > first.cpu > 0
    while isinstance(last := ours.recv(), Loading):
        pass
    assert last == Refused("no weights")


def test_missing_weights_are_a_sentence(collected: Collected) -> None:
    decoder = Decoder(SessionConfig(), on_answer=collected, target=refusing)
    decoder.start()
    try:
        assert not decoder.wait_ready(PATIENCE)
        assert decoder.refusal == "weights are missing: fetch them"
        assert not decoder.submit(job(0))
    finally:
        decoder.close()


def tells_its_environment(connection: Connection, config: SessionConfig) -> None:
    """A decoder that is refused with what it began with."""
    niceness = os.nice(0) if hasattr(os, "nice") else NICENESS
    connection.send(Refused(f"{os.environ.get('OMP_WAIT_POLICY')} {niceness}"))


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_the_process_begins_with_idle_threads_asleep_and_lets_others_go_first(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, own: str | None, spawned: None
) -> None:
    """OpenMP reads its policy when it is loaded; one that the user has set stands."""
    if own is None:
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    decoder = Decoder(queued(1), on_answer=collected, target=tells_its_environment)
    decoder.start()
    decoder.wait_ready(PATIENCE)
    # 19 is the system's last: a suite that runs under `nice -n 19` cannot go further.
    expected = min(os.nice(0) + NICENESS, 19) if hasattr(os, "nice") else NICENESS
    assert decoder.refusal == f"{own or 'PASSIVE'} {expected}"
    assert os.environ.get("OMP_WAIT_POLICY") == own
    decoder.close()


def test_a_decoder_of_the_shipped_model_starts_without_what_it_does_not_need() -> None:
    """diffusers, transformers and SciPy's filters would cost thrice what torch does."""
    code = (
        "import sys\n"
        "from configs import SessionConfig\n"
        "from app.runtime import worker\n"
        "worker.Worker(SessionConfig())\n"
        "idle = ('diffusers', 'transformers', 'scipy', 'mne', 'torch._dynamo', 'torch._inductor')\n"
        "print([name for name in idle if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
