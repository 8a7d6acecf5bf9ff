"""The base of the widgets that paint themselves.

Owns the theme they paint with and small helpers of painting.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QImage,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPalette,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)

from app.views.common.icons import GAP, SIDE, icon
from app.views.common.theme import DARK, Theme, text_scale
from configs.plain import plain
from pipeline.values import Uint8


class Painted(QWidget):
    """A widget that paints itself in the colours of a theme."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = DARK

    def set_theme(self, theme: Theme) -> None:
        """Take another set of colours, and the size of text of the moment."""
        self.theme = theme
        self.fit()
        self.update()

    def fit(self) -> None:
        """Set the sizes that depend on the size of text."""

    @property
    def across(self) -> float:
        """Width in the units of `painter`."""
        return self.width() / text_scale()

    @property
    def down(self) -> float:
        """Height in the units of `painter`."""
        return self.height() / text_scale()

    def painter(self) -> QPainter:
        """Return a painter that scales everything with the text."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.scale(text_scale(), text_scale())
        return painter


class Combo(QComboBox):
    """A drop-down list with a drawn arrow, because a style sheet takes Qt's own away."""

    def __init__(self, parent: QWidget | None = None, *, small: bool = False) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        if small:
            self.setProperty("kind", "small")

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the list's head, its text cut at the end where there is no room; then the arrow."""
        if self.isEditable():
            super().paintEvent(event)
        else:
            self._paint_head()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = self.palette().color(self.foregroundRole())
        color.setAlpha(170 if self.isEnabled() else 80)
        painter.setPen(QPen(color, 1.5, c=Qt.PenCapStyle.RoundCap))
        x, y = self.width() - 14.0, self.height() / 2 + 0.5
        painter.drawPolyline(
            [QPointF(x - 3.5, y - 2), QPointF(x, y + 1.5), QPointF(x + 3.5, y - 2)]
        )
        painter.end()

    def _paint_head(self) -> None:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = elided(self.fontMetrics(), self.currentText(), self.width() - 32)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()


class Check(QCheckBox):
    """A box with a drawn tick: a style sheet takes Qt's own away, and colour alone says little."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the box, then the tick."""
        super().paintEvent(event)
        if not self.isChecked():
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = self.palette().color(QPalette.ColorRole.HighlightedText)
        size = text_scale() * 17
        painter.setPen(QPen(color, 2 * text_scale(), c=Qt.PenCapStyle.RoundCap))
        left, middle = 1.0, self.height() / 2
        painter.drawPolyline(
            [
                QPointF(left + 0.26 * size, middle),
                QPointF(left + 0.44 * size, middle + 0.19 * size),
                QPointF(left + 0.78 * size, middle - 0.2 * size),
            ]
        )
        painter.end()


class Button(QPushButton):
    """A button with a drawn icon; a click does not take the keyboard away from the window."""

    def __init__(
        self, text: str = "", *, icon_name: str = "", kind: str = "", tip: str = ""
    ) -> None:
        super().__init__(text)
        self._icon_name = icon_name
        self._kind = kind
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        if kind:
            self.setProperty("kind", kind)
        if tip:
            self.setToolTip(tip)
            self.setAccessibleName(tip.split(" (", maxsplit=1)[0])

    def set_icon_name(self, name: str, theme: Theme) -> None:
        """Show another icon."""
        self._icon_name = name
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        """Draw the icon in the theme's colours."""
        if not self._icon_name:
            return
        color = theme.color("text")
        if self._icon_name == "record":
            color = theme.color("record")
        elif self._kind in ("primary", "large"):
            color = theme.color("accent_text" if self.isEnabled() else "faint")
        beside = bool(self.text())  # Qt leaves next to nothing between icon and text
        self.setIcon(icon(self._icon_name, color, beside_text=beside))
        side = SIDE + GAP if beside else SIDE
        self.setIconSize(QSize(round(side * text_scale()), round(SIDE * text_scale())))


class ElidedLabel(QLabel):
    """One line of text that is cut at its end where there is no room, never in mid-letter."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("role", role)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._whole = ""

    def set_whole(self, text: str) -> None:
        """Show `text`, as much of it as fits."""
        if text != self._whole:
            self._whole = text
            self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the text to the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        set_text(self, elided(self.fontMetrics(), self._whole, self.width() - 4))


def text_label(text: str = "", role: str = "") -> QLabel:
    """Return a label styled by `role`; nothing in it is taken for mark-up."""
    label = QLabel(plain(text, limit=None, keep="\n\t"))
    label.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        label.setProperty("role", role)
    return label


def set_text(label: QLabel, text: str) -> None:
    """Change a label's text only when it differs: most frames change nothing."""
    text = plain(text, limit=None, keep="\n\t")
    if label.text() != text:
        label.setText(text)


def plain_tip(text: str) -> str:
    """Text for a tool tip, which Qt would take for mark-up where it looks like some."""
    return plain(text, limit=None, keep="\n").replace("<", "‹")


def set_tone(widget: QWidget, tone: str) -> None:
    """Change the tone (`good`, `warn`, `bad` or none) a style sheet looks at."""
    if widget.property("tone") != tone:
        widget.setProperty("tone", tone)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def to_image(pixels: Uint8) -> QImage:
    """Return an own copy of `pixels`, (height, width, 3) uint8, as an image."""
    data = np.ascontiguousarray(pixels)
    height, width = data.shape[:2]
    return QImage(data.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


def rounded_pixmap(image: QImage, size: int, *, radius: float, ratio: float = 1.0) -> QPixmap:
    """Return `image` smoothly scaled to a square of `size` px with round corners."""
    device = max(1, round(size * ratio))
    scaled = image.scaled(
        device,
        device,
        Qt.AspectRatioMode.KeepAspectRatioByExpanding,
        Qt.TransformationMode.SmoothTransformation,
    )
    pixmap = QPixmap(device, device)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    path = QPainterPath()
    path.addRoundedRect(QRectF(0, 0, device, device), radius * ratio, radius * ratio)
    painter.setClipPath(path)
    painter.drawImage((device - scaled.width()) // 2, (device - scaled.height()) // 2, scaled)
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


def elided(metrics: QFontMetrics, text: str, width: float) -> str:
    """Return `text`, cut at its end when it is wider than `width` px."""
    return metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0, int(width)))


def draw_bar(painter: QPainter, rect: QRectF, color: QColor, *, radius: float = 3.0) -> None:
    """Fill a rounded bar; one too short for its corners becomes a thin line."""
    if rect.width() <= 0:
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    radius = min(radius, rect.width() / 2, rect.height() / 2)
    painter.drawRoundedRect(rect, radius, radius)
