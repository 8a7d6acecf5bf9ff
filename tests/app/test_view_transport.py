"""The transport bar over a replay: play, pause, speed, place, loop, by pointer and by key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractSlider, QApplication
from pytestqt.qtbot import QtBot

from app.views.session.transport_bar import SPEEDS, STEP
from app.views.window.main_window import MainWindow
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, run_demo

CONTROL = Qt.KeyboardModifier.ControlModifier


@dataclass
class FakePlayback:
    """Satisfies `Playback`."""

    paused: bool = False
    speed: float = 1.0
    loop: bool = False
    position: float = 62.0
    duration: float | None = 300.0
    asked: list[float] = field(default_factory=list)

    def set_paused(self, paused: bool) -> None:
        self.paused = paused

    def set_speed(self, speed: float) -> None:
        self.speed = speed

    def set_loop(self, on: bool) -> None:
        self.loop = on

    def seek(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.position = seconds


@pytest.fixture
def playback() -> FakePlayback:
    return FakePlayback()


@pytest.fixture
def window(qtbot: QtBot, playback: FakePlayback) -> Iterator[MainWindow]:
    window = MainWindow(FakeFactory(template=FakeSession(playback=playback)), STIMULI)
    qtbot.addWidget(window)
    window.show()
    run_demo(window, qtbot, 2.0)
    QApplication.processEvents()
    yield window
    window.end()


def test_the_bar_shows_where_it_stands(window: MainWindow, playback: FakePlayback) -> None:
    bar = window.transport
    assert bar.isVisible()
    assert bar.at.text() == "1:02 / 5:00"
    assert (bar.place.value(), bar.place.maximum()) == (620, 3000)
    playback.position, playback.speed, playback.loop = 100.0, 5.0, True
    bar.refresh()
    assert bar.place.value() == 1000
    assert bar.speed.currentText() == "5 ×"
    assert bar.loop.isChecked()
    playback.duration = None
    bar.refresh()
    assert not bar.place.isEnabled()
    assert bar.at.text() == "1:40"


def test_dragging_moves_once_and_shows_the_place_before(
    window: MainWindow, playback: FakePlayback
) -> None:
    place = window.transport.place
    place.setSliderDown(True)
    for value in (700, 900, 1500):
        place.setSliderPosition(value)
        place.sliderMoved.emit(value)
    assert not playback.asked
    assert window.transport.at.text() == "2:30 / 5:00"
    window._show_texts()
    assert place.value() == 1500, "the session does not pull the handle away"
    place.setSliderDown(False)
    assert playback.asked == [150.0]


def test_a_click_beside_the_handle_and_keys_on_it_move_at_once(
    window: MainWindow, qtbot: QtBot, playback: FakePlayback
) -> None:
    place = window.transport.place
    place.triggerAction(QAbstractSlider.SliderAction.SliderPageStepAdd)
    assert playback.asked == [62.0 + STEP]
    place.setFocus()
    qtbot.keyClick(place, Qt.Key.Key_Home)
    assert playback.asked[-1] == 0.0


def test_keys(window: MainWindow, qtbot: QtBot, playback: FakePlayback) -> None:
    qtbot.keyClick(window, Qt.Key.Key_Right, CONTROL)
    assert playback.asked == [72.0]
    for _ in range(9):
        qtbot.keyClick(window, Qt.Key.Key_Left, CONTROL)
    assert playback.asked[-1] == 0.0, "never before the beginning"
    playback.position = 299.0
    qtbot.keyClick(window, Qt.Key.Key_Right, CONTROL)
    assert playback.asked[-1] == 300.0
    qtbot.keyClick(window, Qt.Key.Key_L, CONTROL)
    assert playback.loop
    qtbot.mouseClick(window.transport.loop, Qt.MouseButton.LeftButton)
    assert not playback.loop
    qtbot.keyClick(window, Qt.Key.Key_P, CONTROL)
    assert playback.paused
    window.transport.speed.activated.emit(SPEEDS.index(0.25))
    assert playback.speed == 0.25


def test_a_live_source_ignores_the_keys(qtbot: QtBot) -> None:
    window = MainWindow(FakeFactory(template=FakeSession()), STIMULI)
    qtbot.addWidget(window)
    window.show()
    run_demo(window, qtbot, 1.0)
    for key in (Qt.Key.Key_L, Qt.Key.Key_P, Qt.Key.Key_Left):
        qtbot.keyClick(window, key, CONTROL)
    assert not window.transport.isVisible()
    window.end()
