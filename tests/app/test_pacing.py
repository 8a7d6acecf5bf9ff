"""A job takes as long as this machine takes: said beforehand, shown, no hang before its time."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

from app.runtime.decoder import Decoder
from app.runtime.messages import Answer, Job, Ready, Stepped
from app.runtime.pacing import in_words, pace_sentence, ready_words
from app.runtime.worker import STEP_EVERY, Worker
from configs import DecoderConfig, EpochsConfig, SessionConfig, StimuliConfig
from models.api import EncoderSpec, InputSpec
from models.pace import Pace
from tests.waiting import PATIENCE, wait_for

SPEC = EncoderSpec("toy", InputSpec(100.0), 0.0, 0.5, None, None, 4)
DREAM = Pace(encode=0.4, n_steps=250, step=1.0, rest=26.0)
TIMEOUT = 0.4
"""Of a job without a sign of life, s."""


def ready(pace: Pace | None) -> Ready:
    return Ready(SPEC, "0" * 64, "cpu", {}, pace=pace)


def job(index: int, event: str = "") -> Job:
    data = np.full((2, 3), index, np.float32)
    return Job(index, 0.0, data, ("A", "B"), ("eeg", "eeg"), 100.0, 0.0, 0.02, event, 1)


def slow_decoder(connection: Connection, _: SessionConfig) -> None:
    """Show a step every now and then for far longer than `TIMEOUT`; `hang` stops after some."""
    connection.send(ready(Pace(0.0, 10, 0.2, 0.0)))
    while (got := connection.recv()) is not None:
        for step in range(1, 11):
            if got.event == "hang" and step == 4:
                threading.Event().wait(60)
            connection.send(Stepped(got.index, step))
            threading.Event().wait(TIMEOUT / 4)
        now = time.monotonic()
        pixels = np.zeros((2, 2, 3), np.uint8)
        connection.send(Answer(got.index, np.ones(4, np.float32), pixels, now, now, now))


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("app.runtime.decoder.HANG", 1.0)
    answers: list[Answer] = []
    made = Decoder(
        SessionConfig(),
        on_answer=lambda _job, answer, _at: answers.append(answer),
        target=slow_decoder,
        job_timeout=TIMEOUT,
        max_wait=0.05,
    )
    made.start()
    assert made.wait_ready(PATIENCE)
    yield made, answers
    made.close()


def test_steps_are_signs_of_life_and_seen_while_a_picture_is_drawn(decoder: Any) -> None:
    """Ten steps last thrice the time-out, and the picture comes; nor is it too old for its pace."""
    made, answers = decoder
    assert made.submit(job(0))
    wait_for(lambda: "step 3 of 10, about " in made.state, PATIENCE)
    assert made.state.startswith("drawing (")
    assert made.drain(PATIENCE)
    assert [(a.error, a.aged) for a in answers] == [("", None)]
    assert made.state == "ready (cpu, 1 thread, 2 s a picture)"
    assert made.expected == 2.0
    assert made.max_wait == 3.0


def test_a_picture_without_a_step_for_too_long_is_a_hang(decoder: Any) -> None:
    made, answers = decoder
    assert made.submit(job(0, "hang"))
    assert made.drain(PATIENCE)
    assert answers[0].error == "the decoder process died or hung"


@pytest.mark.parametrize(
    ("pace", "silence"),
    [(None, 30.0), (Pace(0.01, 1, 0.03, 0.02), 30.0), (DREAM, 260.0)],
    ids=["unknown", "quick", "slow"],
)
def test_a_hang_is_told_by_what_was_measured(pace: Pace | None, silence: float) -> None:
    made = Decoder(SessionConfig(), on_answer=lambda *_: None)
    made._ready = ready(pace)
    assert made._longest_silence() == silence


def test_the_real_process_measures_instead_of_drawing_and_shows_its_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loading takes two steps at a time of the six; a picture shows all that it takes."""
    asked: list[int] = []
    from models.embedded.unet import UNet

    predict = UNet.predict

    def counted(self: UNet, *args: Any, **named: Any) -> Any:
        asked.append(1)
        return predict(self, *args, **named)

    monkeypatch.setattr(UNet, "predict", counted)
    monkeypatch.setattr("app.runtime.worker.STEP_EVERY", 0.0)
    told: list[Stepped] = []
    config = SessionConfig(decoder=DecoderConfig(num_inference_steps=6))
    worker = Worker(config, tell=told.append)
    pace = worker.ready.pace
    assert pace is not None
    assert pace.n_steps == 6
    assert pace.step > 0
    assert len(asked) == 4
    names = ("O1", "Oz", "O2", "P7", "P8", "Cz")
    data = np.random.default_rng(0).normal(0, 10, (6, 251)).astype(np.float32)
    given = Job(7, 0.0, data, names, ("eeg",) * 6, 250.0, -0.2, 0.8, "x", 1)
    assert worker.decode(given).error == ""
    assert told == [Stepped(7, step) for step in range(7)]
    assert len(asked) == 10
    # Three in one call, and one of them again as it was drawn, to the bit.
    jobs = [replace(given, index=index, seed=index) for index in (8, 9, 10)]
    three = worker.decode_together(jobs)
    assert len(asked) == 16
    assert [each.batch for each in three] == [(3, 0), (3, 1), (3, 2)]
    again = worker.decode(replace(jobs[1], batch=three[1].batch))
    np.testing.assert_array_equal(again.pixels, three[1].pixels)


