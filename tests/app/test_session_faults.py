"""Faults around a session: slow consumers, a second instance, no display (R26, R28, R29)."""

from __future__ import annotations

import json
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
import pytest

from app.benchmarks.idle import idle_decoder
from app.cli import main
from app.errors import AppError
from app.port import Phase
from app.runtime.decoder import Decoder
from app.runtime.launch import FOLLOWING_TIMEOUT, VirtualHeadset
from app.runtime.messages import Answer, Ready, Refused
from app.runtime.session import Session
from configs import (
    DecoderConfig,
    EpochsConfig,
    FilterConfig,
    OutletsConfig,
    SessionConfig,
    SourceConfig,
    load_preset,
)
from devices.errors import StreamNotFoundError
from devices.hostile import HostileSettings, HostileSource
from devices.lsl.inlet import LslSource
from devices.xdf import XdfFile
from models.api import EncoderSpec, InputSpec
from pipeline.gallery import SPACE, load_gallery
from tests.devices.lsl_tools import Feeder
from tests.waiting import PATIENCE, Stopwatch, wait_for


def slow_decoder(connection: Connection, _: SessionConfig) -> None:
    """Take longer for a picture than the next epoch takes to come."""
    n_features = load_gallery().embeddings.shape[1]
    wanted = InputSpec(250.0)
    spec = EncoderSpec("slow", wanted, -0.2, 0.8, None, None, n_features, space=SPACE)
    connection.send(Ready(spec, "", "", {}))
    pixels = np.zeros((2, 2, 3), np.uint8)
    while (job := connection.recv()) is not None:
        threading.Event().wait(0.5)
        connection.send(Answer(job.index, np.ones(n_features, np.float32), pixels))


def summary_of(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return table


def test_r26_a_slow_decoder_costs_pictures_and_never_a_sample(tmp_path: Path) -> None:
    """A minute of stream in a second or two, half a second a picture, and nobody who looks."""
    source = HostileSource(HostileSettings(duration=60.0, chunk=20))
    ready = threading.Event()

    def open_source(_: threading.Event) -> HostileSource:
        wait_for(lambda: session._decoding.is_ready)
        ready.set()
        return source

    session = Session(
        SessionConfig(
            buffer=60.0,
            epochs=EpochsConfig(reject_uv={}),
            decoder=DecoderConfig(queue_size=2),
            outlets=OutletsConfig(enabled=False),
        ),
        out=tmp_path / "out",
        open_source=open_source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=slow_decoder),
    )
    session.start()
    assert ready.wait(PATIENCE)
    watch = Stopwatch()
    assert session.wait(PATIENCE)
    assert watch.seconds() < 20.0
    snapshot, summary = session.snapshot(), summary_of(tmp_path / "out")
    assert snapshot.phase is Phase.STOPPED
    assert summary["outcomes"]["overload"] > 20
    assert summary["outcomes"]["decoded"] >= 2
    assert sum(summary["outcomes"].values()) == summary["markers"]
    assert summary["samples"]["recorded"] == summary["samples"]["received"] == 15_000
    # A window that was blocked all the while finds every result, and the traces' newest part.
    assert len(session.results(0)) == summary["markers"]
    traces = session.traces(0, 100_000)
    assert traces is not None
    assert traces.start + traces.data.shape[1] == 15_000


def refusing_decoder(connection: Connection, _: SessionConfig) -> None:
    """Have no weights."""
    connection.send(Refused("the weights are missing."))
    connection.recv()


@pytest.mark.parametrize("has_stream", [False, True])
def test_a_session_that_could_not_begin_leaves_what_was_there(
    has_stream: bool, tmp_path: Path
) -> None:
    """Neither recording nor report: only a folder that was there, and a person's notes."""
    out, source = tmp_path / "out", HostileSource(HostileSettings(duration=1e5, chunk=20))

    def open_source(_: threading.Event) -> HostileSource:
        if not has_stream:
            raise StreamNotFoundError("no such stream.")
        wait_for(lambda: session._decoding.refusal)
        return source

    def fail(notes: str = "") -> None:
        nonlocal session
        session = Session(
            SessionConfig(
                decoder=DecoderConfig(enabled=has_stream), outlets=OutletsConfig(enabled=False)
            ),
            out=out,
            open_source=open_source,
            clock=lambda: source.now,
            make_decoder=partial(Decoder, target=refusing_decoder),
        )
        if notes:
            session.set_notes(notes)
        session.start()
        assert session.wait(PATIENCE)
        assert session.snapshot().phase is Phase.FAILED

    session: Session
    if has_stream:
        out.mkdir()
    fail()
    assert list(tmp_path.rglob("*")) == [out] * has_stream
    fail("the cap was loose")
    assert summary_of(out)["phase"] == "failed"


