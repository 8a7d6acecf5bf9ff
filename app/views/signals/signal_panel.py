"""The signal views below the traces: spectrum, electrodes, averages, stream; one at a time.

Owns the tabs. A view is computed only while it is open, but what builds up (averages, loss) builds
up all the same.
"""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QPlainTextEdit,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.view_models.session.model import SessionModel
from app.views.common.painted import Button, Combo, ElidedLabel, set_tone
from app.views.signals.head_plot import HeadPlot
from app.views.signals.signal_plots import EvokedPlot, HealthPlot, SpectrumPlot

TABS = ("Spectrum", "Electrodes", "Averages", "Stream", "Notes")


class SignalPanel(QFrame):
    """Tabs with one view below them; a click on the open tab closes it."""

    opened = Signal(bool)

    def __init__(self, session: SessionModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._session = session
        self.spectrum = SpectrumPlot(session.spectrum)
        self.head = HeadPlot(session.head)
        self.evoked = EvokedPlot(session.evoked)
        self.health = HealthPlot(session.health)
        self.tabs = [Button(name, kind="plain", tip=f"{name} (F3 goes on)") for name in TABS]
        self.note = ElidedLabel("caption")
        self.channel = Combo(small=True)
        self.notes = QPlainTextEdit()
        self.stack = QStackedWidget()
        self._names: tuple[str, ...] = ()
        self._build()
        for at, tab in enumerate(self.tabs):
            tab.clicked.connect(lambda _=False, at=at: self.toggle(at))
        self.channel.activated.connect(self._choose_channel)
        self.notes.textChanged.connect(self._take_notes)

    @property
    def current(self) -> int | None:
        """Number of the open tab; None when all are closed."""
        return None if self.stack.isHidden() else self.stack.currentIndex()

    def toggle(self, at: int) -> None:
        """Open tab `at`, or close it when it is open."""
        self.open(None if self.current == at else at)

    def step(self) -> None:
        """Go to the next tab; after the last, close."""
        now = -1 if self.current is None else self.current
        self.open(now + 1 if now + 1 < len(TABS) else None)

    def open(self, at: int | None) -> None:
        """Open tab `at`; None closes."""
        self.stack.setVisible(at is not None)
        if at is not None:
            self.stack.setCurrentIndex(at)
        for number, tab in enumerate(self.tabs):
            tab.setChecked(number == at)
        self.channel.setVisible(at == 2)
        if at == 4:
            self.notes.setFocus()
        self.opened.emit(at is not None)
        self.refresh()

    def refresh(self) -> None:
        """Show the models of the open tab."""
        session, note, tone = self._session, "", ""
        if self.current == 0:
            session.poll_spectrum()
            note = self.spectrum.sentence
            tone = "warn" if session.spectrum.spectrum and session.spectrum.spectrum.lines else ""
            self.spectrum.refresh(session.spectrum.revision, note)
        elif self.current == 1:
            self.head.refresh()
        elif self.current == 2:
            self._refresh_evoked()
            note = self.evoked.sentence
        elif self.current == 3:
            note = self.health.sentence
            tone = "warn" if self.health.alert else ""
            self.health.refresh(session.health.revision, note)
        elif self.current == 4:
            note = self._refresh_notes()
        self.note.set_whole(note)
        set_tone(self.note, tone)

    def _refresh_notes(self) -> str:
        session = self._session
        if self.notes.toPlainText() != session.notes:
            self.notes.setPlainText(session.notes)
        return "saved in the session folder as you write" if session.port is not None else ""

    def _take_notes(self) -> None:
        self._session.notes = self.notes.toPlainText()

    def _refresh_evoked(self) -> None:
        session, model = self._session, self._session.evoked
        if self._names != model.ch_names:
            self._names = model.ch_names
            self.channel.clear()
            self.channel.addItems(list(model.ch_names))
        if self.channel.currentIndex() != model.channel:
            self.channel.setCurrentIndex(model.channel)
        if session.port is not None:
            self.evoked.tmin = session.port.config.epochs.tmin
        if session.snapshot.info is not None:
            self.evoked.sfreq = session.snapshot.info.sfreq
        self.evoked.refresh(model.revision, self.evoked.sentence)

    def _choose_channel(self, at: int) -> None:
        self._session.evoked.choose(at)
        self.refresh()

    def _build(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(4)
        for tab in self.tabs:
            tab.setCheckable(True)
            head.addWidget(tab)
        head.addSpacing(8)
        head.addWidget(self.note, 1)
        self.channel.setAccessibleName("Channel of the averages")
        self.channel.setToolTip("Channel whose averages are shown")
        self.channel.hide()
        head.addWidget(self.channel)
        self.notes.setPlaceholderText("Notes on this session; they are saved as notes.txt")
        self.notes.setAccessibleName("Notes on this session")
        self.notes.setTabChangesFocus(True)
        for view in (self.spectrum, self.head, self.evoked, self.health, self.notes):
            self.stack.addWidget(view)
        self.stack.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 4, 10, 4)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self.stack, 1)
