"""Windows that the menu opens beside the main one: the place to plug a view in.

Owns the list and how a tool is opened. To add one, write a module under `app/views` with a function
`(ToolContext) -> ToolView`, and an entry in `TOOLS`, such as one called "Calibrate…" with key "F6"
that opens "app.views.calibration.view:make": it stands in the menu, has its key and follows the
theme. It is imported when it is first opened, so the window starts as fast as without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from app.session_factory import SessionFactory
from app.view_models.session.model import SessionModel
from app.view_models.session.pictures import PictureLoader
from app.view_models.settings.model import SettingsModel
from app.view_models.sources.model import SourcesModel
from app.views.common.painted import Button, Painted
from app.views.common.theme import Theme
from app.views.stimuli.window import StimulusWindow


class ToolView(QWidget):
    """What a tool shows: a window of its own, or a dialog's content."""

    def refresh(self) -> None:
        """Show what is new; called some times a second while it is in view."""

    def set_theme(self, theme: Theme) -> None:
        """Take another theme."""
        for painted in self.findChildren(Painted):
            painted.set_theme(theme)
        for button in self.findChildren(Button):
            button.set_theme(theme)

    def shut_down(self) -> None:
        """End whatever runs in the background: the window closes for good."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may use of the window.

    `session.adopt(port)` lets the main window watch a session that the tool has started, with its
    traces and signal views. `stimuli` is the window for the person with the headset.
    """

    parent: QWidget
    factory: SessionFactory
    session: SessionModel
    settings: SettingsModel
    sources: SourcesModel
    stimuli: StimulusWindow
    load_picture: PictureLoader
    show_error: Callable[[str], None]
    sessions_folder: Callable[[], Path]


@dataclass(frozen=True, slots=True)
class Tool:
    """One entry of the menu; `opens` is `module:function`, `key` as Qt writes it (`F6`)."""

    title: str
    key: str
    about: str
    opens: str

    def make(self, context: ToolContext) -> ToolView:
        """Import the module and make the view."""
        module, _, function = self.opens.partition(":")
        made: ToolView = getattr(importlib.import_module(module), function)(context)
        return made


class ToolWindows:
    """The tools that are open."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._opened: dict[str, ToolView] = {}

    def open(self, tool: Tool, theme: Theme) -> None:
        """Open a tool's window, the same one when it is open already."""
        if tool.title not in self._opened:
            view = tool.make(self._context)
            view.setWindowFlag(Qt.WindowType.Window)
            view.setWindowTitle(f"Phosphene – {tool.title.rstrip('…')}")
            view.set_theme(theme)
            self._opened[tool.title] = view
        view = self._opened[tool.title]
        view.show()
        view.raise_()
        view.activateWindow()

    def refresh(self) -> None:
        """Let those that are in view show what is new."""
        for view in self._opened.values():
            if view.isVisible():
                view.refresh()

    def set_theme(self, theme: Theme) -> None:
        """Give all of them another theme."""
        for view in self._opened.values():
            view.set_theme(theme)

    def close(self) -> None:
        """Close all of them."""
        for view in self._opened.values():
            view.close()

    def shut_down(self) -> None:
        """End what they do in the background."""
        for view in self._opened.values():
            view.shut_down()


TOOLS: tuple[Tool, ...] = (
    Tool(
        "Calibrate…",
        "F6",
        "Fit the decoder to the person with the headset; the stored adapters",
        "app.views.calibration.view:make",
    ),
    Tool(
        "Attend…",
        "F7",
        "Which of many flickering pictures is looked at, after a warning; compose",
        "app.views.attend.tool:make",
    ),
    Tool(
        "Find a server…",
        "",
        "Look on the local network for a computer that decodes for several headsets",
        "app.views.window.servers:make",
    ),
)
"""Tools in the order of the menu."""
