"""One square picture, or a word where there is none.

Owns its scaling and painting; knows nothing of what it shows.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.views.common.painted import Painted, draw_bar, rounded_pixmap, to_image
from app.views.common.theme import text_font
from pipeline.values import Uint8


class PictureView(Painted):
    """One square picture, smoothly scaled; a cross or a word when there is none."""

    def __init__(
        self,
        *,
        hint: str = "",
        minimum: int = 120,
        radius: float = 8,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._hint = hint
        self._radius = radius
        self._image: QImage | None = None
        self._pixels: Uint8 | None = None
        self._scaled: QPixmap | None = None
        self._word = ""
        self.setMinimumSize(minimum, minimum)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    @property
    def has_picture(self) -> bool:
        """Whether a picture is shown."""
        return self._image is not None

    def sizeHint(self) -> QSize:
        """A comfortable square."""
        return QSize(200, 200)

    def set_pixels(self, pixels: Uint8 | None, *, word: str = "") -> None:
        """Show `pixels`, (height, width, 3) uint8; None: `word`, or the hint."""
        if pixels is self._pixels and word == self._word:
            return
        self._pixels, self._word, self._scaled = pixels, word, None
        self._image = None if pixels is None else to_image(pixels)
        self.update()

    def on_painted(self) -> None:
        """Hear that the picture stands on the screen; whoever wants to know replaces it."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the picture in the largest square at the bottom."""
        _ = event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        size = min(self.width(), self.height())
        x, y = (self.width() - size) / 2, float(self.height() - size)  # its label is below
        if self._image is not None:
            ratio = self.devicePixelRatioF()
            if self._scaled is None or self._scaled.width() != round(size * ratio):
                self._scaled = rounded_pixmap(self._image, size, radius=self._radius, ratio=ratio)
            painter.drawPixmap(QPointF(x, y), self._scaled)
        else:
            self._paint_empty(painter, QRectF(x, y, size, size))
        painter.end()
        self.on_painted()

    def _paint_empty(self, painter: QPainter, box: QRectF) -> None:
        draw_bar(painter, box, self.theme.color("raised"), radius=self._radius)
        text = self._word or self._hint
        painter.setFont(text_font(13 if self._word else 12))
        painter.setPen(self.theme.color("text" if self._word else "faint"))
        if text:
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(box.adjusted(8, 8, -8, -8), flags, text)
            return
        painter.setPen(QPen(self.theme.color("faint"), 2))
        centre = box.center()
        painter.drawLine(centre + QPointF(-7, 0), centre + QPointF(7, 0))
        painter.drawLine(centre + QPointF(0, -7), centre + QPointF(0, 7))
