"""The menu at the right of the top bar: everything that has no button of its own, and the tools.

Owns the entries; what they do is the keyboard's table of actions.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from app.views.window.shortcuts import SHORTCUTS, Keyboard
from app.views.window.tools import Tool


def build_menu(parent: QWidget, keyboard: Keyboard, tools: Sequence[Tool]) -> QMenu:
    """Return the menu: actions by group, the tools before the window's own."""
    menu = QMenu(parent)
    group = ""
    for shortcut in (entry for entry in SHORTCUTS if entry.menu):
        if group and shortcut.group != group:
            menu.addSeparator()
            if shortcut.group == "Window":
                for tool in tools:
                    entry = _add(menu, keyboard, tool.title, tool.key, f"tool:{tool.title}")
                    entry.setToolTip(tool.about)
                if tools:
                    menu.addSeparator()
        group = shortcut.group
        _add(menu, keyboard, shortcut.about, shortcut.keys[0], shortcut.action)
    return menu


def _add(menu: QMenu, keyboard: Keyboard, title: str, key: str, action: str) -> QAction:
    # The key is shown as text: a shortcut of Qt's would act twice, and inside of text fields.
    entry = menu.addAction(f"{title}\t{key}" if key else title)
    entry.triggered.connect(lambda _=False: keyboard.call(action))
    return entry
