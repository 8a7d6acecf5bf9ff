"""Adapters swapped and alignment steered between two epochs, live and in a replay."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.port import AdaptCommand, EpochEvent, Phase
from app.runtime.decoder import Decoder
from app.runtime.decoding import read_past
from app.runtime.encoders import check_encoder
from app.runtime.messages import AdapterKey, Answer, Job, Load, Loaded, Steer
from app.runtime.session import Session
from app.runtime.steering import Change, Steering, decode_change, encode_change
from configs import DecoderConfig, SessionConfig
from configs.models import EpochsConfig
from devices.hostile import HostileSettings, HostileSource
from devices.replay import RecordedSource
from pipeline.errors import PhospheneError
from pipeline.values import Outcome
from tests.app.toy_system import failing_main, frozen_main, toy_main, write_toy_adapter
from tests.waiting import PATIENCE, Stopwatch, wait_for

SETTINGS = HostileSettings(duration=36.0, chunk=20)
WAIT = PATIENCE

Act = Callable[[Session, int], None]


def config_of(adapter: Path | None, *, align: bool = False) -> SessionConfig:
    return SessionConfig(
        buffer=60.0,
        epochs=EpochsConfig(reject_uv={}),
        decoder=DecoderConfig(adapter=None if adapter is None else str(adapter), align=align),
    )


def run(
    out: Path, adapter: Path | None, act: Act | None = None, target: Any = toy_main
) -> dict[int, dict[str, Any]]:
    """Run a session on the hostile source; `act(session, index)` at each epoch; events by index."""
    source = HostileSource(SETTINGS)
    sessions: list[Session] = []

    def heard(event: EpochEvent) -> None:
        if act is not None and event.outcome is Outcome.DECODED:
            act(sessions[0], event.index)

    session = Session(
        config_of(adapter),
        out=out,
        open_source=lambda _: source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=target),
        is_live=False,
        on_epoch=heard,
    )
    sessions.append(session)
    session.start()
    assert session.wait(PATIENCE)
    assert session.snapshot().phase is Phase.STOPPED, session.snapshot().message
    return events_of(out)


def replay(out: Path, recorded: Path, adapter: Path | None, target: Any = toy_main) -> Session:
    source = RecordedSource(recorded / "recording.xdf")
    session = Session(
        config_of(adapter),
        out=out,
        open_source=lambda _: source,
        clock=time.monotonic,
        make_decoder=partial(Decoder, target=target),
        is_live=False,
        past=read_past(source.recorded_events()),
        on_end=source.close,
    )
    session.start()
    assert session.wait(PATIENCE)
    return session


def events_of(folder: Path) -> dict[int, dict[str, Any]]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    keys = ("label", "outcome", "embedding_sha256", "image_sha256")
    return {line["index"]: {key: line[key] for key in keys} for line in lines}


def swap_and_wait(session: Session, folder: Path | None) -> None:
    """Ask, and hold the acquisition until the adapter is loaded: the next epoch has it."""
    session.swap_adapter(folder)
    wait_for(lambda: session._decoding._asked is None, WAIT)


def hashes(events: dict[int, dict[str, Any]]) -> dict[int, str]:
    return {i: e["image_sha256"] for i, e in events.items() if e["outcome"] == "decoded"}


def test_a_then_b_then_a_gives_as_pictures_again_and_so_does_a_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a = write_toy_adapter(tmp_path / "a", seed=1)
    b = write_toy_adapter(tmp_path / "b", seed=2)
    seen: dict[int, str | None] = {}

    def act(session: Session, index: int) -> None:
        if index == 6:
            session.adapt("freeze")  # alignment would make a picture depend on those before
        if index == 10:
            swap_and_wait(session, b)
        if index == 18:
            swap_and_wait(session, a)
        seen[index] = session.snapshot().adapter

    def freeze(session: Session, index: int) -> None:
        if index == 6:
            session.adapt("freeze")
        if index == 18:
            session.adapt("reset")  # as a swap does: A begins as its calibration left it

    mixed = run(tmp_path / "mixed", Path("a"), act)  # however it is spelt
    only_a, only_b = hashes(run(tmp_path / "only", a, freeze)), hashes(mixed)
    assert seen[9] == str(a)
    assert seen[14] == str(b)
    assert seen[20] == str(a)
    same = {i for i, sha in hashes(mixed).items() if only_a[i] == sha}
    decoded = set(only_b)
    assert {i for i in decoded if i < 10 or i >= 18} == same
    assert {i for i in decoded if 10 <= i < 18}.isdisjoint(same)
    assert len(decoded - same) == 8
    session = replay(tmp_path / "again", tmp_path / "mixed", a)
    assert session.snapshot().phase is Phase.STOPPED
    assert events_of(tmp_path / "again") == mixed
    # A replay's own recording repeats it once more.
    replay(tmp_path / "third", tmp_path / "again", a)
    assert events_of(tmp_path / "third") == mixed


def test_alignment_and_failures_after_the_encoder_repeat(tmp_path: Path) -> None:
    """Freeze, resume, reset, and epochs that count for alignment though no picture came."""

    def act(session: Session, index: int) -> None:
        commands: dict[int, AdaptCommand] = {12: "freeze", 15: "resume", 20: "reset"}
        if index in commands:
            session.adapt(commands[index])

    live = run(tmp_path / "live", None, act, target=failing_main)
    assert live[9]["outcome"] == live[10]["outcome"] == "failed"
    plain = run(tmp_path / "plain", None)
    differ = {i for i in hashes(live) if hashes(live)[i] != hashes(plain)[i]}
    assert min(differ) == 12
    # Here nothing fails: the recording says what the encoder took in.
    replay(tmp_path / "again", tmp_path / "live", None)
    assert events_of(tmp_path / "again") == live


def test_a_refused_adapter_leaves_the_old_one_active(tmp_path: Path) -> None:
    a = write_toy_adapter(tmp_path / "a", seed=1)
    told: list[str] = []

    def act(session: Session, index: int) -> None:
        if index == 10:
            swap_and_wait(session, tmp_path / "nothing")
        if index == 11:
            told.extend(session.snapshot().warnings)
            assert session.snapshot().adapter == str(a)

    mixed = run(tmp_path / "mixed", a, act)
    assert mixed == run(tmp_path / "only", a)
    assert [words for words in told if "holds no toy adapter" in words and str(a) in words]


def test_a_replay_whose_adapter_has_changed_says_so(tmp_path: Path) -> None:
    b = write_toy_adapter(tmp_path / "b", seed=2)

    def act(session: Session, index: int) -> None:
        if index == 10:
            swap_and_wait(session, b)

    run(tmp_path / "live", None, act)
    write_toy_adapter(b, seed=3)
    snapshot = replay(tmp_path / "again", tmp_path / "live", None).snapshot()
    assert snapshot.phase is Phase.FAILED
    assert "is not the one that the recorded session used" in snapshot.message


def test_no_epoch_waits_for_an_adapter_that_is_being_loaded(tmp_path: Path) -> None:
    slow = write_toy_adapter(tmp_path / "slow", seed=2, seconds=1.0)
    heard: list[object] = []
    arrived = threading.Condition()

    def take(word: object) -> None:
        with arrived:
            heard.append(word)
            arrived.notify_all()

    decoder = Decoder(
        config_of(None),
        on_answer=lambda _, answer, __: take(answer),
        on_loaded=take,
        target=toy_main,
    )
    decoder.start()
    try:
        assert decoder.wait_ready(WAIT)
        decoder.load(Load(str(slow)))
        longest = 0.0
        for index in range(8):
            watch = Stopwatch()
            decoder.submit(job(index), policy="wait")
            assert decoder.drain(WAIT)
            longest = max(longest, watch.seconds())
        with arrived:
            assert arrived.wait_for(lambda: any(isinstance(w, Loaded) for w in heard), WAIT)
        loaded = next(word for word in heard if isinstance(word, Loaded))
        assert loaded.spec is not None
        assert heard.index(loaded) == 8, "all eight were answered meanwhile"
        assert longest < 0.8
        key = AdapterKey(loaded.folder, loaded.sha256)
        decoder.submit(job(8, Steer(key)), policy="wait")
        decoder.submit(job(9), policy="wait")
        assert decoder.drain(WAIT)
    finally:
        decoder.close()
    answers = [word for word in heard if isinstance(word, Answer)]
    vectors = [answer.vector for answer in answers if answer.vector is not None]
    assert len(vectors) == 10
    assert not np.array_equal(vectors[8], vectors[7])


def test_after_a_crash_the_adapter_is_loaded_again_by_the_next_epoch(tmp_path: Path) -> None:
    a = write_toy_adapter(tmp_path / "a", seed=1)
    answers: list[Answer] = []
    keys: list[AdapterKey] = []
    decoder = Decoder(
        config_of(None),
        on_answer=lambda _, answer, __: answers.append(answer),
        on_loaded=lambda word: keys.append(AdapterKey(word.folder, word.sha256)),
        target=toy_main,
    )
    decoder.start()
    try:
        assert decoder.wait_ready(WAIT)
        decoder.load(Load(str(a)))
        wait_for(lambda: keys, WAIT)
        for index, event in enumerate(("", "die", "")):
            decoder.submit(job(index, Steer(keys[0]), event), policy="wait")
        assert decoder.drain(WAIT)
    finally:
        decoder.close()
    first, died, again = answers
    assert "died" in died.error
    assert first.vector is not None
    assert again.vector is not None
    assert np.array_equal(first.vector, again.vector)


def job(index: int, steer: Steer | None = None, event: str = "") -> Job:
    data = np.random.default_rng(5).normal(size=(4, 250)).astype(np.float32)
    names, types = ("C3", "C4", "O1", "O2"), ("eeg",) * 4
    return Job(index, 0.0, data, names, types, 250.0, -0.2, 0.8, event, 1, steer or Steer())


@given(st.lists(st.sampled_from(["freeze", "resume", "reset", "a", "b", "crash", ""]), max_size=30))
def test_a_replay_steers_each_epoch_as_the_live_run_did(requests: list[str]) -> None:
    """Whatever was asked between epochs, the levels that a replay's epochs get are the same.

    Resets are compared by their steps: in the live run a crash resets by itself.
    """
    live, recorded, steers = Steering(AdapterKey("a")), [], []
    crashed_at = set()
    for request in requests:
        if request in ("a", "b"):
            live.use(AdapterKey(request, "sha"))
        elif request in ("freeze", "resume", "reset"):
            live.adapt(request)  # type: ignore[arg-type]
        number, steer, change = live.step()
        steers.append(steer)
        if change is not None:
            recorded.append(change)
        if request == "crash":
            crashed_at.add(number)
            recorded.append(Change(number, None))
    read = [decode_change(encode_change(change)) for change in recorded]
    again = Steering(AdapterKey("a"), [change for change in read if change is not None])
    repeated = [again.step()[1] for _ in requests]
    assert [(s.adapter, s.frozen) for s in repeated] == [(s.adapter, s.frozen) for s in steers]
    for number in range(1, len(steers)):
        wanted = steers[number].n_resets > steers[number - 1].n_resets or number in crashed_at
        assert (repeated[number].n_resets > repeated[number - 1].n_resets) == wanted


def test_a_session_that_follows_the_person_does_so_from_its_first_epoch(tmp_path: Path) -> None:
    assert Steering(AdapterKey("a")).step()[1].frozen is None
    assert Steering(AdapterKey("a"), follows=True).step()[1].frozen is False
    events = []
    for name, align in (("one", True), ("two", True), ("three", False)):
        source = HostileSource(SETTINGS)
        session = Session(
            config_of(None, align=align),
            out=tmp_path / name,
            open_source=lambda _, source=source: source,
            clock=lambda source=source: source.now,
            make_decoder=partial(Decoder, target=frozen_main),
            is_live=False,
        )
        session.start()
        assert session.wait(PATIENCE)
        events.append(hashes(events_of(tmp_path / name)))
    followed, again, frozen = events
    assert followed == again
    # The toy's first epoch is nudged by itself alone, which changes its length only.
    assert all(followed[index] != frozen[index] for index in followed if index > min(followed))


def test_an_adapter_for_another_window_or_montage_is_refused() -> None:
    from tests.app.toy_system import ToyEncoder

    encoder = ToyEncoder(1, "x")
    short = SessionConfig(epochs=EpochsConfig(tmin=-0.2, tmax=0.5))
    with pytest.raises(PhospheneError, match=r"epochs.tmin and epochs.tmax are -0.2 and 0.5 s"):
        check_encoder(encoder, short, folder="somewhere")
    check_encoder(encoder, SessionConfig(), folder="somewhere", ch_names=("C3",))
