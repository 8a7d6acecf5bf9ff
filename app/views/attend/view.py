"""The live view of attending: the warning first, then what each look says while it lasts.

Owns the way from the warning to the grid's window and back, and the polling. What is known comes
from a session (`app.attend.live`), and so do the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from app.attend.live import LiveSnapshot
from app.attend.reading import Ended
from app.view_models.attend.grid_frames import GridFrames
from app.view_models.attend.light import Flicker
from app.view_models.attend.warning import Answered
from app.view_models.attend.words import HONEST, answer_lines, figure_lines, look_lines
from app.views.attend.grid import GridWindow
from app.views.attend.posterior import PosteriorMap
from app.views.attend.warning import WarningPage
from app.views.common.painted import Button, to_image
from app.views.window.tools import ToolView
from pipeline.values import Uint8

POLL_MS = 33
PICTURE = 300
"""Side of the growing picture, pixels."""


class LivePort(Protocol):
    """A session of looks, as the window uses it."""

    def start(self) -> None:
        """Load; returns at once."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the grid's pictures, once it is ready."""
        ...

    def pixels(self) -> list[Uint8]:
        """Pictures of the grid, once it is ready."""
        ...

    def begin(self, answered: Answered, *, refresh_hz: float) -> GridFrames:
        """Begin."""
        ...

    def snapshot(self) -> LiveSnapshot:
        """Everything visible."""
        ...

    def stop(self) -> None:
        """End the looks; returns at once."""
        ...

    def close(self) -> None:
        """End everything."""
        ...


