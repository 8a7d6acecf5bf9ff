"""The decoder's thread and process in trouble: nothing old is shown, nothing hangs, all is said."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.benchmarks.idle import idle_decoder
from app.port import EpochEvent, Phase
from app.runtime import worker
from app.runtime.decoder import Decoder
from app.runtime.decoding import read_past
from app.runtime.messages import Answer, Job, Ready
from app.runtime.session import Session
from configs import DecoderConfig, EpochsConfig, OutletsConfig, SessionConfig
from devices.hostile import HostileSettings, HostileSource
from devices.replay import RecordedSource
from models.api import EncoderSpec, InputSpec
from models.pace import Pace
from pipeline.values import Outcome
from tests.app.toy_system import toy_main
from tests.waiting import PATIENCE, wait_for

SPEC = EncoderSpec("toy", InputSpec(100.0), 0.0, 0.5, None, None, 4)
MAX_WAIT = 1.0


def pausing_decoder(connection: Connection, _: SessionConfig) -> None:
    """Answer at once, but take longer than `MAX_WAIT` for the label `pause`."""
    connection.send(Ready(SPEC, "0" * 64, "cpu", {}, pace=Pace(0.0, 1, 0.01, 0.0)))
    pixels = np.zeros((2, 2, 3), np.uint8)
    while (job := connection.recv()) is not None:
        if job.event == "pause":
            threading.Event().wait(2.5 * MAX_WAIT)
        now = time.monotonic()
        connection.send(Answer(job.index, np.ones(4, np.float32), pixels, now, now, now))


def job(index: int, event: str = "") -> Job:
    data = np.full((2, 3), index, np.float32)
    return Job(index, 0.0, data, ("A", "B"), ("eeg", "eeg"), 100.0, 0.0, 0.02, event, 1)


@pytest.mark.parametrize("first", ["", "pause"])
def test_a_picture_that_waited_or_took_too_long_is_let_go(first: str) -> None:
    answers: list[Answer] = []
    decoder = Decoder(
        SessionConfig(decoder=DecoderConfig(queue_size=2)),
        on_answer=lambda _job, answer, _returned: answers.append(answer),
        target=pausing_decoder,
        max_wait=MAX_WAIT,
    )
    decoder.start()
    try:
        assert decoder.wait_ready(PATIENCE)
        for index, event in enumerate((first, "pause", "")):
            assert decoder.submit(job(index, event), policy="wait")
            if index == 0:
                assert decoder.drain(PATIENCE)
        assert decoder.drain(PATIENCE)
        assert decoder.submit(job(3))
        assert decoder.drain(PATIENCE)
    finally:
        decoder.close()
    assert [answer.index for answer in answers] == [0, 1, 2, 3]
    taken = [not first, False, False, True]
    assert [answer.pixels is not None for answer in answers] == taken
    assert [answer.aged is None for answer in answers] == taken
    assert all(MAX_WAIT < each.aged < 60 for each in answers if each.aged is not None)
    assert decoder.n_restarts == 0


def test_what_has_waited_too_long_makes_room_for_what_is_new() -> None:
    answers: list[Answer] = []
    decoder = Decoder(
        SessionConfig(decoder=DecoderConfig(queue_size=1)),
        on_answer=lambda _job, answer, _returned: answers.append(answer),
        target=pausing_decoder,
        max_wait=0.05,
    )
    # Not started: nothing leaves the queue but by its age.
    assert decoder.submit(job(0))
    wait_for(lambda: decoder.submit(job(1)))
    assert [answer.index for answer in answers] == [0]
    assert answers[0].aged is not None
    assert answers[0].aged > 0.05


def _config(**decoder: Any) -> SessionConfig:
    return SessionConfig(
        buffer=60.0,
        epochs=EpochsConfig(reject_uv={}),
        outlets=OutletsConfig(enabled=False),
        decoder=DecoderConfig(**decoder),
    )


def _events(folder: Path) -> dict[int, tuple[str, str | None, str | None]]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return {e["index"]: (e["outcome"], e["embedding_sha256"], e["image_sha256"]) for e in lines}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_epochs_of_a_decoder_that_stood_still_are_overload_and_a_replay_repeats_it(
    tmp_path: Path,
) -> None:
    """Stopped at epoch 6, awake again at 20: none of those between comes out as decoded."""
    source = HostileSource(HostileSettings(duration=36.0, chunk=20))
    first: list[int] = []

    def send(what: signal.Signals) -> None:
        (process,) = multiprocessing.active_children()
        assert process.pid is not None
        os.kill(process.pid, what)

    def under_way() -> int:
        return session._decoding.n_under_way

    def heard(event: EpochEvent) -> None:
        if event.outcome is not Outcome.DECODED:
            return
        first.append(event.index)
        number = len(first)
        if number == 6:
            wait_for(lambda: not under_way())
            send(signal.SIGSTOP)
        elif number == 14:  # the queue is full by now; what is in it grows too old
            began = time.monotonic()
            wait_for(lambda: time.monotonic() - began > MAX_WAIT)
        elif number == 20:
            began = time.monotonic()
            wait_for(lambda: time.monotonic() - began > MAX_WAIT)
            send(signal.SIGCONT)
            wait_for(lambda: not under_way())
        elif number < 6 or number > 20:
            wait_for(lambda: not under_way())

    def open_source(_: threading.Event) -> HostileSource:
        wait_for(lambda: session._decoding.is_ready)
        return source

    config = _config(max_wait=MAX_WAIT, queue_size=2)
    session = Session(
        config,
        out=tmp_path / "live",
        open_source=open_source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=toy_main),
        on_epoch=heard,
    )
    session.start()
    assert session.wait(PATIENCE)
    assert session.snapshot().phase is Phase.STOPPED, session.snapshot().message
    events = _events(tmp_path / "live")
    assert all(events[index][0] == "overload" for index in first[5:19])
    assert {events[index][0] for index in (*first[:5], *first[20:])} == {"decoded"}
    lines = [json.loads(x) for x in (tmp_path / "live/events.jsonl").read_text().splitlines()]
    reasons = [line["reason"] for line in lines if line["outcome"] == "overload"]
    aged = [reason for reason in reasons if "more than decoder.max_wait, 1 s" in reason]
    assert len(aged) >= 3  # the one that was being drawn, and two that waited
    summary = json.loads((tmp_path / "live/summary.json").read_text())
    assert summary["outcomes"]["overload"] == len(reasons)
    assert sum(summary["outcomes"].values()) == summary["markers"]

    recorded = RecordedSource(tmp_path / "live/recording.xdf")
    again = Session(
        _config(),  # as in a session.toml of before the setting
        out=tmp_path / "again",
        open_source=lambda _: recorded,
        clock=time.monotonic,
        make_decoder=partial(Decoder, target=toy_main),
        is_live=False,
        past=read_past(recorded.recorded_events()),
        on_end=recorded.close,
    )
    again.start()
    assert again.wait(PATIENCE)
    assert _events(tmp_path / "again") == events


@pytest.mark.parametrize("is_live", [True, False])
def test_an_answer_that_cannot_be_taken_fails_the_session_and_hangs_nothing(
    is_live: bool, tmp_path: Path
) -> None:
    source = HostileSource(HostileSettings(duration=1e5, chunk=20))

    def open_source(_: threading.Event) -> HostileSource:
        wait_for(lambda: session._decoding.is_ready)
        return source

    session = Session(
        _config(),
        out=tmp_path / "out",
        open_source=open_source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=is_live,
    )
    broken = 0

    def add_event(result: Any) -> None:
        nonlocal broken
        if result.outcome is Outcome.DECODED:
            broken += 1
            raise RuntimeError("a fault of our own")
        added(result)

    added, session._folder.add_event = session._folder.add_event, add_event  # type: ignore[method-assign]
    session.start()
    assert session.wait(PATIENCE)
    snapshot = session.snapshot()
    assert snapshot.phase is Phase.FAILED
    assert "could not be taken in (RuntimeError: a fault of our own)" in snapshot.message
    assert snapshot.decoder.startswith("failed: ")
    assert broken == 1
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["phase"], summary["message"]) == ("failed", snapshot.message)
    assert sum(summary["outcomes"].values()) == summary["markers"]
    assert not multiprocessing.active_children()


def test_a_thread_that_fails_says_so_and_refuses_what_would_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = Decoder(
        SessionConfig(decoder=DecoderConfig(queue_size=1)),
        on_answer=lambda _job, answer, _returned: answers.append(answer),
        target=pausing_decoder,
    )
    answers: list[Answer] = []

    def fail() -> None:
        raise RuntimeError("no more processes")

    monkeypatch.setattr(decoder, "_spawn", fail)
    assert decoder.submit(job(0))
    decoder.start()
    assert not decoder.wait_ready(PATIENCE)
    # The queue is full or closed: waiting for room must end, not spin.
    assert not decoder.submit(job(1), policy="wait")
    assert decoder.drain(PATIENCE)
    assert decoder.state == f"failed: {decoder.refusal}"
    assert "RuntimeError: no more processes" in decoder.refusal
    assert [answer.error for answer in answers] == [decoder.refusal]


def standing_by(connection: Connection, config: SessionConfig) -> None:
    """A spare: says that it was one by its device."""
    connection.recv()
    connection.send(Ready(SPEC, "0" * 64, "spare", {}))
    connection.recv()


def first(connection: Connection, config: SessionConfig) -> None:
    """Die at the first job."""
    connection.send(Ready(SPEC, "0" * 64, "first", {}))
    connection.recv()
    os._exit(3)


@pytest.mark.usefixtures("spawned")
def test_a_process_that_stands_by_takes_the_place_of_one_that_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.runtime.decoder.main", first)
    monkeypatch.setattr("app.runtime.decoder.stand_by", standing_by)
    answers: list[Answer] = []
    decoder = Decoder(
        SessionConfig(),
        on_answer=lambda _job, answer, _returned: answers.append(answer),
        target=first,
        spare=True,
    )
    decoder.start()
    try:
        assert decoder.wait_ready(PATIENCE)
        wait_for(lambda: len(multiprocessing.active_children()) == 2)
        assert decoder.submit(job(0))
        assert decoder.drain(PATIENCE)
        wait_for(lambda: decoder.state.startswith("ready (spare"))
        assert decoder.n_restarts == 1
        assert answers[0].error == "the decoder process died or hung"
        # And the next one stands by already.
        wait_for(lambda: len(multiprocessing.active_children()) == 2)
    finally:
        decoder.close()
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("spawned")
def test_a_spare_imports_its_system_and_begins_when_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = multiprocessing.Pipe()
    begun: list[object] = []
    monkeypatch.setattr(worker, "_import", lambda _: begun.append("imported"))
    monkeypatch.setattr(worker, "main", lambda *_: begun.append("main"))
    with theirs:
        ours.send("begin")
        worker.stand_by(theirs, SessionConfig())
        assert begun == ["imported", "main"]
        ours.close()  # the session ended without needing it
        worker.stand_by(theirs, SessionConfig())
    assert begun.count("main") == 1