def test_a_session_that_was_ended_while_it_looked_for_its_stream_keeps_its_folder(
    tmp_path: Path,
) -> None:
    is_looking = threading.Event()

    def open_source(stop: threading.Event) -> HostileSource:
        is_looking.set()
        assert stop.wait(PATIENCE)
        raise StreamNotFoundError("given up.")

    session = Session(
        SessionConfig(decoder=DecoderConfig(enabled=False), outlets=OutletsConfig(enabled=False)),
        out=tmp_path / "out",
        open_source=open_source,
        clock=time.monotonic,
    )
    session.start()
    assert is_looking.wait(PATIENCE)
    session.stop()
    assert session.wait(PATIENCE)
    assert (tmp_path / "out" / "session.toml").exists()


@pytest.mark.lsl
def test_a_virtual_headset_that_never_hears_the_stimuli_ends_the_demo(tmp_path: Path) -> None:
    """Its process streams, but its way to our markers is barred: nothing waits for ever."""
    now = [0.0]
    headset = VirtualHeadset(
        load_preset("demo"), source_id="deaf", markers_source_id="nobody", clock=lambda: now[0]
    )

    def may_present() -> bool:
        follows = headset.is_following()
        now[0] += 0.7 * FOLLOWING_TIMEOUT
        return follows

    session = Session(
        SessionConfig(buffer=10.0, decoder=DecoderConfig(enabled=False)),
        out=tmp_path / "out",
        open_source=lambda _: HostileSource(HostileSettings(duration=3600.0)),
        clock=pylsl.local_clock,
        make_presenter=lambda: pytest.fail("nobody would have seen it"),
        may_present=may_present,
        is_live=False,
        on_end=headset.close,
    )
    headset.open(threading.Event())
    session.start()
    assert session.wait(PATIENCE)
    assert session.snapshot().phase is Phase.FAILED
    sentence = session.snapshot().message
    assert "has not found the stimulus markers in 60 s" in sentence
    assert "phosphene doctor" in sentence
    assert now[0] == pytest.approx(2 * 0.7 * FOLLOWING_TIMEOUT)
    with pytest.raises(AppError, match="has ended"):
        headset.is_following()


@pytest.mark.lsl
def test_r28_two_sessions_at_once_each_have_their_own(tmp_path: Path) -> None:
    """Two instances on one headset, publishing under one name: both are whole."""

    def session_in(out: Path) -> Session:
        config = SessionConfig(
            buffer=10.0,
            source=SourceConfig(source_id="shared-headset"),
            filter=FilterConfig(l_freq=8.0, notch_freqs=()),
        )
        return Session(
            config,
            out=out,
            open_source=lambda stop: LslSource(config.source, None, stop=stop),
            clock=pylsl.local_clock,
            make_decoder=partial(Decoder, target=idle_decoder),
        )

    with Feeder(source_id="shared-headset"):
        sessions = [session_in(tmp_path / name) for name in ("a", "b")]
        for session in sessions:
            session.start()
        for session in sessions:
            wait_for(lambda session=session: session.snapshot().n_received > 250)  # type: ignore[misc]
        for session in sessions:
            session.stop()
    for name, session in zip(("a", "b"), sessions, strict=True):
        assert session.snapshot().phase is Phase.STOPPED
        summary = summary_of(tmp_path / name)
        assert summary["samples"]["recorded"] == summary["samples"]["received"] > 250
        with XdfFile(tmp_path / name / "recording.xdf") as file:
            numbers = np.asarray(file.load()[1].samples)[:, 0] // 1000
        np.testing.assert_array_equal(np.diff(numbers), 1)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there is always a display")
def test_r29_without_a_display_the_window_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert main(["gui"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no display" in line
    assert "--headless" in line
