"""What each action of the keyboard and the menu does to the main window.

Owns the table from an action's name to the call; keys and words stand in `shortcuts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.views.session.transport_bar import STEP

if TYPE_CHECKING:
    from app.views.window.main_window import MainWindow

Actions = dict[str, Callable[[], object]]


def actions_of(window: MainWindow) -> Actions:
    """Return every action of `window`."""
    return {
        **_session_actions(window),
        **_trace_actions(window),
        "views": window.signals.step,
        "control": lambda: window.set_control(not window.settings.control),
        "align": window.session.toggle_alignment,
        "save": window.pictures.save,
        "copy": window.pictures.copy,
        "export": window.pictures.export,
        "report": window.banner.open_report,
        "settings": window.show_settings,
        "stimuli": window.show_stimuli,
        "theme": window.toggle_theme,
        "text_larger": lambda: window.scale_text(1),
        "text_smaller": lambda: window.scale_text(-1),
        "menu": window.top_bar.menu.showMenu,
        "keys": window.show_keys,
        "dismiss": window.dismiss,
        "quit": window.close,
    }


def _session_actions(window: MainWindow) -> Actions:
    actions: Actions = {
        "toggle": window.toggle,
        "record": window.toggle_recording,
        "mark": lambda: window.session.add_marker("M"),
        "sources": window.show_sources,
        "boards": window.show_boards,
        "open": window.sources_view.open_recording,
        "search": window.sources_view.search,
        "play": window.transport.toggle,
        "seek_back": lambda: window.transport.step(-STEP),
        "seek_on": lambda: window.transport.step(STEP),
        "loop": window.transport.toggle_loop,
    }
    for number in range(1, 9):
        actions[f"mark{number}"] = _marker(window, str(number))
    return actions


def _marker(window: MainWindow, label: str) -> Callable[[], object]:
    return lambda: window.session.add_marker(label)


def _trace_actions(window: MainWindow) -> Actions:
    panel = window.trace_panel
    return {
        "larger": lambda: panel.zoom(1),
        "smaller": lambda: panel.zoom(-1),
        "pause": panel.toggle_pause,
        "page_up": lambda: panel.turn(-1),
        "page_down": lambda: panel.turn(1),
        "back": lambda: panel.look_back(0.1),
        "forth": lambda: panel.look_back(-0.1),
    }
