"""What the keyboard does: one table for the keys, the menu and the list that F1 shows.

Owns the table and the way from a key to an action. The window says what each action does. Keys are
taken from key presses that no focused part wanted, not from Qt's shortcuts, which would take the
space bar and the digits away from text that is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QKeySequence


@dataclass(frozen=True, slots=True)
class Shortcut:
    """One action; `keys` as Qt writes them, the first is shown; `menu` puts it into the menu."""

    action: str
    keys: tuple[str, ...]
    about: str
    group: str
    menu: bool = False


SHORTCUTS: tuple[Shortcut, ...] = (
    Shortcut("toggle", ("Space",), "Start or stop", "Session"),
    Shortcut("record", ("R",), "Record or stop recording", "Session"),
    Shortcut("mark", ("M",), "Stamp the marker M", "Session"),
    *(
        Shortcut(f"mark{n}", (str(n),), f"Stamp the marker {n}", "Session")
        for n in (1, 2, 3, 4, 5, 6, 7, 8)
    ),
    Shortcut("sources", ("F2",), "Choose a source", "Sources", menu=True),
    Shortcut("boards", ("F4",), "Connect a board…", "Sources", menu=True),
    Shortcut("open", ("Ctrl+O",), "Open a recording…", "Sources", menu=True),
    Shortcut("search", ("F5",), "Search for streams", "Sources"),
    Shortcut("play", ("Ctrl+P",), "Pause a replay, or go on", "Replay"),
    Shortcut("seek_back", ("Ctrl+Left",), "10 s back", "Replay"),
    Shortcut("seek_on", ("Ctrl+Right",), "10 s on", "Replay"),
    Shortcut("loop", ("Ctrl+L",), "Begin again at the end, or not", "Replay"),
    Shortcut("larger", ("+", "="), "Larger traces", "Traces"),
    Shortcut("smaller", ("-",), "Smaller traces", "Traces"),
    Shortcut("pause", ("P",), "Pause the traces, or go on", "Traces"),
    Shortcut("back", ("Left",), "Look back while paused", "Traces"),
    Shortcut("forth", ("Right",), "Look forward while paused", "Traces"),
    Shortcut("page_up", ("PgUp",), "Channels before", "Traces"),
    Shortcut("page_down", ("PgDown",), "Channels after", "Traces"),
    Shortcut("views", ("F3",), "Next signal view", "Views", menu=True),
    Shortcut("control", ("C",), "Noise control beside the picture", "Pictures"),
    Shortcut(
        "align", ("A",), "Follow this person without labels, or freeze", "Pictures", menu=True
    ),
    Shortcut("save", ("Ctrl+S",), "Save the picture…", "Pictures"),
    Shortcut("copy", ("Ctrl+C",), "Copy the picture", "Pictures"),
    Shortcut("export", ("Ctrl+E",), "Export the pictures…", "Pictures", menu=True),
    Shortcut("report", ("Ctrl+R",), "Open the report of the finished session", "Session"),
    Shortcut("settings", ("Ctrl+,",), "Settings…", "Window", menu=True),
    Shortcut("stimuli", ("F11",), "Stimulus window", "Window", menu=True),
    Shortcut(
        "stage", ("Ctrl+Shift+F",), "The picture for an audience, full screen", "Window", menu=True
    ),
    Shortcut("theme", ("F9",), "Light or dark", "Window", menu=True),
    Shortcut("text_larger", ("Ctrl++", "Ctrl+="), "Larger text", "Window"),
    Shortcut("text_smaller", ("Ctrl+-",), "Smaller text", "Window"),
    Shortcut("menu", ("F10",), "Open the menu", "Window"),
    Shortcut("keys", ("F1",), "All keys", "Window", menu=True),
    Shortcut("dismiss", ("Esc",), "Close the banner", "Window"),
    Shortcut("quit", ("Ctrl+Q",), "Quit", "Window", menu=True),
)


class Keyboard:
    """Calls actions by key; refuses, when it is made, an action that the table does not know.

    Raises
    ------
    ValueError
        `actions` are not those of the table.
    """

    def __init__(self, actions: Mapping[str, Callable[[], object]]) -> None:
        known = {shortcut.action for shortcut in SHORTCUTS}
        if set(actions) != known:
            odd = sorted(set(actions) ^ known)
            raise ValueError(f"The actions {odd} stand on one side only: mend the table.")
        self._actions = dict(actions)
        self._by_key = {
            _number(key): shortcut.action for shortcut in SHORTCUTS for key in shortcut.keys
        }

    def act(self, event: QKeyEvent) -> bool:
        """Do what the key stands for; return whether it stands for anything."""
        action = self._by_key.get(combination(event))
        if action is None:
            return False
        self._actions[action]()
        return True

    def call(self, action: str) -> None:
        """Do `action`."""
        self._actions[action]()

    def add(self, key: str, action: str, call: Callable[[], object]) -> None:
        """Give a tool its key; one that is taken stays with whom it was given to first."""
        self._actions.setdefault(action, call)
        if key:
            self._by_key.setdefault(_number(key), action)


def _number(key: str) -> int:
    """Return a key as Qt writes it, as one number; without Shift, as `combination` gives it."""
    sequence: Any = QKeySequence(key)  # PySide's types leave out that it can be indexed
    return int(sequence[0].toCombined()) & ~int(Qt.KeyboardModifier.ShiftModifier.value)


def combination(event: QKeyEvent) -> int:
    """Return key and Ctrl as one number; Shift only chooses the sign on the key."""
    control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
    return int(event.key()) | int(control.value)
