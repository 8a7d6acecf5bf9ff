"""R24 and R25: memory runs out, the GPU is lost: it goes on with less, says so, and repeats it."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
import torch

from app.runtime.decoder import Decoder
from app.runtime.decoding import read_past
from app.runtime.messages import Answer, Job, Overrides, Ready
from app.runtime.results import refusal, result_event
from app.runtime.stepping_down import read_overrides, step_down
from app.runtime.worker import Worker
from configs import DecoderConfig, SessionConfig
from models.api import EncoderSpec, InputSpec
from models.faults import fault_of
from pipeline.values import Marker, Outcome
from tests.waiting import PATIENCE

SPEC = EncoderSpec("toy", InputSpec(100.0), 0.0, 0.5, None, None, 4)
LOST = "CUDA error: an illegal memory access was encountered"


def frail(connection: Connection, config: SessionConfig) -> None:
    """Draw by device and memory; `lost` needs the CPU, `big` tiles or the CPU, `huge` the CPU."""
    decoder = config.decoder
    connection.send(Ready(SPEC, "0" * 64, decoder.device, {}, can_save_memory=True))
    while (job := connection.recv()) is not None:
        answer = Answer(job.index, error="RuntimeError")
        if job.event == "lost" and decoder.device != "cpu":
            answer = Answer(job.index, error=LOST, fault="device")
        elif (job.event == "big" and not decoder.low_memory) or (
            job.event == "huge" and decoder.device != "cpu"
        ):
            answer = Answer(job.index, error="CUDA out of memory", fault="memory")
        else:
            code = 2.0 * (decoder.device == "cpu") + decoder.low_memory
            pixels, now = np.zeros((2, 2, 3), np.uint8), time.monotonic()
            answer = Answer(job.index, np.full(4, code, np.float32), pixels, now, now, now)
        connection.send(answer)


def job(index: int, event: str = "", overrides: Overrides | None = None) -> Job:
    data = np.full((2, 3), index, np.float32)
    names, kinds = ("A", "B"), ("eeg", "eeg")
    return Job(index, 0.0, data, names, kinds, 100.0, 0.0, 0.02, event, 1, overrides=overrides)


def run(jobs: list[Job], *, device: str = "cuda") -> tuple[list[Answer], list[str], int]:
    """Decode `jobs` one by one; answers, sentences, restarts."""
    answers: list[Answer] = []
    said: list[str] = []
    decoder = Decoder(
        SessionConfig(decoder=DecoderConfig(device=device)),
        on_answer=lambda _job, answer, _at: answers.append(answer),
        warn=said.append,
        target=frail,
    )
    decoder.start()
    try:
        assert decoder.wait_ready(PATIENCE)
        for each in jobs:
            assert decoder.submit(each, policy="wait")
        assert decoder.drain(PATIENCE)
    finally:
        decoder.close()
    return answers, said, decoder.n_restarts


def codes(answers: list[Answer]) -> list[float | None]:
    return [None if each.vector is None else float(each.vector[0]) for each in answers]


def test_r25_a_lost_gpu_costs_one_picture_and_the_cpu_draws_the_others() -> None:
    answers, said, n_restarts = run([job(0), job(1, "lost"), job(2, "lost"), job(3)])
    assert codes(answers) == [0.0, None, 2.0, 2.0]
    assert [dict(each.overrides) for each in answers] == [{}, {}, *[{"device": "cpu"}] * 2]
    assert n_restarts == 1
    assert len(said) == 1
    assert said[0].startswith("The device cuda was lost: pictures are drawn on the CPU")


def test_r24_memory_that_runs_out_is_met_with_tiles_then_with_the_cpu() -> None:
    answers, said, n_restarts = run([job(0, "big"), job(1, "big"), job(2, "huge"), job(3, "huge")])
    assert codes(answers) == [None, 1.0, None, 3.0]
    assert n_restarts == 2
    assert "in tiles (decoder.low_memory)" in said[0]
    assert "had too little memory" in said[1]


def test_what_nothing_helps_against_fails_alone() -> None:
    """On the CPU with tiles there is nothing left: the picture fails, the process stays."""
    config = DecoderConfig(low_memory=True)
    assert step_down(config, "memory", device="cpu", can_save_memory=True) is None
    assert step_down(DecoderConfig(), "device", device="cpu", can_save_memory=True) is None
    assert step_down(DecoderConfig(), "", device="cuda:0", can_save_memory=True) is None


def test_a_generator_that_cannot_save_memory_goes_to_the_cpu_at_once() -> None:
    found = step_down(DecoderConfig(), "memory", device="cuda", can_save_memory=False)
    assert found is not None
    assert found[0] == {"device": "cpu"}
    engine = DecoderConfig(device="cuda", backend="tensorrt", dtype="float16")
    found = step_down(engine, "device", device="cuda:0", can_save_memory=False)
    assert found is not None
    assert found[0] == {"device": "cpu", "backend": "eager", "dtype": "float32"}
    assert step_down(DecoderConfig(), "memory", device="cpu", can_save_memory=False) is None


def test_a_replay_draws_each_epoch_with_what_it_was_drawn_with() -> None:
    """The recorded change happens at the same epoch, and no word is said of it."""
    jobs = [job(0, "", {}), job(1, "", {"device": "cpu"}), job(2, "", {"device": "cpu"})]
    answers, said, n_restarts = run(jobs)
    assert codes(answers) == [0.0, 2.0, 2.0]
    assert (said, n_restarts) == ([], 1)


def test_the_recording_holds_what_an_epoch_was_drawn_with() -> None:
    result = refusal(Marker(3, 0.0, "cat"), Outcome.FAILED, "out of memory")
    plain = result_event(result, observed=True)
    assert "overrides" not in plain
    lowered = result_event(result, observed=True, overrides={"low_memory": True})
    assert read_past([lowered]).overrides == {3: {"low_memory": True}}


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        {"device": 1},
        {"backend": "nosuch"},
        {"device": "cpu", "dtype": "float8"},
        {"low_memory": "yes"},
        {"tile": True},
        {"weights": "/etc"},
        {},
    ],
)
def test_what_a_strange_recording_says_overrides_nothing(value: object) -> None:
    assert read_overrides(value) == {}


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "memory"),
        (MemoryError(), "memory"),
        (torch.AcceleratorError(LOST), "device"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ""),
        (ValueError("CUDA error in a label"), ""),
    ],
)
def test_what_an_exception_says_of_the_machine(error: Exception, fault: str) -> None:
    assert fault_of(error) == fault


def test_the_worker_tells_what_of_the_machine_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(SessionConfig())

    def lost(*_: Any, **__: Any) -> Any:
        raise torch.AcceleratorError(LOST)

    monkeypatch.setattr(worker._sampler, "sample", lost)
    data = np.random.default_rng(0).normal(0, 10, (3, 126)).astype(np.float32)
    given = Job(1, 0.0, data, ("O1", "Oz", "O2"), ("eeg",) * 3, 125.0, -0.2, 0.8, "x", 1)
    answer = worker.decode(given)
    assert answer.fault == "device"
    assert answer.error == f"AcceleratorError: {LOST}"
