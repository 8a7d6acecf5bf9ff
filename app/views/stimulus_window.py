"""A second window for the person with the headset: stimulus or fixation cross, nothing else.

Owns presentation only; the session decides what is shown and stamps its markers.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.view_models import formatting
from app.view_models.pictures import PictureLoader
from app.views.painted import to_image
from app.views.theme import small_font

BACKGROUND = QColor(120, 120, 120)
"""Middle grey, as in most picture paradigms: the screen's brightness changes least."""


class StimulusWindow(QWidget):
    """Shows the stimulus of the moment; F11 toggles full screen, Esc closes."""

    def __init__(self, load_picture: PictureLoader, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Phosphene – stimuli")
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.resize(720, 540)
        self._load = load_picture
        self._label: str | None = None
        self._image: QImage | None = None

    @property
    def label(self) -> str | None:
        """The label that is shown."""
        return self._label

    def show_stimulus(self, label: str | None) -> None:
        """Show the picture of `label`; None: the fixation cross."""
        if label == self._label:
            return
        self._label = label
        pixels = self._load(label) if label else None
        self._image = None if pixels is None else to_image(pixels)
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """F11 toggles full screen, Esc leaves."""
        if event.key() == Qt.Key.Key_F11:
            self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)
        elif event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the stimulus over grey."""
        _ = event
        painter = QPainter(self)
        painter.fillRect(self.rect(), BACKGROUND)
        centre = QPointF(self.rect().center())
        if self._image is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            size = 0.7 * min(self.width(), self.height())
            box = QRectF(centre.x() - size / 2, centre.y() - size / 2, size, size)
            painter.drawImage(box, self._image)
        elif self._label:
            painter.setFont(small_font(40))
            painter.setPen(QColor(20, 20, 20))
            flags = Qt.AlignmentFlag.AlignCenter
            painter.drawText(self.rect(), flags, formatting.label(self._label))
        else:
            painter.setPen(QPen(QColor(20, 20, 20), 3))
            painter.drawLine(centre - QPointF(14, 0), centre + QPointF(14, 0))
            painter.drawLine(centre - QPointF(0, 14), centre + QPointF(0, 14))
        painter.end()
