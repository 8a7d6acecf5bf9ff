"""Views that are plugged in, and the menu and keys that lead to them and to everything else."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.views.common.painted import Button
from app.views.common.theme import LIGHT
from app.views.window.keys_dialog import KeysDialog
from app.views.window.main_window import MainWindow
from app.views.window.shortcuts import SHORTCUTS, Keyboard
from app.views.window.tools import Tool, ToolContext, ToolView
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, run_demo


class Probe(ToolView):
    """A tool that counts what it is told."""

    def __init__(self, context: ToolContext) -> None:
        super().__init__(context.parent)
        self.context = context
        self.button = Button("Go", icon_name="play")
        self.button.setParent(self)
        self.n_refreshed = 0
        self.is_shut = False
        self.themes: list[str] = []

    def refresh(self) -> None:
        self.n_refreshed += 1

    def set_theme(self, theme) -> None:  # type: ignore[no-untyped-def]
        super().set_theme(theme)
        self.themes.append(theme.name)

    def shut_down(self) -> None:
        self.is_shut = True


MADE: list[Probe] = []


def make(context: ToolContext) -> Probe:
    MADE.append(Probe(context))
    return MADE[-1]


PROBE = Tool("Probe…", "F6", "Try the place for tools", f"{__name__}:make")


def test_a_tool_is_in_the_menu_has_its_key_and_follows_the_window(qtbot: QtBot) -> None:
    MADE.clear()
    window = MainWindow(FakeFactory(template=FakeSession()), STIMULI, tools=(PROBE,))
    qtbot.addWidget(window)
    window.show()
    entries = {action.text(): action for action in window.top_bar.menu.menu().actions()}
    assert "Probe…\tF6" in entries
    assert not MADE, "made before it was asked for"
    qtbot.keyClick(window, Qt.Key.Key_F6)
    entries["Probe…\tF6"].trigger()
    (probe,) = MADE
    assert probe.isVisible()
    assert probe.isWindow()
    assert probe.context.session is window.session
    run_demo(window, qtbot, 2.0)
    assert probe.n_refreshed
    window.toggle_theme()
    assert probe.themes == ["dark", LIGHT.name]
    seen = probe.n_refreshed
    probe.close()
    window._show_texts()
    assert probe.n_refreshed == seen, "a hidden tool is left alone"
    window.end()
    assert probe.is_shut


def test_the_menu_leads_to_what_has_no_button(qtbot: QtBot) -> None:
    window = MainWindow(FakeFactory(template=FakeSession()), STIMULI, tools=())
    qtbot.addWidget(window)
    window.show()
    entries = {
        action.text().split("\t")[0]: action
        for action in window.top_bar.menu.menu().actions()
        if action.text()
    }
    assert set(entries) == {shortcut.about for shortcut in SHORTCUTS if shortcut.menu}
    entries["Stimulus window"].trigger()
    assert window.stimuli.isVisible()
    entries["Light or dark"].trigger()
    assert window.theme is LIGHT
    entries["Quit"].trigger()
    assert not window.isVisible()
    window.end()


def test_a_key_without_an_action_and_the_other_way_round_are_refused() -> None:
    actions = {shortcut.action: lambda: None for shortcut in SHORTCUTS}
    Keyboard(actions)
    with pytest.raises(ValueError, match="toggle"):
        Keyboard({name: call for name, call in actions.items() if name != "toggle"})
    with pytest.raises(ValueError, match="fly"):
        Keyboard({**actions, "fly": lambda: None})


def test_no_key_stands_twice() -> None:
    keys = [key for shortcut in SHORTCUTS for key in shortcut.keys]
    assert len(keys) == len(set(keys))


def test_the_list_of_keys_names_each(qtbot: QtBot) -> None:
    dialog = KeysDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    QApplication.processEvents()
    said = {about for _, about in dialog.rows}
    assert {s.about for s in SHORTCUTS if not s.action[-1].isdecimal()} <= said
    assert not dialog.grab().isNull()
