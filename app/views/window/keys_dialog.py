"""The list of keys, by what they are for.

Owns the dialog; the table is `shortcuts`'.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from app.views.common.painted import text_label
from app.views.window.shortcuts import SHORTCUTS
from app.views.window.tools import TOOLS

COLUMNS = 2


class KeysDialog(QDialog):
    """Every shortcut of the window; Esc closes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("All keys")
        self.rows: list[tuple[str, str]] = []
        groups: dict[str, list[tuple[str, str]]] = {}
        for shortcut in SHORTCUTS:
            if not shortcut.action[-1].isdecimal():
                groups.setdefault(shortcut.group, []).append((shortcut.keys[0], shortcut.about))
        groups["Session"].append(("1 … 8", "Stamp the marker of that number"))
        if TOOLS:
            groups["Tools"] = [(tool.key, tool.title.rstrip("…")) for tool in TOOLS if tool.key]
        columns: list[QVBoxLayout] = [QVBoxLayout() for _ in range(COLUMNS)]
        filled = [0] * COLUMNS
        for name, rows in groups.items():
            at = filled.index(min(filled))
            filled[at] += len(rows) + 2
            columns[at].addLayout(self._group(name, rows))
        row = QHBoxLayout(self)
        row.setContentsMargins(22, 18, 22, 18)
        row.setSpacing(40)
        for column in columns:
            column.setSpacing(16)
            column.addStretch(1)
            row.addLayout(column)

    def _group(self, name: str, rows: list[tuple[str, str]]) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        grid.setVerticalSpacing(4)
        grid.addWidget(text_label(name, "title"), 0, 0, 1, 2)
        for at, (key, about) in enumerate(rows, start=1):
            shown = QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) or key
            grid.addWidget(text_label(shown, "caption"), at, 0, Qt.AlignmentFlag.AlignLeft)
            grid.addWidget(text_label(about), at, 1)
            self.rows.append((shown, about))
        grid.setColumnStretch(1, 1)
        grid.setColumnMinimumWidth(0, 88)
        return grid
