"""A live session's length is this machine's time, whatever the stream says of its own."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
import pytest

from app.benchmarks.idle import idle_decoder
from app.port import Phase
from app.runtime.decoder import Decoder
from app.runtime.messages import Answer
from app.runtime.results import Cut, stages_of
from app.runtime.session import NO_LATENCY, Session
from configs import DecoderConfig, EpochsConfig, OutletsConfig, SessionConfig, SourceConfig
from devices.hostile import ClockJump, Death, HostileSettings, HostileSource
from devices.lsl.inlet import LslSource
from pipeline.values import Epoch, Info, Packet, SourceItem
from tests.devices.lsl_tools import Feeder
from tests.waiting import PATIENCE, wait_for

HOUR = 3600.0
LONG = HostileSettings(duration=300.0, chunk=25, probe_interval=1.0)


class LiveSource(HostileSource):
    """The hostile stream as if it came in the present, under its own clock."""

    @property
    def is_live(self) -> bool:
        return True


class StrayStamps(LiveSource):
    """From `at` on (s) samples and markers are stamped `shift` s off; no probe explains it."""

    def __init__(self, settings: HostileSettings, at: float, shift: float) -> None:
        super().__init__(settings)
        self._after, self._shift = self.now + at, shift

    def read(self, timeout: float) -> list[SourceItem]:
        items = super().read(timeout)
        if self.now < self._after:
            return items
        return [
            replace(item, timestamps=item.timestamps + self._shift)
            if isinstance(item, Packet)
            else item
            for item in items
        ]


def run(
    out: Path, stream: HostileSource, *, duration: float, is_live: bool = True
) -> dict[str, Any]:
    """Play a session without a decoder; its summary."""
    session = Session(
        SessionConfig(
            buffer=60.0,
            decoder=DecoderConfig(enabled=False),
            outlets=OutletsConfig(enabled=False),
        ),
        out=out,
        open_source=lambda _: stream,
        clock=lambda: stream.now,
        monotonic=lambda: stream.now,
        duration=duration,
        is_live=is_live,
    )
    session.start()
    assert session.wait(PATIENCE)
    assert session.snapshot().phase is Phase.STOPPED
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def test_a_source_that_dies_does_not_prolong_a_session(tmp_path: Path) -> None:
    summary = run(tmp_path / "out", LiveSource(LONG, [Death(15.0, 270.0)]), duration=25.0)
    assert 25.0 <= summary["duration_s"] <= 26.6  # markers come every 1.5 s, and nothing else
    assert summary["samples"]["received"] == 15 * 250


@pytest.mark.parametrize("jump", [-HOUR, HOUR, -20.0, 20.0])
def test_stamps_that_jump_neither_prolong_nor_end_a_session(tmp_path: Path, jump: float) -> None:
    for name, source in (
        ("clock", LiveSource(LONG, [ClockJump(10.0, jump)])),
        ("stamps", StrayStamps(LONG, 10.0, jump)),
    ):
        summary = run(tmp_path / name, source, duration=25.0)
        assert summary["duration_s"] == pytest.approx(25.0, abs=0.2), name
        assert summary["samples"]["received"] == pytest.approx(25 * 250, abs=75), name


class Mute(LiveSource):
    """Open, and never a sample; each turn takes a second."""

    def read(self, timeout: float) -> list[SourceItem]:
        self.now += 1.0
        return []


def test_a_stream_that_never_sends_ends_its_session_all_the_same(tmp_path: Path) -> None:
    summary = run(tmp_path / "out", Mute(LONG), duration=25.0)
    assert summary["duration_s"] == 0.0
    assert summary["samples"]["received"] == 0


def test_a_replays_duration_is_the_recorded_time(tmp_path: Path) -> None:
    """Its stamps are all there is; a clock that was set back takes no recorded time away."""
    for name, faults in (("plain", []), ("back", [ClockJump(10.0, -HOUR)])):
        source = HostileSource(replace(LONG, duration=40.0), faults)
        summary = run(tmp_path / name, source, duration=25.0, is_live=False)
        assert summary["duration_s"] == pytest.approx(25.0, abs=0.2), name
        assert summary["samples"]["received"] == pytest.approx(25 * 250, abs=75), name


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_latencies_after_a_jump_are_refused_and_that_is_said(tmp_path: Path, jump: float) -> None:
    source = StrayStamps(replace(LONG, duration=60.0), 20.0, jump)

    def open_source(_: threading.Event) -> HostileSource:
        wait_for(lambda: session._decoding.is_ready)
        return source

    session = Session(
        SessionConfig(
            buffer=60.0,
            source=SourceConfig(follow_arrival=False),
            epochs=EpochsConfig(reject_uv={}),
            decoder=DecoderConfig(queue_size=64),
            outlets=OutletsConfig(enabled=False),
        ),
        out=tmp_path / "out",
        open_source=open_source,
        clock=lambda: source.now,
        monotonic=lambda: source.now,
        make_decoder=partial(Decoder, target=idle_decoder),
    )
    session.start()
    assert session.wait(PATIENCE)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    lines = (tmp_path / "out" / "events.jsonl").read_text().split("\n")
    decoded = [e for e in map(json.loads, filter(None, lines)) if e["outcome"] == "decoded"]
    refused = [event for event in decoded if event["stages_ms"] is None]
    known = [event["stages_ms"]["arrival"] for event in decoded if event["stages_ms"]]
    assert len(known) > 5
    assert len(refused) > 5
    assert max(map(abs, known)) < 1000.0  # on the stream's virtual clock: a chunk and its way
    assert summary["latency_ms"]["arrival"]["n"] == len(known)
    # The decoder works in real time, and its wait is told on the virtual clock, which runs ahead.
    assert summary["latency_ms"]["total_after_epoch"]["p99"] < 60_000.0
    assert NO_LATENCY in summary["warnings"]


def test_an_epoch_whose_arrival_is_unknown_has_no_latency() -> None:
    epoch = Epoch(
        data=np.zeros((1, 2), np.float32),
        tmin=0.0,
        tmax=1.0,
        t_onset=10.0,
        event="face",
        info=Info(("C3",), 1.0),
        index=0,
    )
    answer = Answer(0, np.ones(2, np.float32), None, 5.0, 5.1, 5.2)
    cut = Cut(epoch, 11.02, 4.9, 4.91, 4.92)
    live = stages_of(cut, answer, now=11.5, returned=5.3, is_live=True)
    assert live is not None
    assert live.arrival == pytest.approx(20.0)
    jumped = replace(cut, arrival=None)
    assert stages_of(jumped, answer, now=3611.5, returned=5.3, is_live=True) is None
    assert stages_of(jumped, answer, now=3611.5, returned=5.3, is_live=False) is not None


@pytest.mark.lsl
def test_a_stream_that_ends_over_lsl_ends_its_session_in_time(tmp_path: Path) -> None:
    config = SessionConfig(
        buffer=10.0,
        source=SourceConfig(source_id="dies"),
        decoder=DecoderConfig(enabled=False),
        outlets=OutletsConfig(enabled=False),
    )
    now = [0.0]
    session = Session(
        config,
        out=tmp_path / "out",
        open_source=lambda stop: LslSource(config.source, None, stop=stop),
        clock=pylsl.local_clock,
        monotonic=lambda: now[0],
        duration=25.0,
    )
    with Feeder(source_id="dies"):
        session.start()
        wait_for(lambda: session.snapshot().n_received > 100)
        now[0] = 15.0
    wait_for(lambda: session.snapshot().stream_state in ("stalled", "lost"))
    assert session.snapshot().phase is Phase.RUNNING
    now[0] = 25.1
    assert session.wait(PATIENCE)
    assert session.snapshot().phase is Phase.STOPPED
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["duration_s"] == pytest.approx(25.1, abs=0.01)
