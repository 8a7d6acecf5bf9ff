"""An engine that is built while eager draws takes over between two epochs; a replay repeats it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

from app.runtime import worker
from app.runtime.decoder import Decoder
from app.runtime.decoding import _building
from app.runtime.messages import Answer, Job, Overrides, Ready, Stepped, Switched
from app.runtime.worker import Worker
from configs import DecoderConfig, SessionConfig
from models.api import EncoderSpec, InputSpec
from models.engines import Drawing, Found, find_engine
from models.pace import Pace
from models.sampling.backends import spawn
from models.sampling.backends.base import Target
from models.sampling.backends.cache import EngineCache
from models.sampling.backends.choice import Choice
from tests.app.toy_system import ToyEncoder, ToySampler
from tests.waiting import PATIENCE

SPEC = EncoderSpec("toy", InputSpec(100.0), 0.0, 0.5, None, None, 4)
SLOW, FAST = Pace(0.0, 1, 0.4, 0.1), Pace(0.0, 1, 0.1, 0.1)
ENGINE = {"backend": "openvino", "dtype": "float32"}


def building(connection: Connection, config: SessionConfig) -> None:
    """Draw by the back-end of the settings; at the event `built` an engine is there."""
    backend = config.decoder.backend
    connection.send(Ready(SPEC, "0" * 64, "cpu", {}, pace=SLOW))
    while (job := connection.recv()) is not None:
        if job.event == "built":
            backend = ENGINE["backend"]
            connection.send(Switched("An engine draws.", ENGINE, {"openvino": "1"}, FAST))
        if job.event == "die":
            return
        pixels, now = np.full((2, 2, 3), backend == "openvino", np.uint8), time.monotonic()
        connection.send(Answer(job.index, np.ones(4, np.float32), pixels, now, now, now))


def job(index: int, event: str = "", overrides: Overrides | None = None) -> Job:
    data = np.random.default_rng(index).normal(0, 10, (4, 3)).astype(np.float32)
    names, kinds = tuple("ABCD"), ("eeg",) * 4
    return Job(index, 0.0, data, names, kinds, 100.0, 0.0, 0.02, event, 1, overrides=overrides)


def run(jobs: list[Job]) -> tuple[list[Answer], list[str], Decoder]:
    answers: list[Answer] = []
    said: list[str] = []
    decoder = Decoder(
        SessionConfig(decoder=DecoderConfig(backend="eager")),
        on_answer=lambda _job, answer, _at: answers.append(answer),
        warn=said.append,
        target=building,
    )
    decoder.start()
    try:
        assert decoder.wait_ready(PATIENCE)
        for each in jobs:
            assert decoder.submit(each, policy="wait")
        assert decoder.drain(PATIENCE)
    finally:
        decoder.close()
    return answers, said, decoder


def drawn(answers: list[Answer]) -> list[int | None]:
    return [None if each.pixels is None else int(each.pixels[0, 0, 0]) for each in answers]


def test_an_engine_takes_over_between_two_epochs_and_a_replay_repeats_it() -> None:
    answers, said, decoder = run([job(0), job(1, "built"), job(2), job(3, "die"), job(4)])
    assert drawn(answers) == [0, 1, 1, None, 1], "also in the process that takes a dead one's place"
    assert [dict(each.overrides) for each in answers[:3]] == [{}, ENGINE, ENGINE]
    assert said == ["An engine draws."]
    assert decoder.ready is not None
    again = [job(i, "", each.overrides) for i, each in enumerate(answers[:3])]
    repeated, said, decoder = run(again)
    assert drawn(repeated) == [0, 1, 1]
    assert (said, decoder.n_restarts) == ([], 1)


def test_what_is_expected_of_a_picture_follows_the_engine() -> None:
    _, _, decoder = run([job(0), job(1, "built")])
    assert decoder.ready is not None
    assert decoder.ready.pace == FAST
    assert decoder.ready.versions == {"openvino": "1"}
    assert decoder.expected == FAST.picture


@pytest.mark.parametrize(
    ("build", "is_live", "expected"),
    [
        ("auto", True, "meanwhile"),
        ("auto", False, "first"),
        ("first", True, "first"),
        ("meanwhile", False, "first"),
    ],
)
def test_a_replay_builds_first(build: Any, is_live: bool, expected: str) -> None:
    config = SessionConfig(decoder=DecoderConfig(build=build))
    assert _building(config, is_live=is_live).decoder.build == expected
    afar = DecoderConfig(build=build, remote="http://127.0.0.1:7447")
    config = SessionConfig(decoder=afar)
    assert _building(config, is_live=is_live).decoder.build == "first", "it loads beside a server"


@dataclass
class FakeBuilder:
    """Another process would build it."""

    name: str = "fake"
    packages: tuple[str, ...] = ()
    extra: str = ""
    takes_graphs: bool = False

    def dtypes(self, kind: str) -> tuple[str, ...]:
        return ("float32",)

    def build(self, *_: Any) -> bytes:
        raise AssertionError("nothing is built here")

    def load(self, *_: Any) -> Any:
        raise AssertionError("nothing is there to load")


def test_what_another_process_builds_is_put_off(tmp_path: Any) -> None:
    from torch import nn

    from models.sampling.parts import Part

    drawing = Drawing(
        config=DecoderConfig(),
        parts=(Part(nn.Linear(1, 1), "unet"),),
        options={},
        draw=lambda: None,
        weights=lambda: "0" * 64,
        cache=EngineCache(tmp_path),
    )
    choice = Choice(((FakeBuilder(), Target()),), is_asked=True, why="")
    found = find_engine(drawing, choice, is_put_off=True)
    assert found.is_due
    assert found.remarks == (
        "An engine of fake is built meanwhile; eager draws until it is there (decoder.build).",
    )
    unasked = find_engine(drawing, replace(choice, is_asked=False), is_put_off=True)
    assert not unasked.is_due, "nobody asked for it"


@dataclass(frozen=True)
class DueSystem:
    """A system whose engine is `found` when it is built."""

    found: Found
    due: str | None = "an engine"
    engine: Any = None
    encoder: Any = field(default_factory=lambda: ToyEncoder(0, "none"))
    sampler: Any = field(default_factory=ToySampler)
    versions: Any = ()
    options: Any = ()
    remarks: Any = ()
    settled: Any = ()
    can_save_memory: bool = False

    def build_engine(self) -> Found:
        if self.found.engine is None and not self.found.remarks:
            raise RuntimeError("the compiler broke")
        return self.found

    def use(self, engine: Any) -> DueSystem:
        if engine is None:
            return self
        return replace(self, due=None, settled={"device": "cpu", **ENGINE})

    def measure(self) -> Pace:
        if self.due is None and self.found.remarks:
            raise RuntimeError("out of memory:\nnothing is left")
        return SLOW if self.due else FAST


@dataclass
class FakeEngine:
    backend: str = "openvino"


@pytest.mark.parametrize(
    ("found", "words", "settled"),
    [
        (Found(FakeEngine()), "drawn by openvino from here on (200 ms; eager: 500 ms)", ENGINE),  # type: ignore[arg-type]
        (Found(None, ("It deviates.",)), "eager goes on. It deviates.", {}),
        (Found(None), "eager goes on. RuntimeError: the compiler broke", {}),
        (
            Found(FakeEngine(), ("It breaks.",)),  # type: ignore[arg-type]
            "The engine broke: eager goes on. RuntimeError: out of memory: nothing is left",
            {},
        ),
    ],
)
def test_the_worker_tells_before_the_first_picture_of_the_engine(
    monkeypatch: pytest.MonkeyPatch, found: Found, words: str, settled: Any
) -> None:
    monkeypatch.setattr("models.systems.load_system", lambda _, **_named: DueSystem(found))
    told: list[Stepped | Switched] = []
    config = SessionConfig(decoder=DecoderConfig(build="meanwhile"))
    one = Worker(config, tell=told.append)
    assert one.waits_for_engine
    assert not one.decode(job(0)).error
    assert told == [], "not built yet"
    one.build()
    assert not one.decode(job(1)).error
    assert not one.decode(job(2)).error
    (word,) = told
    assert isinstance(word, Switched)
    assert words in word.words
    assert dict(word.settled) == settled
    assert not one.waits_for_engine


def test_a_process_that_builds_shows_that_it_works() -> None:
    """Loading waits for it: computing in the building process is a sign of life."""
    before = spawn.process_time()
    spawn._take('{"cpu": 1000.0}', lambda _: None)
    assert spawn.process_time() >= before + 900
    spawn._computed[:] = [0.0, 0.0]
    assert worker.process_time is spawn.process_time