class AttendView(ToolView):
    """Asks, opens the grid, and shows what is found.

    Parameters
    ----------
    port : LivePort
    clock : callable
        LSL's `local_clock`.
    flicker : Flicker
    """

    over = Signal()
    """Nothing more comes: the session ended, failed, or was refused."""

    def __init__(
        self,
        port: LivePort,
        *,
        clock: Callable[[], float],
        flicker: Flicker | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Phosphene – attend")
        self.resize(860, 620)
        self._port, self._clock, self._flicker = port, clock, flicker
        self._answered: Answered | None = None
        self._shown_look: tuple[int, bool] = (-1, False)
        self._shown_drawn = -1
        self._shown_grid = 0
        self.shown_after_ms: list[float] = []
        """From the last sample that a decision needed to its words here, each look."""
        self.grid: GridWindow | None = None
        self.warning = WarningPage()
        self.warning.answered.connect(self._accept)
        self.warning.refused.connect(self._refuse)
        self.map = PosteriorMap()
        self.picture = QLabel()
        self.picture.setFixedSize(PICTURE, PICTURE)
        self.said, self.figures, self.state = QLabel(), QLabel(), QLabel()
        for label in (self.said, self.figures, self.state):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.stop_button = Button("Stop", tip="End the looks and finish the files (Esc)")
        self.stop_button.clicked.connect(self._stop)
        self.close_button = Button("Close", kind="primary")
        self.close_button.clicked.connect(self._end)
        self.close_button.hide()
        self.pages = QStackedWidget()
        self.pages.addWidget(self.warning)
        self.pages.addWidget(self._live_page())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.pages)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(POLL_MS)
        port.start()

    def _live_page(self) -> QWidget:
        page = QWidget()
        honest = QLabel(HONEST)
        honest.setWordWrap(True)
        right = QVBoxLayout()
        right.addWidget(self.picture)
        right.addWidget(self.said)
        right.addSpacing(12)
        right.addWidget(self.figures)
        right.addStretch()
        right.addWidget(self.state)
        right.addWidget(self.stop_button)
        right.addWidget(self.close_button)
        across = QHBoxLayout()
        across.addWidget(self.map, 1)
        across.addLayout(right)
        whole = QVBoxLayout(page)
        whole.setContentsMargins(20, 16, 20, 16)
        whole.addLayout(across, 1)
        whole.addWidget(honest)
        return page

    # The way

    def _accept(self, answered: Answered) -> None:
        self._answered = answered
        self.pages.setCurrentIndex(1)
        self.refresh()

    def _refuse(self) -> None:
        self._answered = None
        self._end()

    def _stop(self) -> None:
        if self.grid is not None:
            self.grid.stop()
        self._port.stop()

    def _open_grid(self, answered: Answered) -> None:
        screen = self.screen()
        refresh = float(screen.refreshRate()) if screen is not None else 60.0
        pixels = self._port.pixels()
        frames = self._port.begin(answered, refresh_hz=refresh)
        self.map.show_pictures(pixels)
        self.grid = GridWindow(
            pixels, self._port.labels, frames, clock=self._clock, flicker=self._flicker, parent=self
        )
        self.grid.show()

    def refresh(self) -> None:
        """Show what is new."""
        now = self._port.snapshot()
        self.state.setText(_state(now, self.grid))
        if now.phase in ("ended", "failed"):
            self._show(now)
            if now.phase == "ended" and now.message and self.close_button.isHidden():
                self._conclude(now.message)
            elif self.close_button.isHidden():
                self._end()
            return
        if self.grid is not None and now.grid != self._shown_grid:
            self._show_grid(self.grid, now.grid)
        if self._answered is not None and self.grid is None and now.phase == "ready":
            self._open_grid(self._answered)
        if now.phase == "running":
            self._show(now)

    def _show_grid(self, grid: GridWindow, number: int) -> None:
        """Put the pictures of the next choice on the grid."""
        self._shown_grid = number
        pixels = self._port.pixels()
        grid.show_pictures(pixels, self._port.labels)
        self.map.show_pictures(pixels)
        grid.grid_frames.is_held_back = False

    def _show(self, now: LiveSnapshot) -> None:
        self.figures.setText("\n".join(figure_lines(now.figures)))
        ended = now.ended if now.ended is not None and now.ended.look >= now.look else None
        lines = _lines(now, ended)
        if now.drawn is not None and now.drawn.number != self._shown_drawn:
            self._shown_drawn = now.drawn.number
            self.picture.setPixmap(
                QPixmap.fromImage(to_image(now.drawn.pixels)).scaled(
                    self.picture.size(),
                    Qt.AspectRatioMode.KeepAspectRatio,
                    Qt.TransformationMode.SmoothTransformation,
                )
            )
            if self.grid is not None:
                self.grid.grow(now.drawn.pixels, *lines)
        self.said.setText("\n".join(lines))
        answer = None if ended is None or ended.decision is None else ended.decision.answer
        cue = None if self.grid is None else self.grid.grid_frames.target
        self.map.show_probabilities(now.posterior, cue=cue, answer=answer)
        if self.grid is not None and self._shown_look != (now.look, ended is not None):
            self._shown_look = (now.look, ended is not None)
            if ended is not None and ended.decision is not None:
                enough = ended.t_onset + ended.decision.seconds
                self.shown_after_ms.append(1000 * (self._clock() - enough))
            self.grid.mark(answer)

    @property
    def result(self) -> str:
        """What came out, or why nothing did; empty where nothing began."""
        now = self._port.snapshot()
        return now.message or "\n".join(figure_lines(now.figures) if now.figures else ())

    def _conclude(self, sentence: str) -> None:
        """Show what a calibration found until somebody closes it."""
        if self.grid is not None:
            self.grid.close()
        self.said.setText(sentence)
        self.stop_button.hide()
        self.close_button.show()
        self._timer.stop()

    def _end(self) -> None:
        self._timer.stop()
        if self.grid is not None:
            self.grid.close()
        self._port.stop()
        self.stop_button.setEnabled(False)
        self.over.emit()

    def shut_down(self) -> None:
        """End whatever runs."""
        self._timer.stop()
        if self.grid is not None:
            self.grid.close()
        self._port.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Closing ends the looks."""
        self._end()
        super().closeEvent(event)


def _lines(now: LiveSnapshot, ended: Ended | None) -> tuple[str, ...]:
    if ended is not None:
        if ended.decision is None:
            return (f"not read: {ended.reason}",)
        return answer_lines(
            now.labels,
            answer=ended.decision.answer,
            seconds=ended.decision.seconds,
            cue=ended.cue,
        )
    posterior = now.posterior
    best = None if posterior is None else int(posterior.argmax())
    probability = 0.0 if posterior is None else float(posterior.max())
    return look_lines(now.labels, seconds=now.seconds, best=best, probability=probability)


def _state(now: LiveSnapshot, grid: GridWindow | None) -> str:
    if now.phase == "failed":
        return now.message
    if now.phase == "running":
        said = ["The EEG is simulated"] if now.is_simulated else []
        if grid is not None:
            shown, dropped = grid.figures.n_frames, grid.figures.n_dropped
            said += [f"{dropped} of {shown + dropped} frames dropped"]
            said += [f"{now.redraws:.0f} redraws a second"]
        return " · ".join(said)
    return {"loading": "Loading…", "ended": "Ended: the files are written."}.get(now.phase, "")