def test_pictures_between_two_are_drawn_live_as_many_as_fit() -> None:
    decoder = DecoderConfig(backend="eager", smoothing=0.5, between=3)
    one = Worker(SessionConfig(decoder=decoder, epochs=EpochsConfig(mode="free", step=60.0)))
    data = np.random.default_rng(0).normal(0, 10, (6, 251)).astype(np.float32)
    names = ("O1", "Oz", "O2", "P7", "P8", "Cz")
    jobs = [Job(k, k, data + k, names, ("eeg",) * 6, 250.0, -0.2, 0.8, "x", 1) for k in range(4)]
    drawn = []
    for given in jobs[:3]:
        answer = one.decode(given)
        assert answer.error == ""
        drawn.append([(each.index, each.at) for each in one.between()])
    assert drawn == [[], [(1, 0.25), (1, 0.5), (1, 0.75)], [(2, 0.25), (2, 0.5), (2, 0.75)]]
    one.decode(replace(jobs[3], overrides={}))
    assert list(one.between()) == [], "a replay"
    one.decode(jobs[3])
    one._config = SessionConfig(decoder=decoder, epochs=EpochsConfig(mode="free", step=1e-3))
    assert list(one.between()) == [], "no time for any"


def test_a_quick_picture_says_nothing_on_its_way() -> None:
    assert STEP_EVERY > 0.1


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.062, "62 ms"), (4.25, "4.2 s"), (61, "61 s"), (276.4, "4.6 min")]
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_the_expected_time_and_what_keeps_up_are_said_beforehand() -> None:
    """The sentences of a slow system, by what is known of the epochs that will come."""
    free = SessionConfig(epochs=EpochsConfig(mode="free", step=30.0))
    said = pace_sentence(ready(DREAM), free)
    assert "A picture takes about 4.6 min here (250 steps of 1 s, 26 s for the rest)." in said
    assert "Epochs come every 30 s (epochs.step): about one in 9 will be drawn" in said
    assert "the oldest gives way (decoder.policy" in said
    assert "To keep up: decoder.num_inference_steps = 3 or fewer." in said
    assert "one and a half pictures take (decoder.max_wait, 5 s" in said
    shown = SessionConfig(stimuli=StimuliConfig(enabled=True, soa=2.0, jitter=0.0))
    said = pace_sentence(ready(DREAM), shown)
    assert "more end as overload" in said
    assert "No number of steps keeps up: take a GPU or another back-end" in said
    newest = SessionConfig(decoder=DecoderConfig(policy="newest", max_wait=None))
    said = pace_sentence(ready(DREAM), newest)
    assert said.endswith("the newest one waits meanwhile (decoder.policy).")
    doubled = SessionConfig(decoder=DecoderConfig(control=True))
    assert "about 9.2 min here" in pace_sentence(ready(DREAM), doubled)
    assert pace_sentence(ready(DREAM), shown, is_live=False).endswith("for the rest).")


def test_nothing_is_said_where_all_is_quick_or_unknown() -> None:
    quick = ready(Pace(0.01, 1, 0.03, 0.02))
    assert pace_sentence(quick, SessionConfig()) == ""
    assert pace_sentence(ready(None), SessionConfig()) == ""
    assert ready_words(quick, SessionConfig(), 0.06) == "ready (cpu, 1 thread, 60 ms a picture)"
    tight = SessionConfig(epochs=EpochsConfig(mode="free", step=0.05))
    assert "Epochs come every 0.05 s" in pace_sentence(quick, tight)


def test_the_newest_epoch_takes_the_place_of_the_one_that_waits() -> None:
    config = SessionConfig(decoder=DecoderConfig(policy="newest", queue_size=8))
    made = Decoder(config, on_answer=lambda *_: None)  # not started: nothing leaves the queue
    assert made.submit(job(0))
    assert not made.submit(job(1))
    oldest = made.take_oldest()
    assert oldest is not None
    assert oldest.index == 0
    assert made.submit(job(1))
