"""Play, pause, speed, place and loop of a recording; hidden while the source is live.

Owns the controls; the session's `Playback` keeps the state.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSlider, QWidget

from app import formatting
from app.port import Phase, Playback
from app.view_models.session.model import SessionModel
from app.views.common.painted import Button, Combo, set_text, text_label
from app.views.common.theme import DARK, Theme, px

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
STEP = 10.0
"""How far a key goes, s."""
_PER_SECOND = 10
"""Steps of the slider in a second."""


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
        self.place = QSlider(Qt.Orientation.Horizontal)
        self.loop = Button(
            icon_name="loop", kind="mini", tip="Begin again at the end, or not (Ctrl+L)"
        )
        self.at = text_label("", "caption")
        self._build()
        self.play.clicked.connect(self.toggle)
        self.loop.clicked.connect(self.set_loop)
        self.speed.activated.connect(self._choose_speed)
        self.place.sliderMoved.connect(self._show_drag)
        self.place.sliderReleased.connect(self._seek_to_slider)
        self.place.actionTriggered.connect(self._slider_action)
        self.hide()

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icons."""
        self._theme = theme
        self._shown_paused = None
        self.at.setMinimumWidth(px(96))
        self.loop.set_theme(theme)

    def toggle(self) -> None:
        """Pause, or go on."""
        playback = self._playback()
        if playback is not None:
            playback.set_paused(not playback.paused)
            self.refresh()

    def toggle_loop(self) -> None:
        """Begin again at the end, or no longer."""
        playback = self._playback()
        if playback is not None:
            self.set_loop(not playback.loop)

    def set_loop(self, on: bool) -> None:
        """Begin again at the end, or end there."""
        playback = self._playback()
        if playback is not None:
            playback.set_loop(on)
            self.refresh()

    def step(self, seconds: float) -> None:
        """Go so far on, or back when negative."""
        playback = self._playback()
        if playback is not None:
            self._seek(playback, playback.position + seconds)

    def refresh(self) -> None:
        """Show the session's playback."""
        playback = self._playback()
        self.setVisible(playback is not None)
        if playback is None:
            return
        if playback.paused is not self._shown_paused:
            self._shown_paused = playback.paused
            self.play.set_icon_name("play" if playback.paused else "pause", self._theme)
        self.loop.setChecked(playback.loop)
        at = SPEEDS.index(playback.speed) if playback.speed in SPEEDS else -1
        if self.speed.currentIndex() != at:
            self.speed.setCurrentIndex(at)
        self.place.setEnabled(bool(playback.duration))
        if not self.place.isSliderDown():
            self.place.setMaximum(round((playback.duration or 0.0) * _PER_SECOND))
            self.place.setValue(round(playback.position * _PER_SECOND))
            self._show_place(playback.position, playback)

    def _show_place(self, seconds: float, playback: Playback) -> None:
        words = formatting.duration(seconds)
        if playback.duration:
            words += f" / {formatting.duration(playback.duration)}"
        set_text(self.at, f"{words}, paused" if playback.paused else words)

    def _show_drag(self, value: int) -> None:
        playback = self._playback()
        if playback is not None:
            self._show_place(value / _PER_SECOND, playback)

    def _seek_to_slider(self) -> None:
        playback = self._playback()
        if playback is not None:
            self._seek(playback, self.place.value() / _PER_SECOND)

    def _slider_action(self, _action: int) -> None:
        """Keys and clicks beside the handle move at once; dragging waits for its end."""
        playback = self._playback()
        if playback is not None and not self.place.isSliderDown():
            self._seek(playback, self.place.sliderPosition() / _PER_SECOND)

    def _seek(self, playback: Playback, seconds: float) -> None:
        playback.seek(min(max(0.0, seconds), playback.duration or max(0.0, seconds)))
        self.refresh()

    def _playback(self) -> Playback | None:
        port = self._session.port
        running = self._session.phase in (Phase.STARTING, Phase.RUNNING)
        return port.playback if port is not None and running else None

    def _choose_speed(self, at: int) -> None:
        playback = self._playback()
        if playback is not None:
            playback.set_speed(SPEEDS[at])

    def _build(self) -> None:
        for speed in SPEEDS:
            self.speed.addItem(f"{speed:g} ×")
        self.speed.setToolTip("Speed of the replay, times real time")
        self.speed.setAccessibleName("Speed of the replay")
        self.place.setAccessibleName("Place in the recording")
        self.place.setToolTip("Place in the recording (Ctrl+Left and Ctrl+Right go 10 s)")
        self.place.setSingleStep(_PER_SECOND)
        self.place.setPageStep(round(STEP * _PER_SECOND))
        self.place.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.loop.setCheckable(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 4, 10, 4)
        row.setSpacing(8)
        row.addWidget(text_label("Replay", "title"))
        row.addWidget(self.play)
        row.addWidget(self.speed)
        row.addWidget(self.place, 1)
        row.addWidget(self.at)
        row.addWidget(self.loop)
