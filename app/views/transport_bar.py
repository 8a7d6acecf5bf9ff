"""Play, pause and speed of a recording; hidden while the source is live.

Owns the controls; the session's `Playback` keeps the state.
"""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from app.port import Phase, Playback
from app.view_models import formatting
from app.view_models.session import SessionModel
from app.views.painted import Button, Combo, set_text, text_label
from app.views.theme import DARK, Theme

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class TransportBar(QFrame):
    """One row above the traces."""

    def __init__(self, session: SessionModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._session = session
        self._theme: Theme = DARK
        self._shown_paused: bool | None = None
        self.play = Button(icon_name="pause", kind="mini", tip="Pause or go on (Ctrl+P)")
        self.speed = Combo(small=True)
        self.at = text_label("", "caption")
        for speed in SPEEDS:
            self.speed.addItem(f"{speed:g} ×")
        self.speed.setToolTip("Speed of the replay, times real time")
        self.speed.setAccessibleName("Speed of the replay")
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 4, 10, 4)
        row.setSpacing(8)
        row.addWidget(text_label("Replay", "title"))
        row.addWidget(self.play)
        row.addWidget(self.speed)
        row.addWidget(self.at, 1)
        self.play.clicked.connect(self.toggle)
        self.speed.activated.connect(self._choose_speed)
        self.hide()

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icon."""
        self._theme = theme
        self._shown_paused = None

    def toggle(self) -> None:
        """Pause, or go on."""
        playback = self._playback()
        if playback is not None:
            playback.set_paused(not playback.paused)
            self.refresh()

    def refresh(self) -> None:
        """Show the session's playback."""
        playback = self._playback()
        self.setVisible(playback is not None)
        if playback is None:
            return
        if playback.paused is not self._shown_paused:
            self._shown_paused = playback.paused
            self.play.set_icon_name("play" if playback.paused else "pause", self._theme)
        at = SPEEDS.index(playback.speed) if playback.speed in SPEEDS else -1
        if self.speed.currentIndex() != at:
            self.speed.setCurrentIndex(at)
        words = formatting.duration(self._session.snapshot.duration)
        set_text(self.at, f"{words}, paused" if playback.paused else words)

    def _playback(self) -> Playback | None:
        port = self._session.port
        running = self._session.phase in (Phase.STARTING, Phase.RUNNING)
        return port.playback if port is not None and running else None

    def _choose_speed(self, at: int) -> None:
        playback = self._playback()
        if playback is not None:
            playback.set_speed(SPEEDS[at])
