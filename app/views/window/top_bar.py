"""The bar at the top: source, preset, subject, start, record.

Owns these controls; each writes to a model, and `refresh` writes the models back.
"""

from __future__ import annotations

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QWidget

from app import formatting
from app.port import Phase
from app.view_models.session.model import SessionModel
from app.view_models.settings.model import SettingsModel
from app.view_models.sources.model import SourcesModel
from app.views.common.painted import Button, Combo, set_text, set_tone, text_label
from app.views.common.theme import Theme, px
from app.views.window.welcome import Emblem
from configs import ConfigError

LOW_DISK = 1_000_000_000


class TopBar(QFrame):
    """Source, preset, subject, start and stop, record, disk, theme."""

    start_asked = Signal()
    record_asked = Signal()
    source_asked = Signal()
    theme_asked = Signal()
    stimuli_asked = Signal()
    failed = Signal(str)

    def __init__(
        self,
        session: SessionModel,
        sources: SourcesModel,
        settings: SettingsModel,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("topbar")
        self._session, self._sources, self._settings = session, sources, settings
        self._theme: Theme | None = None
        self.emblem = Emblem(30)
        self.source = Button("Virtual headset", icon_name="wave", tip="Choose a source (F2)")
        self.preset = Combo()
        self.subject = QLineEdit(settings.subject)
        self.start = Button("Start", icon_name="play", kind="primary", tip="Start or stop (Space)")
        self.record = Button("Record", icon_name="record", tip="Record to recording.xdf (R)")
        self.disk = text_label("", "small")
        self.stimuli = Button(icon_name="screen", kind="plain", tip="Stimulus window (F11)")
        self.theme_button = Button(icon_name="sun", kind="plain", tip="Light or dark (F9)")
        self.menu = Button(icon_name="menu", kind="menu", tip="Menu (F10)")
        self._build()
        self._connect()

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icons."""
        self._theme = theme
        self._fit()
        self._spare()
        for button in (self.source, self.start, self.record, self.stimuli, self.menu):
            button.set_theme(theme)
        self.theme_button.set_icon_name("sun" if theme.name == "dark" else "moon", theme)

    def _fit(self) -> None:
        """Set the sizes that depend on the size of text."""
        self.setFixedHeight(px(54))
        self.subject.setFixedWidth(px(120))
        self.preset.setMinimumWidth(px(120))
        self.source.setMinimumWidth(px(150))
        self.start.setMinimumWidth(px(112))
        for button in (self.stimuli, self.theme_button, self.menu):
            button.setFixedSize(QSize(px(34), px(32)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave out what can be spared where there is no room."""
        super().resizeEvent(event)
        self._spare()

    def _spare(self) -> None:
        """Show as much as fits: words go before controls do."""
        for at in range(len(self._dispensable) + 1):
            for number, widget in enumerate(self._dispensable):
                widget.setVisible(number >= at)
            if self._row.minimumSize().width() <= self.width():
                return

    def refresh(self) -> None:
        """Show the models."""
        phase, active = self._session.phase, self._session.active
        set_text_of(self.source, self._sources.choice.title)
        for widget in (self.source, self.preset, self.subject):
            if widget.isEnabled() == active:
                widget.setEnabled(not active)
        self._refresh_start(phase)
        snapshot = self._session.snapshot
        recording = snapshot.recording is not None and phase is Phase.RUNNING
        wanted = recording or (not active and self._settings.record)
        if self.record.isChecked() != wanted:
            self.record.setChecked(wanted)
        text = "Will record" if wanted else "No recording"  # not "on": nothing is, as yet
        if recording:
            text = f"Recording {formatting.size(snapshot.recording_bytes)}"
        set_text_of(self.record, text)
        free = snapshot.disk_free
        set_text(self.disk, "" if free is None else f"{formatting.size(free)} free")
        set_tone(self.disk, "warn" if free is not None and free < LOW_DISK else "")

    def _refresh_start(self, phase: Phase) -> None:
        text, name, enabled = {
            Phase.STARTING: ("Stop", "stop", not self._session.busy),
            Phase.RUNNING: ("Stop", "stop", True),
            Phase.STOPPING: ("Finishing…", "stop", False),
        }.get(phase, ("Start", "play", True))
        if phase is Phase.STARTING and self._session.busy:
            text = "Connecting…"
        if self.start.text() != text or self.start.isEnabled() != enabled:
            self.start.setText(text)
            self.start.setEnabled(enabled)
            if self._theme is not None:
                self.start.set_icon_name(name, self._theme)

    def _build(self) -> None:
        self.preset.addItems(list(self._settings.presets))
        self.preset.setCurrentText(self._settings.preset)
        self.preset.setToolTip("Preset: filter, epochs, decoder")
        self.preset.setAccessibleName("Preset")
        self.subject.setMaxLength(64)
        self.subject.setToolTip("Subject code: letters, digits, - and _; no name of a person")
        self.subject.setAccessibleName("Subject code")
        self.record.setCheckable(True)
        self._fit()
        row = self._row = QHBoxLayout(self)
        row.setContentsMargins(14, 0, 10, 0)
        row.setSpacing(8)
        brand = text_label("Phosphene", "brand")
        row.addWidget(self.emblem)
        row.addWidget(brand)
        row.addSpacing(14)
        captions = []
        for name, widget in (
            ("Source", self.source),
            ("Preset", self.preset),
            ("Subject", self.subject),
        ):
            captions.append(text_label(name, "small"))
            row.addWidget(captions[-1])
            row.addWidget(widget)
            row.addSpacing(4)
        self._dispensable = (brand, *captions, self.disk, self.emblem)
        row.addStretch(1)
        row.addWidget(self.disk)
        row.addWidget(self.record)
        row.addWidget(self.start)
        row.addWidget(self.stimuli)
        row.addWidget(self.theme_button)
        row.addWidget(self.menu)

    def _connect(self) -> None:
        self.source.clicked.connect(self.source_asked)
        self.start.clicked.connect(self.start_asked)
        self.record.clicked.connect(self.record_asked)
        self.stimuli.clicked.connect(self.stimuli_asked)
        self.theme_button.clicked.connect(self.theme_asked)
        self.subject.textChanged.connect(self._take_subject)
        self.subject.returnPressed.connect(self.subject.clearFocus)
        self.preset.activated.connect(self._take_preset)

    def _take_subject(self, text: str) -> None:
        self._settings.subject = text
        invalid = bool(self._settings.subject_error)
        if self.subject.property("invalid") != invalid:
            self.subject.setProperty("invalid", invalid)
            self.subject.style().unpolish(self.subject)
            self.subject.style().polish(self.subject)

    def _take_preset(self, _at: int) -> None:
        try:
            self._settings.choose_preset(self.preset.currentText())
        except ConfigError as error:
            self.preset.setCurrentText(self._settings.preset)
            self.failed.emit(str(error))


def set_text_of(button: Button, text: str) -> None:
    """Change a button's text only when it differs."""
    if button.text() != text:
        button.setText(text)
