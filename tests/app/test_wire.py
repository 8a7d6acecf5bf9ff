"""What crosses the wire: the same values on the other side, and nothing else taken."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runtime.messages import AdapterKey, Answer, Job, Ready, Steer
from app.runtime.remote.wire import (
    DecodeAnswer,
    DecodeRequest,
    Numbers,
    OpenRequest,
    Served,
    WireError,
    answer_of,
    drawing_of,
    job_from,
    pack,
    ready_from,
    ready_table,
    request_of,
    served_from,
    unpack,
)
from configs import DecoderConfig
from models.api import EncoderSpec, InputSpec
from models.pace import Pace

SESSION = "ab" * 16
HASH = "c" * 64


def job(n_channels: int = 3, n_times: int = 5) -> Job:
    rng = np.random.default_rng(0)
    return Job(
        index=7,
        t_onset=123.4,
        data=rng.normal(size=(n_channels, n_times)).astype(np.float32),
        ch_names=tuple(f"C{at}" for at in range(n_channels)),
        ch_types=("eeg",) * n_channels,
        sfreq=100.0,
        tmin=0.0,
        tmax=(n_times - 1) / 100.0,
        event="a secret label",
        seed=2**63 + 5,
        steer=Steer(AdapterKey("/home/me/adapters/x", HASH), frozen=True, n_resets=2),
    )


def table(given: Job | None = None) -> dict[str, Any]:
    body = pack(request_of(given or job(), session=SESSION, number=3))
    found: dict[str, Any] = msgpack.unpackb(body, use_list=False)
    return found


def test_an_epoch_arrives_as_it_was_and_what_is_not_needed_stays() -> None:
    sent = job()
    body = pack(request_of(sent, session=SESSION, number=3))
    assert b"secret" not in body
    assert b"/home" not in body
    got = job_from(unpack(DecodeRequest, body), folder="/there")
    assert np.array_equal(got.data, sent.data)
    assert got.data.dtype == np.float32
    assert (got.index, got.seed, got.sfreq, got.ch_names) == (3, sent.seed, 100.0, sent.ch_names)
    assert got.steer == Steer(AdapterKey("/there", HASH), frozen=True, n_resets=2)
    assert got.t_onset == 0.0


def test_an_answer_arrives_as_it_was() -> None:
    rng = np.random.default_rng(1)
    answer = Answer(
        index=3,
        vector=rng.normal(size=(2, 4)).astype(np.float32),
        pixels=rng.integers(0, 255, (6, 5, 3), np.uint8),
        observed=True,
        alignment="running",
        drift=0.5,
        confidence=0.25,
        classes=(0.25, 0.75),
        batch=(8, 7),
    )
    served = Served(answer, waited=0.1, encode=0.2, sample=0.3, began=True)
    got = served_from(unpack(DecodeAnswer, pack(answer_of(served, 3))))
    assert (got.waited, got.encode, got.sample, got.began) == (0.1, 0.2, 0.3, True)
    assert np.array_equal(got.answer.vector, answer.vector)  # type: ignore[arg-type]
    assert np.array_equal(got.answer.pixels, answer.pixels)  # type: ignore[arg-type]
    for name in ("observed", "alignment", "drift", "confidence", "classes", "batch"):
        assert getattr(got.answer, name) == getattr(answer, name)


def test_what_a_server_says_of_itself_comes_back() -> None:
    spec = EncoderSpec(
        "toy", InputSpec(100.0, ch_names=("A",)), 0, 0.5, 1.0, None, 4, classes=("x",)
    )
    ready = Ready(
        spec,
        HASH,
        "cpu",
        {"torch": "2"},
        options={"steps": 1},
        pace=Pace(0.1, 2, 0.3, 0.1),
        settled=drawing_of(DecoderConfig(threads=2)),
        machine="a CPU",
    )
    body = msgpack.packb(ready_table(ready))
    found = ready_from(msgpack.unpackb(body, use_list=False))
    assert found == ready
    # A flag that arrives as 1 is no setting any more.
    assert repr(found.settled) == repr(ready.settled)


BROKEN = {
    "a field too many": {"spy": 1},
    "another session id": {"session": "x"},
    "a number below 0": {"number": -1},
    "a number that is none": {"number": True},
    "a rate that is not finite": {"sfreq": float("nan")},
    "no rate": {"sfreq": 0.0},
    "no channel": {"ch_names": ()},
    "a name too long": {"ch_names": ("C" * 201, "C1", "C2")},
    "a name twice": {"ch_names": ("C1", "C1", "C2")},
    "a type too few": {"ch_types": ("eeg",)},
    "another length than its times": {"tmax": 3.0},
    "too few bytes": {"eeg": {"shape": (3, 5), "data": bytes(59)}},
    "a shape that lies": {"eeg": {"shape": (3, 1 << 23), "data": bytes(60)}},
    "a shape of one axis": {"eeg": {"shape": (15,), "data": bytes(60)}},
    "a shape below 0": {"eeg": {"shape": (-3, -5), "data": bytes(60)}},
    "NaN": {"eeg": {"shape": (3, 5), "data": np.full(15, np.nan, "<f4").tobytes()}},
    "infinity": {"eeg": {"shape": (3, 5), "data": np.full(15, np.inf, "<f4").tobytes()}},
    "no hash": {"steer": {"sha256": "../../etc", "frozen": None, "n_resets": 0}},
    "text for bytes": {"eeg": {"shape": (3, 5), "data": "x" * 60}},
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_layout_is_one_sentence(name: str) -> None:
    body = msgpack.packb(table() | BROKEN[name])
    with pytest.raises(WireError) as caught:
        job_from(unpack(DecodeRequest, body))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=200))
def test_noise_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        unpack(DecodeRequest, body)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_request_is_read_or_refused_and_nothing_else(at: int, byte: int) -> None:
    body = bytearray(pack(request_of(job(), session=SESSION, number=3)))
    body[at % len(body)] = byte
    with contextlib.suppress(WireError):
        job_from(unpack(DecodeRequest, bytes(body)))


@pytest.mark.parametrize(
    "body",
    [
        msgpack.packb(msgpack.ExtType(4, b"code")),
        b"\x91" * 3000,  # deeper than anybody nests
        b"\xdd\xff\xff\xff\xff",  # an array that claims 4 billion
        b"\xc6\xff\xff\xff\xff",  # bytes that claim 4 GB
        bytes(40 << 20),
    ],
    ids=["extension", "depth", "array", "bytes", "length"],
)
def test_what_claims_too_much_takes_nothing(body: bytes) -> None:
    with pytest.raises(WireError):
        unpack(DecodeRequest, body)


def test_a_server_is_not_believed_either() -> None:
    good = answer_of(Served(Answer(3, batch=(2, 1))), 3)
    bad = Numbers(shape=(1 << 20, 1 << 20, 3), data=b"")
    for update in ({"batch": (2, 2)}, {"pixels": bad}, {"vector": bad}):
        with pytest.raises(WireError):
            served_from(good.model_copy(update=update))


def test_the_settings_of_a_session_are_checked() -> None:
    good = OpenRequest(
        version=1,
        subject="s",
        system="embedded",
        generator="",
        steps=1,
        guidance=None,
        doubt_session=True,
        align=False,
        tmin=-0.2,
        tmax=0.8,
        filter={},
        budget=5.0,
    )
    assert unpack(OpenRequest, pack(good)) == good
    for update in ({"version": 2}, {"subject": "../x"}, {"budget": 0.0}, {"steps": 0}):
        with pytest.raises(WireError):
            unpack(OpenRequest, msgpack.packb(good.model_dump() | update))


def test_a_job_of_another_batch_is_the_same_request() -> None:
    assert table(replace(job(), batch=(8, 1))) == table()
