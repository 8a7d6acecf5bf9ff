"""The surfaces that stimuli are painted on, and how one frame looks.

Owns OpenGL against raster and what each can promise: an OpenGL surface on a real graphics card is
swapped at the screen's refresh and says when; a raster one is copied to the screen at once and
knows of no refresh. What is shown when is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QGuiApplication,
    QOffscreenSurface,
    QOpenGLContext,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtOpenGLWidgets import QOpenGLWidget
from PySide6.QtWidgets import QWidget

from app import formatting
from app.presentation import Frame, Show
from app.views.common.theme import small_font

BACKGROUND = QColor(120, 120, 120)
"""Middle grey, as in most picture paradigms: the screen's brightness changes least."""
INK = QColor(20, 20, 20)
CATCH_COLOUR = QColor(255, 176, 0)
"""The cross of a catch trial: brighter than the ink as well, for whoever sees no colours."""
GL_RENDERER = 0x1F01
SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software", "swiftshader", "gdi generic")
"""Renderers without a screen of their own: they swap at once."""

Corner = Literal["off", "top-left", "top-right", "bottom-left", "bottom-right"]
Paint = Callable[[QPainter, QRectF], None]


@dataclass(frozen=True, slots=True)
class Square:
    """The photodiode's square: `side` in pixels, in a corner of the screen."""

    corner: Corner = "off"
    side: int = 80

    def box(self, area: QRectF) -> QRectF:
        """Where it lies in `area`."""
        right = area.right() - self.side if self.corner.endswith("right") else area.left()
        lower = area.bottom() - self.side if self.corner.startswith("bottom") else area.top()
        return QRectF(right, lower, self.side, self.side)


def picture_box(area: QRectF) -> QRectF:
    """Where the picture stands: square, in the middle, seven tenths of the smaller side."""
    size = round(0.7 * min(area.width(), area.height()))
    middle = area.center()
    return QRectF(round(middle.x() - size / 2), round(middle.y() - size / 2), size, size)


def paint_frame(
    painter: QPainter,
    area: QRectF,
    frame: Frame,
    *,
    picture: QPixmap | None,
    square: Square,
    note: str,
) -> None:
    """Paint what `frame` shows over the whole of `area`."""
    painter.fillRect(area, BACKGROUND)
    if frame.show in (Show.BREAK, Show.END):
        _paint_text(painter, area, frame.message, 28)
    elif frame.show is Show.STIMULUS and picture is not None:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(picture_box(area).toRect(), picture)
    elif frame.show is Show.STIMULUS and frame.label:
        _paint_text(painter, area, formatting.label(frame.label), 40)
    elif frame.show in (Show.FIXATION, Show.CATCH):
        _paint_cross(painter, area.center(), CATCH_COLOUR if frame.show is Show.CATCH else INK)
    if square.corner != "off":
        white = Qt.GlobalColor.white if frame.lit else Qt.GlobalColor.black
        painter.fillRect(square.box(area), white)
    if note:
        painter.setFont(small_font(14))
        painter.setPen(INK)
        painter.drawText(area.adjusted(16, 16, -16, -12), Qt.AlignmentFlag.AlignBottom, note)


def paint_words(painter: QPainter, area: QRectF, words: str) -> None:
    """Paint a sentence in the upper half, clear of the cross."""
    _paint_text(painter, area.adjusted(0, 0, 0, -0.5 * area.height()), words, 22)


def _paint_text(painter: QPainter, area: QRectF, text: str, size: int) -> None:
    painter.setFont(small_font(size))
    painter.setPen(INK)
    flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
    painter.drawText(area.adjusted(40, 40, -40, -40), flags, text)


def _paint_cross(painter: QPainter, centre: QPointF, colour: QColor) -> None:
    painter.setPen(QPen(colour, 3))
    painter.drawLine(centre - QPointF(14, 0), centre + QPointF(14, 0))
    painter.drawLine(centre - QPointF(0, 14), centre + QPointF(0, 14))


class RasterCanvas(QWidget):
    """Painted in memory and copied to the screen within `draw`."""

    flipped = Signal()
    waits_for_screen = False

    def __init__(self, paint: Paint, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._paint = paint

    def draw(self) -> None:
        """Paint; when it returns the picture has been handed to the screen."""
        self.repaint()
        self.flipped.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the frame of the moment."""
        _ = event
        painter = QPainter(self)
        self._paint(painter, QRectF(self.rect()))
        painter.end()


class GlCanvas(QOpenGLWidget):
    """Painted with OpenGL; `flipped` follows when the buffers have been swapped."""

    flipped = Signal()
    waits_for_screen = True

    def __init__(self, paint: Paint, parent: QWidget) -> None:
        super().__init__(parent)
        self._paint = paint
        self.frameSwapped.connect(self._swapped)

    def draw(self) -> None:
        """Ask for the next frame."""
        self.update()

    def paintGL(self) -> None:
        """Paint the frame of the moment."""
        painter = QPainter(self)
        self._paint(painter, QRectF(self.rect()))
        painter.end()

    def _swapped(self) -> None:
        # A driver may queue the swap and return; after this the picture is out.
        self.makeCurrent()
        self.context().functions().glFinish()
        self.doneCurrent()
        self.flipped.emit()


def has_graphics_card() -> bool:
    """Whether OpenGL works here and is not emulated in software."""
    if QGuiApplication.platformName() in ("offscreen", "minimal", "vnc", "linuxfb"):
        return False
    context, surface = QOpenGLContext(), QOffscreenSurface()
    if not context.create():
        return False
    surface.create()
    if not context.makeCurrent(surface):
        return False
    name = str(context.functions().glGetString(GL_RENDERER)).lower()
    context.doneCurrent()
    return not any(each in name for each in SOFTWARE)
