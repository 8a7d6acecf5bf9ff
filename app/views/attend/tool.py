"""Attending from the main window's menu: what to do, then the warning, then the looks.

Owns the page of choices and opening one session after the other on the main window's source. The
warning comes in each of them (`app.views.attend.view`): no choice here answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from PySide6.QtCore import Qt
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QFormLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from app.attend.live import LiveAttend
from app.attend.opening import Choice, live_setup
from app.view_models.attend.light import Flicker
from app.view_models.attend.words import HONEST
from app.view_models.sources.model import SourceKind
from app.views.attend.view import AttendView
from app.views.common.painted import Button, Combo
from app.views.common.theme import Theme
from app.views.window.tools import ToolContext, ToolView
from configs import ConfigError
from pipeline.errors import PhospheneError
from pipeline.looks import Kind

MODES = {
    "Look at pictures": Choice(),
    "Compose: each choice is the start of the next": Choice(composes=True),
    "Calibrate: three minutes, for the first look's sake": Choice(calibrates=True),
}
KINDS: Mapping[str, Kind] = {
    "Flicker, each by its own code": "flicker",
    "Light up one after the other (slower)": "flash",
}
COUNTS = ("20", "6", "12", "30", "48", "64")
CONTRASTS = ("0.6", "0.2", "0.4", "0.8")
LIGHTS = ("0.7", "0.3", "0.5", "0.8")


def make(context: ToolContext) -> AttendTool:
    """Make the view of the window's menu."""
    return AttendTool(context)


class AttendTool(ToolView):
    """A page of choices, and the session that was opened from it."""

    def __init__(self, context: ToolContext) -> None:
        super().__init__(context.parent)
        self._context = context
        self._theme: Theme | None = None
        self.session: AttendView | None = None
        self.resize(860, 620)
        self.setObjectName("root")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.mode, self.kind, self.count, self.contrast, self.light = (Combo() for _ in range(5))
        for combo, names in (
            (self.mode, tuple(MODES)),
            (self.kind, tuple(KINDS)),
            (self.count, COUNTS),
            (self.contrast, CONTRASTS),
            (self.light, LIGHTS),
        ):
            combo.addItems(names)
        self.source, self.said = QLabel(), QLabel()
        self.open_button = Button("Open…", kind="primary")
        self.open_button.clicked.connect(self.open)
        self.pages = QStackedWidget()
        self.pages.addWidget(self._page())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.pages)
        self.refresh()

    def _page(self) -> QWidget:
        page = QWidget()
        form = QFormLayout()
        form.addRow("What", self.mode)
        form.addRow("The pictures", self.kind)
        form.addRow("How many", self.count)
        form.addRow("Contrast", self.contrast)
        form.addRow("Light, in parts of the screen's", self.light)
        whole = QVBoxLayout(page)
        whole.setContentsMargins(40, 32, 40, 32)
        whole.setSpacing(14)
        honest = QLabel(HONEST)
        for label in (honest, self.source, self.said):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        whole.addWidget(honest)
        whole.addWidget(self.source)
        whole.addLayout(form)
        whole.addWidget(self.said)
        whole.addStretch()
        whole.addWidget(self.open_button)
        return page

    def refresh(self) -> None:
        """Show which source it would open on."""
        kind = self._context.sources.choice.kind
        self.source.setText(
            "The headset that the main window has chosen."
            if kind is SourceKind.LIVE
            else "A virtual person looks: the EEG is simulated. For a real one choose a headset in "
            "the main window."
        )

    def open(self) -> None:
        """Open a session: its warning comes first."""
        context = self._context
        choice = context.sources.choice
        self.said.setText(context.settings.subject_error)
        if context.session.active:
            self.said.setText("A session is running: stop it in the main window first.")
        if self.said.text() or self.session is not None:
            return
        flicker = Flicker(
            contrast=float(self.contrast.currentText()), luminance=float(self.light.currentText())
        )
        try:
            setup = live_setup(
                context.settings.build(choice),
                replace(MODES[self.mode.currentText()], kind=KINDS[self.kind.currentText()]),
                n_targets=int(self.count.currentText()),
                flicker=flicker,
                folder=context.sessions_folder(),
                is_live=choice.kind is SourceKind.LIVE,
            )
        except (ConfigError, PhospheneError, ValueError) as error:
            self.said.setText(str(error))
            return
        live = LiveAttend(setup)
        view = AttendView(live, clock=live.clock, flicker=flicker, parent=self)
        view.over.connect(self._put_away)
        if self._theme is not None:
            view.set_theme(self._theme)
        self.session = view
        self.pages.addWidget(view)
        self.pages.setCurrentWidget(view)

    def _put_away(self) -> None:
        """Go back to the choices: an answer to the warning holds for one session."""
        view, self.session = self.session, None
        if view is None:
            return
        view.shut_down()
        self.said.setText(view.result)
        self.pages.setCurrentIndex(0)
        self.pages.removeWidget(view)
        view.deleteLater()

    def set_theme(self, theme: Theme) -> None:
        """Take another theme."""
        self._theme = theme
        super().set_theme(theme)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Closing ends the looks."""
        self._put_away()
        super().closeEvent(event)

    def shut_down(self) -> None:
        """End whatever runs."""
        self._put_away()
