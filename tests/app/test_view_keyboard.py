"""Everything in the window can be reached by the Tab key."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QLineEdit,
    QListWidget,
    QPlainTextEdit,
    QPushButton,
    QSlider,
    QTreeWidget,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.runtime.playback import PlaybackClock
from app.view_models.settings.form import SettingsForm
from app.view_models.settings.preferences import PreferencesStore
from app.view_models.sources.boards import BoardsModel
from app.views.signals.signal_panel import TABS
from app.views.sources.boards_dialog import BoardsDialog
from app.views.window.main_window import MainWindow
from app.views.window.settings_dialog import SettingsDialog
from configs import SessionConfig
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_view_boards import FakeBoards
from tests.app.test_views import STIMULI, run_demo

CONTROLS = (
    *(QPushButton, QComboBox, QLineEdit, QPlainTextEdit),
    *(QCheckBox, QListWidget, QSlider, QTreeWidget),
)


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
            # A list that is typed into has a line of its own; either may be named.
            for widget in (focused.parentWidget(), focused):
                if isinstance(widget, QComboBox):
                    reached |= {widget, *widget.findChildren(QLineEdit)}
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


def test_tab_reaches_every_control_of_the_settings(qtbot: QtBot) -> None:
    config = SessionConfig()
    dialog = SettingsDialog(SettingsForm(config, config), PreferencesStore(None), preset="x")
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(dialog.isActiveWindow)
    for section in ("Window", "Decoder"):
        dialog.open_section(section)
        dialog.places.setFocus()
        assert len(_controls(dialog)) > 6
        assert not _controls(dialog) - _reached(dialog, qtbot), section


def test_tab_reaches_every_control_of_the_boards(qtbot: QtBot) -> None:
    model = BoardsModel(FakeBoards())
    dialog = BoardsDialog(model)
    qtbot.addWidget(dialog)
    dialog.open_form()
    qtbot.waitUntil(lambda: dialog.board.isEnabled() and dialog.board.count() > 1)
    model.choose("ganglion")
    dialog.tick()
    qtbot.waitUntil(dialog.isActiveWindow)
    dialog.board.setFocus()
    assert len(_controls(dialog)) > 7
    left = _controls(dialog) - _reached(dialog, qtbot)
    assert not [widget.accessibleName() for widget in left]
    dialog.close()
    model.close()
