"""How the window was left: its place, its parts' sizes, preset and source, the sessions seen.

Owns the keys in QSettings; nothing else is kept there. What a person has chosen is in
`Preferences`, what a session is set to in `configs`.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QPoint, QSettings
from PySide6.QtWidgets import QMainWindow

from app.view_models.sources.last_source import source_of, source_text
from app.view_models.sources.model import SourceChoice
from app.views.session.work_page import WorkPage


class WindowState:
    """Reads and writes one window's state; without a store it does neither."""

    def __init__(self, store: QSettings | None) -> None:
        self._store = store

    @property
    def folders(self) -> list[Path]:
        """Session folders that were seen lately."""
        stored = self._value("recent")
        names = [stored] if isinstance(stored, str) else stored if isinstance(stored, list) else []
        return [Path(str(name)) for name in names]

    @property
    def preset(self) -> str:
        """The preset that was chosen last; empty where none is known."""
        return str(self._value("preset") or "")

    @property
    def source(self) -> SourceChoice | None:
        """The source that was chosen last; None where none is known."""
        return source_of(str(self._value("source") or ""))

    def save_choices(self, preset: str, source: SourceChoice) -> None:
        """Keep what was chosen."""
        if self._store is not None:
            self._store.setValue("preset", preset)
            self._store.setValue("source", source_text(source))

    def restore(self, window: QMainWindow, work: WorkPage) -> None:
        """Put the window where it was, but never out of sight."""
        geometry = self._value("geometry")
        if isinstance(geometry, QByteArray):
            window.restoreGeometry(geometry)
        # Before the sizes: an opened view takes its usual share, which is not what was left.
        tab = self._value("layout/tab")
        if isinstance(tab, str | int) and str(tab).isdecimal():
            work.signals.open(int(tab))
        for name in work.splitters:
            state = self._value(f"layout/{name}")
            if isinstance(state, QByteArray):
                work.restore(name, state)
        screen = window.screen()
        if screen is not None and not screen.availableGeometry().intersects(window.frameGeometry()):
            window.move(screen.availableGeometry().topLeft() + QPoint(20, 20))

    def save(self, window: QMainWindow, work: WorkPage, folders: list[Path]) -> None:
        """Keep how the window is left."""
        if self._store is None:
            return
        self._store.setValue("recent", [str(path) for path in folders])
        self._store.setValue("geometry", window.saveGeometry())
        for name, splitter in work.splitters.items():
            self._store.setValue(f"layout/{name}", splitter.saveState())
        tab = work.signals.current
        self._store.setValue("layout/tab", "" if tab is None else tab)

    def _value(self, name: str) -> object:
        return None if self._store is None else self._store.value(name)
