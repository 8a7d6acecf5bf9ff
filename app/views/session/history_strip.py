"""The pictures so far as a strip: stimulus above, decoded below, the rank under both.

Owns painting and choosing; `HistoryModel` owns the results. The newest is at the right and in
view unless somebody scrolled back.
"""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import formatting
from app.port import Result
from app.view_models.session.history import HistoryModel
from app.view_models.session.pictures import PictureLoader
from app.views.common.painted import Painted, draw_bar, elided, rounded_pixmap, to_image
from app.views.common.theme import Theme, px, text_font

MAX_PIXMAPS = 128
GAP = 6
"""Least distance between two pairs, px."""


class HistoryStrip(Painted):
    """A row of pairs; a click or Enter opens one."""

    chosen = Signal(int)

    def __init__(
        self, model: HistoryModel, load_picture: PictureLoader, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._load = load_picture
        self._revision = -1
        self._back = 0
        self._focus: int | None = None
        self._pixmaps: dict[tuple[str, float], QPixmap] = {}
        self.setMinimumSize(QSize(200, 104))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("History of decoded pictures")

    @property
    def thumb(self) -> int:
        """Edge of a thumbnail, px."""
        return max(24, (self.height() - px(22)) // 2)

    @property
    def n_visible(self) -> int:
        """How many pairs fit."""
        return max(1, (self.width() + GAP) // (self.thumb + GAP))

    @property
    def pitch(self) -> float:
        """Distance from one pair to the next, px: what fits fills the whole width."""
        if self.n_visible == 1:
            return float(self.thumb + GAP)
        return (self.width() - self.thumb) / (self.n_visible - 1)

    def set_theme(self, theme: Theme) -> None:
        """Take another theme."""
        self._pixmaps.clear()
        super().set_theme(theme)

    def refresh(self) -> None:
        """Paint again when there are new pictures."""
        if self._revision == self._model.revision:
            return
        self._revision = self._model.revision
        if not len(self._model):
            self._pixmaps.clear()
            self._back = 0
        self.update()

    def visible(self) -> list[Result]:
        """Return the results in view, oldest first."""
        pictures = self._model.pictures
        end = len(pictures) - min(self._back, max(0, len(pictures) - self.n_visible))
        return pictures[max(0, end - self.n_visible) : end]

    def result_at(self, x: float) -> Result | None:
        """Return the result painted at `x` px."""
        at = int(x // self.pitch)
        shown = self.visible()
        return shown[at] if 0 <= at < len(shown) else None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Open the pair under the pointer."""
        found = self.result_at(event.position().x())
        if found is not None:
            self.chosen.emit(found.index)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll through the session."""
        steps = event.angleDelta().y() or event.angleDelta().x()
        self._scroll(2 if steps > 0 else -2)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows move, Enter opens."""
        shown = [result.index for result in self._model.pictures]
        if not shown or event.key() not in (
            *(Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Return, Qt.Key.Key_Enter),
        ):
            super().keyPressEvent(event)
            return
        at = shown.index(self._focus) if self._focus in shown else len(shown) - 1
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.chosen.emit(shown[at])
            return
        at += -1 if event.key() == Qt.Key.Key_Left else 1
        at = min(max(0, at), len(shown) - 1)
        self._focus = shown[at]
        self._back = max(0, min(len(shown) - 1 - at, len(shown)))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the pairs in view."""
        _ = event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shown = self.visible()
        if not shown:
            painter.setFont(text_font(12))
            painter.setPen(self.theme.color("faint"))
            text = "Every decoded picture will stand here beside its stimulus; a click inspects it."
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, text)
        for at, result in enumerate(shown):
            self._paint_pair(painter, round(at * self.pitch), result)
        for at in range(len(shown), self.n_visible if shown else 0):
            self._paint_place(painter, round(at * self.pitch))
        painter.end()

    def _scroll(self, steps: int) -> None:
        furthest = max(0, len(self._model.pictures) - self.n_visible)
        self._back = min(max(0, self._back + steps), furthest)
        self.update()

    def _paint_pair(self, painter: QPainter, x: float, result: Result) -> None:
        size = self.thumb
        for row, kind in enumerate(("seen", "decoded")):
            box = QRectF(x, row * (size + 2), size, size)
            pixmap = self._pixmap(kind, result, size)
            if pixmap is not None:
                painter.drawPixmap(box.topLeft(), pixmap)
            else:
                self._paint_word(painter, box, result.label if kind == "seen" else "")
        first = result.rank == 1
        tone = self.theme.color("good" if first else "raised")
        chip = QRectF(x, 2 * size + 5, size, px(15))
        draw_bar(painter, chip, tone, radius=px(15) / 2)
        painter.setFont(text_font(10, bold=True))
        painter.setPen(self.theme.color("accent_text" if first else "muted"))
        text = formatting.DASH if result.rank is None else ("✓ 1" if first else str(result.rank))
        painter.drawText(chip, Qt.AlignmentFlag.AlignCenter, text)
        focused = self.hasFocus() and result.index == self._focus
        if result.index == self._model.selected or focused:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self.theme.color("accent"), 2))
            painter.drawRoundedRect(QRectF(x + 1, 1, size - 2, 2 * size), 6, 6)

    def _paint_place(self, painter: QPainter, x: float) -> None:
        """Mark where a pair is still to come, so that a short strip does not look torn off."""
        for row in range(2):
            box = QRectF(x, row * (self.thumb + 2), self.thumb, self.thumb)
            draw_bar(painter, box, self.theme.color("raised", 140), radius=6)

    def _paint_word(self, painter: QPainter, box: QRectF, word: str) -> None:
        draw_bar(painter, box, self.theme.color("raised"), radius=6)
        painter.setFont(text_font(10))
        painter.setPen(self.theme.color("muted"))
        text = elided(painter.fontMetrics(), formatting.label(word), box.width() - 6)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)

    def _pixmap(self, kind: str, result: Result, size: int) -> QPixmap | None:
        pixels = self._load(result.label) if kind == "seen" else result.pixels
        if pixels is None:
            return None
        ratio = self.devicePixelRatioF()
        key = (f"{kind}{result.label if kind == 'seen' else result.index}", size * ratio)
        if key not in self._pixmaps:
            if len(self._pixmaps) >= MAX_PIXMAPS:
                self._pixmaps.pop(next(iter(self._pixmaps)))
            self._pixmaps[key] = rounded_pixmap(to_image(pixels), size, radius=6, ratio=ratio)
        return self._pixmaps[key]
