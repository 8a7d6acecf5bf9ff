"""A replay that is paused, hurried and stopped."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.errors import AppError
from app.port import EpochEvent, Phase
from app.runtime.playback import PlaybackClock
from app.runtime.session import Session
from app.views.session.transport_bar import SPEEDS
from app.views.window.main_window import MainWindow
from configs import DecoderConfig, EpochsConfig, FilterConfig, RecordingConfig, SessionConfig
from devices.recorder import Recorder
from devices.replay import RecordedSource
from pipeline.live import LivePath
from pipeline.values import (
    ClockOffset,
    Packet,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, run_demo
from tests.waiting import PATIENCE


def test_the_clock_pauses_and_hurries_without_a_jump() -> None:
    real = [100.0]
    clock = PlaybackClock(clock=lambda: real[0])
    real[0] += 2
    assert clock.now() == 2
    clock.set_paused(True)
    real[0] += 50
    assert clock.now() == 2
    clock.set_paused(False)
    clock.set_speed(10.0)
    assert clock.now() == 2
    real[0] += 1
    assert clock.now() == 12
    with pytest.raises(AppError, match="above 0"):
        clock.set_speed(0.0)


def test_a_paused_replay_can_be_stopped() -> None:
    real = [0.0]
    clock = PlaybackClock(clock=lambda: real[0])
    stop = threading.Event()
    clock.follow(stop)
    clock.set_paused(True)
    stop.set()
    real[0] += 1
    assert clock.now() == 1
    clock.wait(1e9)


def test_the_bar_stands_with_a_replay_only(qtbot: QtBot) -> None:
    template = FakeSession()
    window = MainWindow(FakeFactory(template=template), STIMULI)
    qtbot.addWidget(window)
    window.show()
    session = run_demo(window, qtbot, 2.0)
    assert not window.transport.isVisible()
    qtbot.keyClick(window, Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier)
    playback = session.playback = PlaybackClock()
    window._show_texts()
    assert window.transport.isVisible()
    qtbot.keyClick(window, Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier)
    assert playback.paused
    assert "paused" in window.transport.at.text()
    qtbot.mouseClick(window.transport.play, Qt.MouseButton.LeftButton)
    assert not playback.paused
    window.transport.speed.activated.emit(SPEEDS.index(5.0))
    assert playback.speed == 5.0
    window._show_texts()
    assert window.transport.speed.currentText() == "5 ×"
    window.close()
    window.shut_down()


NO_NOTCH = FilterConfig(notch_freqs=())
"""The recordings here run at 100 Hz."""


class Stepped:
    """A source's pace that a test drives: each wait is a step of the playback's clock."""

    def __init__(self) -> None:
        self.real = 0.0
        self.playback = PlaybackClock(clock=lambda: self.real)

    def wait(self, seconds: float) -> None:
        self.real += max(0.002, seconds)


def record(path: Path, *, seconds: float = 20.0) -> None:
    """A recording whose samples count up, with a marker a second, and a clock 1000 s away."""
    streams = {
        StreamRole.EEG: StreamInfo(
            "eeg",
            "EEG",
            "e",
            2,
            100.0,
            "float32",
            ch_names=("Oz", "Cz"),
            ch_units=("microvolts",) * 2,
        ),
        StreamRole.MARKERS: StreamInfo("m", "Markers", "m", 1, 0.0, "string"),
    }
    recorder = Recorder(path, streams, RecordingConfig())
    for role in streams:
        recorder.put(ClockOffset(role, 1100.0, 1000.0))
    for at in range(round(10 * seconds)):
        numbers = 10 * at + np.arange(10)
        stamps = 100.0 + numbers / 100
        if at % 10 == 5:
            onset = np.array([stamps[0]])
            recorder.put(Packet(StreamRole.MARKERS, (f"s{at // 10}",), onset, 1000 + onset[0]))
        data = np.repeat(numbers, 2).reshape(10, 2).astype(np.float32)
        recorder.put(Packet(StreamRole.EEG, data, stamps, float(stamps[-1]) + 1000.0))
    assert recorder.close()


def test_a_sought_place_follows_without_a_hole_and_a_loop_begins_again(tmp_path: Path) -> None:
    record(tmp_path / "r.xdf")
    step = Stepped()
    source = RecordedSource(tmp_path / "r.xdf", speed=1.0, clock=step.playback.now, wait=step.wait)
    step.playback.attach(source)
    assert step.playback.duration == pytest.approx(19.99)
    path = LivePath(SessionConfig(buffer=10.0, filter=NO_NOTCH), source.streams)
    numbers: list[float] = []
    markers: list[str] = []
    states: list[StateChange] = []

    def play(until: float) -> None:
        while step.real < until:
            for item in source.read(0.1):
                path.feed(item)
                if isinstance(item, StateChange):
                    states.append(item)
                elif isinstance(item, Packet) and item.role is StreamRole.EEG:
                    numbers.extend(np.asarray(item.samples)[:, 0].tolist())
                elif isinstance(item, Packet):
                    markers.extend(str(label) for label in item.samples)

    play(2.0)
    assert step.playback.position == pytest.approx(2.0, abs=0.3)
    step.playback.seek(15.0)
    assert step.playback.position == 15.0
    n_before = len(numbers)
    play(4.0)
    assert numbers[n_before] == 1500.0
    assert step.playback.position == pytest.approx(17.0, abs=0.3)
    step.playback.set_loop(True)
    assert step.playback.loop
    play(10.0)
    assert numbers[-1] < 500, "it began again"
    step.playback.seek(1e9)
    play(10.5)
    assert step.playback.position == pytest.approx(19.5, abs=0.3)
    step.playback.set_loop(False)
    play(14.0)
    assert [s.state for s in states[:3]] == [StreamState.SOUGHT] * 3
    assert {s.state for s in states[3:]} == {StreamState.ENDED}
    assert "15.0 s" in states[0].reason
    # Each sample and marker as recorded, in order, but at the four joints; nothing lost, no hole.
    jumps = [i for i, step_ in enumerate(np.diff(numbers)) if step_ != 1.0]
    assert [numbers[i + 1] for i in jumps] == [1500.0, 0.0, 1890.0]
    assert markers[:4] == ["s0", "s1", "s15", "s16"]
    path.finish()
    assert path.n_lost == 0
    assert path.n_gaps == len(jumps)
    assert path.n_received == len(numbers)
    found = path.ring.read(path.ring.oldest, path.ring.n_written)
    assert found is not None
    assert np.diff(found[1]) == pytest.approx(0.01, abs=1e-4)
    source.close()


def test_a_sought_session_counts_no_return_and_ends_each_marker_once(tmp_path: Path) -> None:
    """The whole session: epochs across the joint are refused as a gap, the rest are cut."""
    record(tmp_path / "r.xdf", seconds=60.0)
    step = Stepped()
    source = RecordedSource(tmp_path / "r.xdf", speed=1.0, clock=step.playback.now, wait=step.wait)
    step.playback.attach(source)
    sought = threading.Event()

    def heard(event: EpochEvent) -> None:
        if event.label == "s10" and not sought.is_set():
            sought.set()
            session.playback.seek(40.0)  # type: ignore[union-attr]

    session = Session(
        SessionConfig(
            decoder=DecoderConfig(enabled=False),
            epochs=EpochsConfig(reject_uv={}),
            buffer=10.0,
            filter=NO_NOTCH,
        ),
        out=tmp_path / "out",
        open_source=lambda _: source,
        clock=lambda: step.real,
        is_live=False,
        playback=step.playback,
        on_epoch=heard,
        on_end=source.close,
    )
    session.start()
    assert session.wait(PATIENCE)
    snapshot = session.snapshot()
    assert snapshot.phase is Phase.STOPPED
    assert (snapshot.n_reconnects, snapshot.n_lost, snapshot.n_gaps) == (0, 0, 1)
    assert snapshot.duration == pytest.approx(31.5, abs=1.5)
    assert sum(snapshot.outcomes.values()) == snapshot.n_markers == pytest.approx(31, abs=1)
    assert snapshot.outcomes["collected"] >= 20
    assert snapshot.outcomes["settling"] >= 1


def test_a_recording_is_held_hurried_and_given_up_while_paused(tmp_path: Path) -> None:
    """With the real source: no sample passes while it is paused, and a stop gets through."""
    recording = tmp_path / "recording.xdf"
    streams = {
        StreamRole.EEG: StreamInfo("eeg", "EEG", "e", 2, 100.0, "float32", ch_names=("Oz", "Cz"))
    }
    recorder = Recorder(recording, streams, RecordingConfig())
    for at in range(20):
        stamps = 100.0 + at / 10 + np.arange(10) / 100
        data = np.zeros((10, 2), dtype=np.float32)
        recorder.put(
            Packet(StreamRole.EEG, samples=data, timestamps=stamps, received_at=float(stamps[-1]))
        )
    recorder.close()
    real = [0.0]
    playback = PlaybackClock(clock=lambda: real[0])
    stop = threading.Event()
    playback.follow(stop)
    source = RecordedSource(recording, speed=1.0, clock=playback.now, wait=lambda _: advance())

    def advance() -> None:
        real[0] += 0.01
        if real[0] > 30:
            stop.set()

    def n_samples(items: Sequence[object]) -> int:
        return sum(len(i.timestamps) for i in items if isinstance(i, Packet))

    before = n_samples(source.read(0.5))
    assert 0 < before < 150
    playback.set_paused(True)
    held = real[0]
    source.read(0.2)
    assert stop.is_set(), "it came back for nothing less than the stop"
    assert real[0] - held > 25, "and until then the recording of 2 s was held"
    source.close()
