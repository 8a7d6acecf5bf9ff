"""The page with the warning about epilepsy and migraine, which comes before any flicker.

Owns the widgets: nothing is chosen beforehand, the button that begins is off until both questions
were answered, and Return presses nothing.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.view_models.attend.warning import (
    ACCEPT,
    REFUSE,
    TITLE,
    UNDERSTOOD,
    WARNING,
    WarningModel,
)
from app.views.common.painted import Button, Check
from app.views.common.theme import text_font


class WarningPage(QWidget):
    """Asks; `answered` carries the proof, `refused` that nothing may flicker."""

    answered = Signal(object)
    refused = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = WarningModel()
        title = QLabel(TITLE)
        title.setFont(text_font(22, bold=True))
        words = QLabel(WARNING)
        words.setWordWrap(True)
        self.refuse, self.accept = Check(REFUSE), Check(ACCEPT)
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        for button in (self.refuse, self.accept):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            self._group.addButton(button)
        self.understood = Check(UNDERSTOOD)
        self.begin = Button("Begin", kind="primary")
        self.leave = Button("Do not begin")
        for each in (self.begin, self.leave):
            each.setAutoDefault(False)
            each.setDefault(False)
        self._group.buttonToggled.connect(self._take)
        self.understood.toggled.connect(self._take)
        self.begin.clicked.connect(self._begin)
        self.leave.clicked.connect(self.refused)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(self.leave)
        row.addWidget(self.begin)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(40, 32, 40, 32)
        layout.setSpacing(14)
        for widget in (title, words, self.refuse, self.accept, self.understood):
            layout.addWidget(widget)
        layout.addStretch()
        layout.addLayout(row)
        self._take()

    def reset(self) -> None:
        """Ask anew: an answer holds for one session."""
        self.model = WarningModel()
        self._group.setExclusive(False)
        self.refuse.setChecked(False)
        self.accept.setChecked(False)
        self._group.setExclusive(True)
        self.understood.setChecked(False)
        self._take()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return presses nothing here; Esc refuses."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            return
        if event.key() == Qt.Key.Key_Escape:
            self.refused.emit()
            return
        super().keyPressEvent(event)

    def _take(self) -> None:
        chosen = (self.refuse.isChecked(), self.accept.isChecked())
        self.model.accepts = {(True, False): False, (False, True): True}.get(chosen)
        self.model.has_understood = self.understood.isChecked()
        self.begin.setEnabled(self.model.can_begin)

    def _begin(self) -> None:
        if self.model.can_begin:
            self.answered.emit(self.model.accept())
