"""What decodes now: the person's adapter, how far it has drifted, and what can be done about it.

Owns its two lines; hidden while the decoder of everybody runs unaligned.
"""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app import formatting
from app.port import AdaptCommand, Phase, Snapshot
from app.views.common.painted import Button, ElidedLabel, set_tone

HIGH_DRIFT = 1.0
"""Drift from which the words are a warning: as far from the calibration as its own spread."""


class AdapterBar(QFrame):
    """The adapter's name, its drift, freeze and reset."""

    asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frozen = False
        self._concerned = False
        self.words = ElidedLabel("caption")
        self.alignment = ElidedLabel("small")
        self.freeze = Button("Freeze", kind="mini", tip="Stop the alignment where it stands")
        self.reset = Button("Reset", kind="mini", tip="Begin the alignment at the calibration")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        lines = QVBoxLayout()  # one line would cut the drift off behind a long name
        lines.setSpacing(0)
        lines.addWidget(self.words)
        lines.addWidget(self.alignment)
        row.addLayout(lines, 1)
        row.addWidget(self.freeze)
        row.addWidget(self.reset)
        self.freeze.clicked.connect(lambda: self._ask("resume" if self._frozen else "freeze"))
        self.reset.clicked.connect(lambda: self._ask("reset"))
        self.hide()

    def refresh(self, snapshot: Snapshot) -> None:
        """Show what a snapshot says of the adapter."""
        parts = formatting.adapter(snapshot)
        # Everybody's decoder starts without an adapter and frozen: no news, and the pictures need
        # the room. Once there was something to say the row stays, so that it can be taken back.
        has_news = bool(snapshot.adapter or snapshot.adapter_loading)
        self._concerned |= has_news or snapshot.alignment == "running"
        self.setVisible(any(parts) and self._concerned)
        which, how = parts
        self.words.set_whole(which)
        self.alignment.set_whole(how)
        self.alignment.setVisible(bool(how))
        self.words.setToolTip(snapshot.adapter or "")
        drift = snapshot.alignment_drift
        set_tone(self.alignment, "warn" if drift is not None and drift > HIGH_DRIFT else "")
        self._frozen = snapshot.alignment == "frozen"
        self.freeze.setText("Resume" if self._frozen else "Freeze")
        aligned = bool(snapshot.alignment)
        for button in (self.freeze, self.reset):
            button.setVisible(aligned)
            button.setEnabled(snapshot.phase is Phase.RUNNING)

    def forget(self) -> None:
        """Begin anew: another session."""
        self._concerned = False

    def _ask(self, command: AdaptCommand) -> None:
        self.asked.emit(command)
