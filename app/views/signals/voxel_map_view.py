"""The map of voxels on the screen: one image, and a line of its spread below.

Owns the colours and the painting; `VoxelMap` knows the data. A frame without a new sample paints
nothing.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.view_models.signals.voxel_map import VoxelMap
from app.views.common.painted import Painted, elided
from app.views.common.theme import px, text_font
from pipeline.values import Uint8

LOW, HIGH = (52, 120, 214), (222, 92, 60)
"""Colours of the least and the largest value; the middle is the theme's ground."""


class VoxelMapView(Painted):
    """Paints a `VoxelMap`; `refresh` is called once a frame."""

    def __init__(self, model: VoxelMap, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(QSize(320, 110))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Map of voxels")
        self._model = model
        self._seen = -1

    def refresh(self) -> None:
        """Paint anew where there is a new sample."""
        if self._seen != self._model.revision:
            self._seen = self._model.revision
            self.setAccessibleDescription(self._model.sentence)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the map, the sentence and the line of the spread."""
        _ = event
        painter = QPainter(self)
        painter.setFont(text_font(11))
        line, words = px(34), px(18)
        box = QRectF(0, 0, self.width(), max(1, self.height() - line - words))
        painter.drawImage(box, self._image(box.width() / box.height()))
        painter.setPen(self.theme.color("muted"))
        text = elided(painter.fontMetrics(), self._model.sentence, self.width())
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, box.bottom(), self.width(), words), flags, text)
        self._paint_spreads(painter, QRectF(0, box.bottom() + words, self.width(), line))
        painter.end()

    def _image(self, aspect: float) -> QImage:
        pixels: Uint8 = np.ascontiguousarray(self._colours()[self._model.grid(aspect)])
        height, width = pixels.shape[:2]
        return QImage(
            pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
        ).copy()

    def _colours(self) -> Uint8:
        """The 256 colours, (256, 3)."""
        ground = self.theme.color("raised")
        middle = np.array([ground.red(), ground.green(), ground.blue()], dtype=np.float64)
        share = np.abs(np.linspace(-1, 1, 255))[:, np.newaxis] ** 0.8
        ends = np.where(np.arange(255)[:, np.newaxis] < 127, np.array(LOW), np.array(HIGH))
        table = (middle + share * (ends - middle)).astype(np.uint8)
        return np.concatenate((table[127:128], table))

    def _paint_spreads(self, painter: QPainter, box: QRectF) -> None:
        spreads = list(self._model.spreads)
        if len(spreads) < 2:
            return
        top = max(spreads) or 1.0
        step = box.width() / (len(spreads) - 1)
        points = [
            QPointF(box.left() + k * step, box.bottom() - 2 - (box.height() - 6) * value / top)
            for k, value in enumerate(spreads)
        ]
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(*HIGH), 1.5))
        painter.drawPolyline(QPolygonF(points))
