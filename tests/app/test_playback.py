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
from app.runtime.playback import PlaybackClock
from app.views.main_window import MainWindow
from app.views.transport_bar import SPEEDS
from configs import RecordingConfig
from devices.recorder import Recorder
from devices.replay import RecordedSource
from pipeline.values import Packet, StreamInfo, StreamRole
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, run_demo


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
