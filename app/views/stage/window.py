"""One picture for the audience, full screen; nothing to click.

Owns painting, the timer and the keys: Space begins with the next visitor, Esc ends the visit, W
shows words or hides them, T the traces, F full screen, Ctrl+Q ends. What closes the window without
that key does not end the stage: it comes back. Knows nothing of sessions but what `Keeper` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, QTimer
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QFont,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QWidget

from app.stage.keeper import Shown, Staged, Who
from app.stage.motion import Motion
from app.views.common.painted import to_image
from configs.plain import plain

FRAME_MS = 33
POLL_FRAMES = 2
SIMULATED = "simulated headset: nobody's brain"
UNCALIBRATED = "Not calibrated to this person: mostly fog"
"""Where words are wanted and no adapter decodes somebody."""
_TRACE_SECONDS = 4.0
_N_TRACES = 8
_BACKGROUND = QColor(11, 13, 18)
_WORDS = QColor(232, 234, 240)
_NOTE = QColor(255, 197, 107)


class StageWindow(QWidget):
    """The audience's picture.

    Parameters
    ----------
    keeper : Staged
    stays : bool
        Whether closing the window, or Esc, does not end it: a stage of its own.
    words : bool
        Show names, where the decoder states at least `confidence`, and whether an adapter lacks.
    confidence : float
        From which on a name is shown, 0 to 1. Where no confidence is stated none is shown.
    screen : int, optional
        Counted from 1; None: the last one, where there are several.
    ended : callable
        Called when the stage is to end.
    clock : callable
        s; `time.monotonic` but for tests.
    """

    def __init__(
        self,
        keeper: Staged,
        *,
        stays: bool = True,
        words: bool = False,
        confidence: float = 0.6,
        screen: int | None = None,
        ended: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(None, Qt.WindowType.Window)
        self.setWindowTitle("Phosphene – stage")
        self.setCursor(Qt.CursorShape.BlankCursor)
        self._keeper, self._clock, self._ended = keeper, clock, ended
        self._stays = stays
        self.words, self.traces = words, False
        self._confidence = confidence
        self.motion = Motion()
        self._shown: Shown = keeper.shown
        self._run = self._shown.run
        self._picture: QImage | None = None
        self._frame_index = 0
        self._way: tuple[int, int, float] = (-1, -1, 0.0)
        self._leaving = False
        screens = QGuiApplication.screens()
        number = len(screens) if screen is None else min(screen, len(screens))
        self.setGeometry(screens[number - 1].geometry())
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.step)
        self._timer.start(FRAME_MS)

    @property
    def name(self) -> str:
        """The name to show; empty where none is known well enough."""
        result = self._shown.result
        if result is None or not result.top or self.motion.is_fog:
            return ""
        known = result.confidence is not None and result.confidence >= self._confidence
        return plain(result.top[0][0]) if known else ""

    @property
    def words_shown(self) -> str:
        """The line below the picture."""
        shown = self._shown
        wanted = self.name if self.words else ""
        if self.words and not wanted and shown.result is not None and self._lacks_adapter:
            wanted = UNCALIBRATED
        return wanted or shown.words

    @property
    def _lacks_adapter(self) -> bool:
        shown = self._shown
        is_person = shown.who is Who.VISITOR and not shown.is_simulated
        return is_person and shown.snapshot.adapter is None

    def step(self) -> None:
        """One frame: look after the sessions now and then, move the picture on."""
        now = self._clock()
        if self._frame_index % POLL_FRAMES == 0:
            self._keeper.poll()
            self._take(self._keeper.shown, now)
            if not self.isVisible() and not self._leaving:
                self.showFullScreen()  # whatever hid it
        self._frame_index += 1
        self._picture = to_image(self.motion.frame(now))
        self.update()

    def leave(self) -> None:
        """End the stage."""
        if not self._leaving:
            self._leaving = True
            self._timer.stop()
            self.close()
            self._ended()

    def _take(self, shown: Shown, now: float) -> None:
        if (
            shown.run != self._run and self._changes_person(shown)
        ) or shown.who is not self._shown.who:
            self.motion.forget(now)
        new = shown.result
        if new is not None and new.pixels is not None and new is not self._shown.result:
            self.motion.show(new.pixels, now)
        if new is not None:
            for each in shown.snapshot.between:
                if each.index == new.index and each.at > self._passed(shown.run, new.index):
                    self.motion.pass_by(each.pixels, each.at, now)
                    self._way = shown.run, each.index, each.at
        self._run, self._shown = shown.run, shown

    def _passed(self, run: int, index: int) -> float:
        """How far the pictures are known that lie on the way to one."""
        return self._way[2] if self._way[:2] == (run, index) else 0.0

    def _changes_person(self, shown: Shown) -> bool:
        """Whether the session on show is another's; of the attract loop's it is nobody's."""
        return shown.who is Who.VISITOR or self._shown.who is Who.VISITOR

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Obey a key."""
        control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        match event.key():
            case Qt.Key.Key_Q if control and self._stays:
                self.leave()
            case Qt.Key.Key_Escape | Qt.Key.Key_F if not self._stays and (
                control or event.key() == Qt.Key.Key_Escape
            ):
                self.leave()
            case Qt.Key.Key_Space | Qt.Key.Key_Return:
                self.motion.forget(self._clock())
                self._keeper.next_visitor()
            case Qt.Key.Key_Escape:
                self._keeper.attract()
            case Qt.Key.Key_W:
                self.words = not self.words
            case Qt.Key.Key_T:
                self.traces = not self.traces
            case Qt.Key.Key_F:
                (self.showNormal if self.isFullScreen() else self.showFullScreen)()
            case _:
                super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Stay, unless the stage is to end."""
        if self._stays and not self._leaving:
            event.ignore()
        else:
            self._leaving = True
            self._timer.stop()
            event.accept()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the picture, and what is wanted beside it."""
        _ = event
        painter = QPainter(self)
        painter.fillRect(self.rect(), _BACKGROUND)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line = self.height() / 22
        side = min(self.width(), self.height() - 3 * line)
        box = QRectF((self.width() - side) / 2, line / 2, side, side)
        if self._picture is not None:
            painter.drawImage(box, self._picture)
        if self.traces:
            self._paint_traces(painter, box)
        below = QRectF(0, box.bottom() + line * 0.25, self.width(), line * 1.4)
        _write(painter, below, self.words_shown, line, _WORDS)
        if self._shown.is_simulated:
            note = QRectF(0, below.bottom(), self.width(), line * 0.8)
            _write(painter, note, SIMULATED, line * 0.5, _NOTE)
        painter.end()

    def _paint_traces(self, painter: QPainter, box: QRectF) -> None:
        """The last seconds of some channels, over the lower part of the picture."""
        block = self._keeper.traces(_TRACE_SECONDS)
        if block is None or block.data.shape[1] < 2:
            return
        data = block.data[:_N_TRACES]
        data = data[:, :: max(1, data.shape[1] // 800)]
        middle = np.nanmedian(data, axis=1, keepdims=True)
        height = float(np.nanpercentile(np.abs(data - middle), 98)) or 1.0
        lane = box.height() / 3 / len(data)
        painter.setPen(QPen(QColor(24, 28, 40, 200), 1.5))
        x = box.left() + np.linspace(0, box.width(), data.shape[1])
        for k, row in enumerate(np.nan_to_num(data - middle)):
            y = (
                box.bottom()
                - (len(data) - k - 0.5) * lane
                - np.clip(row / height, -1, 1) * lane / 2
            )
            points = [QPointF(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
            painter.drawPolyline(QPolygonF(points))


def _write(painter: QPainter, box: QRectF, text: str, size: float, colour: QColor) -> None:
    if not text:
        return
    font = QFont(painter.font())
    font.setPixelSize(max(10, round(size)))
    painter.setFont(font)
    painter.setPen(colour)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextSingleLine, text)
