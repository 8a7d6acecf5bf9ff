"""How probable each picture of the grid is, as a small copy of the grid.

Owns the drawing: the light of a cell is its probability, its number stands below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPixmap

from app.view_models.attend.places import place
from app.views.common.painted import Painted, to_image
from app.views.common.theme import small_font
from pipeline.values import Float64, Uint8


class PosteriorMap(Painted):
    """The grid in small: `show_probabilities` in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(320, 280)
        self._pixmaps: list[QPixmap] = []
        self._posterior: Float64 | None = None
        self._cue: int | None = None
        self._answer: int | None = None

    def show_pictures(self, pictures: Sequence[Uint8]) -> None:
        """Take the grid's pictures."""
        self._pixmaps = [QPixmap.fromImage(to_image(each)) for each in pictures]
        self.show_probabilities(None)

    def show_probabilities(
        self, posterior: Float64 | None, *, cue: int | None = None, answer: int | None = None
    ) -> None:
        """Take the newest probabilities; None: nothing is known."""
        self._posterior, self._cue, self._answer = posterior, cue, answer
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the cells."""
        del event
        painter = self.painter()
        n = len(self._pixmaps)
        if not n:
            painter.end()
            return
        known = np.full(n, 1 / n) if self._posterior is None else self._posterior
        found = place(n, round(self.across), round(self.down))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        for k, box in enumerate(found.boxes):
            self._paint_cell(painter, k, QRectF(box.x, box.y, box.side, box.side), known)
        painter.end()

    def _paint_cell(self, painter: QPainter, k: int, cell: QRectF, known: Float64) -> None:
        share = float(known[k])
        painter.setOpacity(0.18 + 0.82 * share**0.5)
        painter.drawPixmap(cell.toRect(), self._pixmaps[k])
        painter.setOpacity(1.0)
        bar = QRectF(cell.left(), cell.bottom() + 2, cell.width(), 4)
        painter.fillRect(bar, QColor(self.theme.border))
        bar.setWidth(share * cell.width())
        painter.fillRect(bar, QColor(self.theme.accent))
        if share >= 0.1:
            painter.setFont(small_font(10))
            painter.setPen(QColor(self.theme.text))
            below = QRectF(cell.left(), bar.bottom(), cell.width(), 14)
            painter.drawText(below, Qt.AlignmentFlag.AlignCenter, f"{share:.0%}")
        for which, tone in ((self._cue, self.theme.warn), (self._answer, self.theme.good)):
            if which == k:
                painter.setPen(QPen(QColor(tone), 2))
                painter.drawRect(cell.adjusted(-2, -2, 2, 2))
