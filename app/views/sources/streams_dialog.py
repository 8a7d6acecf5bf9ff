"""Asks which of a recording's streams is meant.

Owns the list only; what fits, and what becomes of the answer, is the models'.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import formatting
from app.source_options import ChoiceNeededError, RecordedStream
from app.views.common.painted import plain_tip, text_label
from configs.plain import plain

_NUMBERS = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_COLUMNS = ("Name", "Type", "source_id", "Channels", "Rate", "Samples")


class StreamsDialog(QDialog):
    """Lists the streams that fit; `key` is the chosen one's."""

    def __init__(self, question: ChoiceNeededError, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        what = "marker stream" if question.is_markers else "EEG"
        self.setWindowTitle(f"Which {what} is meant?")
        self.setMinimumWidth(760)
        n_streams = len(question.streams)
        kind = "marker streams with events" if question.is_markers else "streams that may be EEG"
        text = text_label(
            f"The recording holds {n_streams} {kind}. Choose the one to use.", "muted"
        )
        text.setWordWrap(True)
        self.list = QTreeWidget()
        self.list.setHeaderLabels(list(_COLUMNS))
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setAccessibleName(f"Streams of the recording that may be the {what}")
        for column in (3, 4, 5):
            self.list.headerItem().setTextAlignment(column, _NUMBERS)
        for stream in question.streams:
            item = QTreeWidgetItem(_cells(stream))
            item.setData(0, Qt.ItemDataRole.UserRole, stream.key)
            for column in (0, 2):
                item.setToolTip(column, plain_tip(item.text(column)))
            for column in (3, 4, 5):
                item.setTextAlignment(column, _NUMBERS)
            self.list.addTopLevelItem(item)
        header = self.list.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for column in (0, 2):  # what others wrote, of any length
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        header.setStretchLastSection(False)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        self._open = self.buttons.button(QDialogButtonBox.StandardButton.Open)
        self._open.setProperty("kind", "primary")
        self._open.setEnabled(False)  # None is taken merely because it stands first.
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.list.itemSelectionChanged.connect(lambda: self._open.setEnabled(bool(self.key)))
        self.list.itemActivated.connect(lambda *_: self.accept())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addWidget(text)
        layout.addWidget(self.list)
        layout.addWidget(self.buttons)

    @property
    def key(self) -> str:
        """Names the chosen stream; empty while none is."""
        items = self.list.selectedItems()
        return str(items[0].data(0, Qt.ItemDataRole.UserRole)) if items else ""


def _cells(stream: RecordedStream) -> list[str]:
    return [
        plain(stream.name) or "(no name)",
        plain(stream.type),
        plain(stream.source_id) or "none",
        str(stream.n_channels),
        formatting.hertz(stream.sfreq) if stream.sfreq else "irregular",
        f"{stream.n_samples:,}".replace(",", "\u202f"),
    ]
