"""Icons, drawn with a pen: no files, no icon fonts, sharp at every scale and in every theme.

Owns their shapes.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

_SIZE = 64
SIDE, GAP = 16, 4
"""Edge of an icon, and its distance from the text beside it, px at the usual size of text."""


def icon(name: str, color: QColor, *, beside_text: bool = False) -> QIcon:
    """Return the icon called `name` in one colour; `beside_text` leaves `GAP` free at its right."""
    width = _SIZE * (SIDE + GAP) // SIDE if beside_text else _SIZE
    pixmap = QPixmap(width, _SIZE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(_SIZE / 16, _SIZE / 16)
    pen = QPen(color, 1.5)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    _SHAPES[name](painter, color)
    painter.end()
    return QIcon(pixmap)


def _fill(painter: QPainter, color: QColor) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)


def _play(painter: QPainter, color: QColor) -> None:
    _fill(painter, color)
    painter.drawPolygon(QPolygonF([QPointF(4.5, 3), QPointF(13, 8), QPointF(4.5, 13)]))


def _stop(painter: QPainter, color: QColor) -> None:
    _fill(painter, color)
    painter.drawRoundedRect(QRectF(4, 4, 8, 8), 1.2, 1.2)


def _record(painter: QPainter, color: QColor) -> None:
    _fill(painter, color)
    painter.drawEllipse(QPointF(8, 8), 4.6, 4.6)


def _pause(painter: QPainter, color: QColor) -> None:
    _fill(painter, color)
    painter.drawRoundedRect(QRectF(4, 3.5, 2.8, 9), 0.8, 0.8)
    painter.drawRoundedRect(QRectF(9.2, 3.5, 2.8, 9), 0.8, 0.8)


def _refresh(painter: QPainter, color: QColor) -> None:
    painter.drawArc(QRectF(3, 3, 10, 10), 40 * 16, 280 * 16)
    _fill(painter, color)
    painter.drawPolygon(QPolygonF([QPointF(10.2, 5.6), QPointF(14.2, 5.8), QPointF(12.6, 2.2)]))


def _sun(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawEllipse(QPointF(8, 8), 2.8, 2.8)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7)):
        painter.drawLine(QPointF(8 + 5 * dx, 8 + 5 * dy), QPointF(8 + 6.4 * dx, 8 + 6.4 * dy))
    painter.drawLine(QPointF(4.5, 4.5), QPointF(3.5, 3.5))


def _moon(painter: QPainter, color: QColor) -> None:
    disc, shade = QPainterPath(), QPainterPath()
    disc.addEllipse(QPointF(8, 8), 5.4, 5.4)
    shade.addEllipse(QPointF(10.8, 6.2), 4.8, 4.8)
    painter.fillPath(disc.subtracted(shade), color)


def _folder(painter: QPainter, color: QColor) -> None:
    _ = color
    path = QPainterPath(QPointF(2.5, 12.5))
    for x, y in ((2.5, 4), (6.2, 4), (7.6, 5.6), (13.5, 5.6), (13.5, 12.5), (2.5, 12.5)):
        path.lineTo(x, y)
    painter.drawPath(path)


def _screen(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawRoundedRect(QRectF(2.2, 3, 11.6, 8), 1.2, 1.2)
    painter.drawLine(QPointF(5.6, 13.4), QPointF(10.4, 13.4))


def _left(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawPolyline(QPolygonF([QPointF(9.8, 3.6), QPointF(5.6, 8), QPointF(9.8, 12.4)]))


def _right(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawPolyline(QPolygonF([QPointF(6.2, 3.6), QPointF(10.4, 8), QPointF(6.2, 12.4)]))


def _down(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawPolyline(QPolygonF([QPointF(4, 6.2), QPointF(8, 10.2), QPointF(12, 6.2)]))


def _up(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawPolyline(QPolygonF([QPointF(4, 9.8), QPointF(8, 5.8), QPointF(12, 9.8)]))


def _close(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawLine(QPointF(4.4, 4.4), QPointF(11.6, 11.6))
    painter.drawLine(QPointF(11.6, 4.4), QPointF(4.4, 11.6))


def _plus(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawLine(QPointF(8, 4), QPointF(8, 12))
    painter.drawLine(QPointF(4, 8), QPointF(12, 8))


def _minus(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawLine(QPointF(4, 8), QPointF(12, 8))


def _wave(painter: QPainter, color: QColor) -> None:
    _ = color
    points = ((1.5, 9), (4, 9), (5.4, 5), (7.6, 13), (9.6, 3), (11.2, 9), (14.5, 9))
    painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))


def _save(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawLine(QPointF(8, 2.5), QPointF(8, 9.5))
    painter.drawPolyline(QPolygonF([QPointF(5, 6.7), QPointF(8, 9.7), QPointF(11, 6.7)]))
    points = ((2.8, 9.8), (2.8, 13), (13.2, 13), (13.2, 9.8))
    painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))


def _copy(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawRoundedRect(QRectF(5.6, 5.6, 7.8, 7.8), 1.4, 1.4)
    points = ((3.6, 10.4), (2.6, 10.4), (2.6, 2.6), (10.4, 2.6), (10.4, 3.6))
    painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))


def _menu(painter: QPainter, color: QColor) -> None:
    _ = color
    for y in (4.5, 8.0, 11.5):
        painter.drawLine(QPointF(3, y), QPointF(13, y))


def _loop(painter: QPainter, color: QColor) -> None:
    points = ((12, 10.5), (4, 10.5), (4, 5.5), (11, 5.5))
    painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))
    _fill(painter, color)
    painter.drawPolygon(QPolygonF([QPointF(10, 2.8), QPointF(14, 5.5), QPointF(10, 8.2)]))


def _board(painter: QPainter, color: QColor) -> None:
    _ = color
    painter.drawRoundedRect(QRectF(4.4, 4.4, 7.2, 7.2), 1.2, 1.2)
    for at in (6.2, 9.8):
        painter.drawLine(QPointF(at, 4.4), QPointF(at, 2))
        painter.drawLine(QPointF(at, 11.6), QPointF(at, 14))
        painter.drawLine(QPointF(4.4, at), QPointF(2, at))
        painter.drawLine(QPointF(11.6, at), QPointF(14, at))


_SHAPES: dict[str, Callable[[QPainter, QColor], None]] = {
    "play": _play,
    "stop": _stop,
    "record": _record,
    "pause": _pause,
    "refresh": _refresh,
    "sun": _sun,
    "moon": _moon,
    "folder": _folder,
    "screen": _screen,
    "left": _left,
    "right": _right,
    "down": _down,
    "up": _up,
    "close": _close,
    "save": _save,
    "copy": _copy,
    "plus": _plus,
    "minus": _minus,
    "board": _board,
    "loop": _loop,
    "menu": _menu,
    "wave": _wave,
}
