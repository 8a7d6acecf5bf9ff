"""The stored adapters: a list to compare, and what can be done with the chosen one.

Owns the list and its buttons; the model acts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import formatting
from app.calibration.stored import NOT_REACHED
from app.view_models.calibration.adapters import AdaptersModel
from app.views.common.confirm import confirm
from app.views.common.painted import Button, set_text, set_tone, text_label

if TYPE_CHECKING:
    from app.calibration.stored import AdapterRecord

COLUMNS = (
    "",
    "Adapter",
    "Subject",
    "Made",
    "Method",
    "Accuracy",
    "Without",
    "Chance",
    "p",
    "Minutes",
)
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
FILES = "Adapters (*.zip);;All files (*)"


class AdaptersView(QWidget):
    """A row an adapter; the active one of each subject is marked."""

    def __init__(self, model: AdaptersModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = model
        self._revision = -1
        self.tree = QTreeWidget()
        self.tree.setRootIsDecorated(False)
        self.tree.setUniformRowHeights(True)
        self.tree.setHeaderLabels(list(COLUMNS))
        self.tree.setAccessibleName("Stored adapters")
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.tree.itemSelectionChanged.connect(self._refresh_buttons)
        self.tree.itemDoubleClicked.connect(lambda *_: self._activate())
        self.empty = text_label(
            "No adapter is stored yet: calibrate, and save what was found.", "muted"
        )
        self.note = text_label()
        self.note.setWordWrap(True)
        self.in_use = text_label("", "muted")
        self._build()
        self._refresh_buttons()

    @property
    def chosen(self) -> AdapterRecord | None:
        """The selected row."""
        items = self.tree.selectedItems()
        return self.model.record(items[0].text(1)) if items else None

    def refresh(self) -> None:
        """Show the list when it changed, and what decodes now."""
        self.model.poll()
        if self._revision != self.model.revision:
            self._revision = self.model.revision
            self._fill()
        words = self.model.error or ("One moment…" if self.model.busy else self.model.note)
        set_text(self.note, formatting.sentence(words))
        set_tone(self.note, "bad" if self.model.error else "good")
        self.note.setVisible(bool(words))
        set_text(self.in_use, self._use_words())

    def ask(self, title: str, question: str, *, do: str, keep: str) -> bool:
        """Ask the person; tests answer here."""
        return confirm(self, title, question, do=do, keep=keep)

    def _use_words(self) -> str:
        if self.model.loading is not None:
            return f"Loading {Path(self.model.loading).name}…"
        if self.model.in_use is None:
            return ""
        return f"The running session decodes with {Path(self.model.in_use).name}."

    def _fill(self) -> None:
        before = self.chosen
        self.tree.clear()
        for record in self.model.records:
            item = QTreeWidgetItem(_cells(record))
            for column in range(5, len(COLUMNS)):
                item.setTextAlignment(column, _RIGHT)
                self.tree.headerItem().setTextAlignment(column, _RIGHT)
            item.setToolTip(1, str(record.folder))
            item.setToolTip(4, record.problem)
            self.tree.addTopLevelItem(item)
            if before is not None and record.adapter_id == before.adapter_id:
                item.setSelected(True)
        self.empty.setVisible(not self.model.records)
        self.tree.setVisible(bool(self.model.records))
        self._refresh_buttons()

    def _refresh_buttons(self) -> None:
        chosen = self.chosen
        for button in (self.activate, self.roll_back, self.export, self.delete, self.delete_all):
            button.setEnabled(chosen is not None)

    def _activate(self) -> None:
        record = self.chosen
        if record is not None:
            self.model.activate(record.adapter_id)
            self.refresh()

    def _deactivate(self) -> None:
        self.model.deactivate()
        self.refresh()

    def _roll_back(self) -> None:
        record = self.chosen
        if record is not None:
            self.model.roll_back(record.subject)
            self.refresh()

    def _export(self) -> None:
        record = self.chosen
        if record is None:
            return
        name, _ = QFileDialog.getSaveFileName(self, "Export", f"{record.adapter_id}.zip", FILES)
        if name:
            self.model.export(record.adapter_id, Path(name))
            self.refresh()

    def _import(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Import", "", FILES)
        if name:
            self.model.import_(Path(name))
            self.refresh()

    def _delete(self) -> None:
        record = self.chosen
        if record is not None and self.ask(
            "Delete the adapter?",
            f"{record.adapter_id} of {record.subject} is deleted for good. {NOT_REACHED}",
            do="Delete",
            keep="Keep",
        ):
            self.model.delete(record.adapter_id)
            self.refresh()

    def _delete_all(self) -> None:
        record = self.chosen
        if record is None:
            return
        n = sum(each.subject == record.subject for each in self.model.records)
        if self.ask(
            "Delete everything of this subject?",
            f"{formatting.count(n, 'adapter')} of {record.subject}, with all that the store holds "
            f"of this person, are deleted for good. {NOT_REACHED}",
            do="Delete everything",
            keep="Keep",
        ):
            self.model.delete_subject(record.subject)
            self.refresh()

    def _build(self) -> None:
        self.activate = Button("Use", tip="Decode with it, now and in the next sessions")
        self.none = Button("Use none", tip="Decode without an adapter")
        self.roll_back = Button("Roll back", tip="Back to what this subject used before")
        self.export = Button("Export…")
        self.import_button = Button("Import…")
        self.delete = Button("Delete…")
        self.delete_all = Button("Delete subject…", tip="Delete everything of this person")
        for button, act in (
            (self.activate, self._activate),
            (self.none, self._deactivate),
            (self.roll_back, self._roll_back),
            (self.export, self._export),
            (self.import_button, self._import),
            (self.delete, self._delete),
            (self.delete_all, self._delete_all),
        ):
            button.clicked.connect(act)
        row = QHBoxLayout()
        for button in (self.activate, self.none, self.roll_back):
            row.addWidget(button)
        row.addStretch(1)
        for button in (self.import_button, self.export, self.delete, self.delete_all):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 18, 18, 14)
        column.setSpacing(10)
        column.addWidget(self.empty)
        column.addWidget(self.tree, 1)
        column.addWidget(self.in_use)
        column.addWidget(self.note)
        column.addLayout(row)


def _cells(record: AdapterRecord) -> list[str]:
    return [
        "●" if record.active else "",
        record.adapter_id,
        record.subject,
        record.created[:16].replace("T", " "),
        record.method or "cannot be read",
        formatting.percent(record.accuracy),
        formatting.percent(record.without),
        formatting.percent(record.chance),
        formatting.DASH
        if record.p_value is None
        else formatting.p_value(record.p_value).removeprefix("p ").removeprefix("= "),
        f"{record.minutes:.1f}",
    ]
