"""Everything in the window can be reached by the Tab key."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.runtime.playback import PlaybackClock
from app.views.main_window import MainWindow
from app.views.signal_panel import TABS
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, run_demo

CONTROLS = (QPushButton, QComboBox, QLineEdit, QPlainTextEdit)


def _controls(window: QWidget) -> set[QWidget]:
    """Controls in view that can be used."""
    return {
        widget
        for widget in window.findChildren(QWidget)
        if isinstance(widget, CONTROLS) and widget.isVisible() and widget.isEnabled()
    }


def _reached(window: QWidget, qtbot: QtBot) -> set[QWidget]:
    """Widgets that got the keyboard while Tab went around once and more."""
    reached: set[QWidget] = set()
    for _ in range(80):
        target = QApplication.focusWidget() or window
        qtbot.keyClick(target, Qt.Key.Key_Tab)
        focused = QApplication.focusWidget()
        if focused is not None:
            reached.add(focused)
    return reached


@pytest.mark.parametrize("tab", [None, TABS.index("Averages"), TABS.index("Notes")])
def test_tab_reaches_every_control(qtbot: QtBot, tab: int | None) -> None:
    window = MainWindow(FakeFactory(template=FakeSession()), STIMULI)
    qtbot.addWidget(window)
    window.show()
    qtbot.waitUntil(window.isActiveWindow)
    assert not _controls(window) - _reached(window, qtbot), "the first page"
    session = run_demo(window, qtbot, 6.0)
    session.playback = PlaybackClock()
    window.signals.open(tab)
    window._show_texts()
    QApplication.processEvents()
    assert len(_controls(window)) > 15
    assert not _controls(window) - _reached(window, qtbot)
    window.close()
    window.shut_down()
