"""The traces on the screen: labels, time axis, markers, scale bar, and the plot itself.

Owns painting and mouse; `TraceModel` knows the data and `TraceRaster` the pixels. In sweep mode
a frame touches only the columns that are new, in scroll mode the finished image is moved in two
pieces: the columns are never computed or drawn twice.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QHelpEvent,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import formatting
from app.view_models.signals.raster import TraceRaster
from app.view_models.signals.traces import TraceMode, TraceModel
from app.views.common.painted import Painted, elided
from app.views.common.theme import Theme, px, text_font

LEAST_LANE = 10
"""Height of a lane in which a trace can still be read, px at the usual size of text."""
CURSOR_GAP = 14
"""Columns that sweep mode blanks ahead of the cursor."""


class TraceWidget(Painted):
    """Paints a `TraceModel`; `refresh` is called once a frame."""

    scale_changed = Signal()

    def __init__(self, model: TraceModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(QSize(320, 110))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("EEG traces")
        self.message = ""
        """A sentence in the middle of an empty plot."""
        self._model = model
        self._raster: TraceRaster | None = None
        self._image: QImage | None = None
        self._seen = (-1, -1, -1, "")
        self._cursor = -1
        self._font = text_font(11)
        self._measure()

    def _measure(self) -> None:
        """Take the widths of what stands around the plot from the size of text."""
        self.gutter, self.margin, self.ruler, self.axis = px(62), px(58), px(20), px(20)

    @property
    def plot(self) -> QRect:
        """The part of the widget that holds the traces."""
        width = max(1, self.width() - self.gutter - self.margin)
        return QRect(self.gutter, self.ruler, width, max(1, self.height() - self.ruler - self.axis))

    def set_theme(self, theme: Theme) -> None:
        """Take another theme: everything is painted again."""
        super().set_theme(theme)
        self._font = text_font(11)
        self._measure()
        self._allocate()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the image to the new size."""
        super().resizeEvent(event)
        self._allocate()

    def refresh(self) -> None:
        """Paint what the model has new; cheap when nothing is."""
        model, raster = self._model, self._raster
        if raster is None:
            return
        painted = raster.paint(model)
        second = int(model.seconds_of(max(0, model.view_end)))
        seen = (model.revision, model.marker_revision, second, self.message)
        before, self._seen = self._seen, seen
        if seen[0] != before[0] or seen[3] != before[3]:
            self.update()
        elif painted is None:
            if seen[1] != before[1]:
                self._update_strips()
        elif model.mode is TraceMode.SCROLL:
            self.update(QRect(self.gutter, 0, self.plot.width(), self.height()))
        else:
            self._update_swept(*painted)
            if seen[1:3] != before[1:3]:
                self._update_strips()
        self._cursor = model.newest

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the parts that `event` asks for."""
        painter = QPainter(self)
        painter.setFont(self._font)
        dirty, plot = event.rect(), self.plot
        if dirty.intersects(plot):
            self._paint_plot(painter, plot)
        surface = self.theme.color("plot")
        for strip, paint in (
            (QRect(self.gutter, 0, plot.width(), self.ruler), self._paint_markers),
            (QRect(self.gutter, plot.bottom() + 1, plot.width(), self.axis), self._paint_axis),
            (QRect(0, 0, self.gutter, self.height()), self._paint_labels),
            (QRect(plot.right() + 1, 0, self.margin, self.height()), self._paint_scale),
        ):
            if dirty.intersects(strip):
                painter.fillRect(strip, surface)
                paint(painter, strip)
        painter.end()

    def event(self, event: QEvent) -> bool:
        """Say at the pointer why a channel is grey; fit the image to another screen's pixels."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            words = self.words_at(QPointF(event.pos()))
            if words:
                QToolTip.showText(event.globalPos(), words, self)
            else:
                QToolTip.hideText()
            return True
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            self._allocate()  # moved to a finer or coarser screen: the size may be the same
        return super().event(event)

    def words_at(self, point: QPointF) -> str:
        """What there is to say about the label under `point`."""
        channel, info = self._channel_at(point), self._model.info
        if channel is None or info is None:
            return ""
        bad = self._model.bad.get(channel)
        name = info.ch_names[channel]
        return f"{name}: {bad}" if bad else f"{name}: a click lets + and - act on it alone"

    def _channel_at(self, point: QPointF) -> int | None:
        """Number of the channel whose label is under `point`."""
        plot, shown = self.plot, self._model.shown
        lane = math.floor((point.y() - plot.top()) * len(shown) / plot.height())
        return shown[lane] if point.x() < self.gutter and 0 <= lane < len(shown) else None

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll back while paused; with Ctrl, or over a label, change the scale."""
        steps = event.angleDelta().y() / 120
        over_label = event.position().x() < self.gutter
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier or over_label:
            self._model.zoom(1 if steps > 0 else -1)
            self.scale_changed.emit()
        elif self._model.paused:
            self._model.scroll_back(round(steps * self._model.n_pixels / 10))
        else:
            event.ignore()
            return
        self.refresh()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose a channel by its label."""
        info = self._model.info
        channel = self._channel_at(event.position())
        if channel is not None and info is not None:
            self._model.select(channel)
            self.scale_changed.emit()
            self.refresh()
        super().mousePressEvent(event)

    def _allocate(self) -> None:
        ratio = self.devicePixelRatioF()
        plot = self.plot
        width, height = round(plot.width() * ratio), round(plot.height() * ratio)
        self._raster = TraceRaster(width, height, self.theme.raster(), ratio=ratio)
        pixels = self._raster.pixels
        # The image shares the array's memory; the raster must outlive it.
        self._image = QImage(
            pixels.data, width, height, int(pixels.strides[0]), QImage.Format.Format_RGB32
        )
        self._image.setDevicePixelRatio(ratio)
        self._model.fit_lanes(plot.height() // px(LEAST_LANE))
        self._model.resize(width)
        self.refresh()
        self.update()

    def _update_strips(self) -> None:
        self.update(QRect(self.gutter, 0, self.plot.width(), self.ruler))
        self.update(QRect(self.gutter, self.plot.bottom() + 1, self.plot.width(), self.axis))

    def _update_swept(self, first: int, last: int) -> None:
        """Ask for the columns from `first` to `last` and the gap ahead of the cursor."""
        plot, n_pixels = self.plot, self._model.n_pixels
        ratio = self.devicePixelRatioF()
        first = min(first, max(0, self._cursor)) - 2
        last += round(CURSOR_GAP * ratio) + 3
        if last - first >= n_pixels:
            self.update(plot)
            return
        left, right = first % n_pixels, last % n_pixels
        pieces = [(left, right)] if left <= right else [(left, n_pixels), (0, right)]
        for begin, end in pieces:
            x0, x1 = math.floor(begin / ratio), math.ceil((end + 1) / ratio)
            self.update(QRect(plot.left() + x0, plot.top(), x1 - x0, plot.height()))

    def _paint_plot(self, painter: QPainter, plot: QRect) -> None:
        model, image = self._model, self._image
        if image is None or model.info is None or model.newest < 0:
            painter.fillRect(plot, self.theme.color("plot"))
            painter.setPen(self.theme.color("muted"))
            painter.drawText(plot, Qt.AlignmentFlag.AlignCenter, self.message)
            return
        painter.save()
        painter.setClipRect(plot, Qt.ClipOperation.IntersectClip)
        if model.mode is TraceMode.SWEEP and not model.back:
            painter.drawImage(plot.topLeft(), image)
            self._paint_cursor(painter, plot)
        else:
            self._blit_scrolled(painter, plot, image)
        if model.paused:
            self._paint_badge(painter, plot)
        painter.restore()

    def _blit_scrolled(self, painter: QPainter, plot: QRect, image: QImage) -> None:
        ratio = self.devicePixelRatioF()
        width, height = image.width(), image.height()
        if self._model.view_end < width - 1:
            painter.drawImage(plot.topLeft(), image)
            return
        split = (self._model.view_end + 1) % width
        left = QRect(split, 0, width - split, height)
        painter.drawImage(plot.topLeft(), image, left)
        if split:
            # Not rounded: on a fine screen the seam may lie between two of the widget's pixels.
            at = QPointF(plot.left() + (width - split) / ratio, plot.top())
            painter.drawImage(at, image, QRectF(0, 0, split, height))

    def _paint_cursor(self, painter: QPainter, plot: QRect) -> None:
        ratio = self.devicePixelRatioF()
        n_pixels = self._model.n_pixels
        # Whole pixels: a rectangle between them is blended, at thirty times the cost.
        x = round((self._model.newest % n_pixels) / ratio)
        for start in (x + 1, x + 1 - round(n_pixels / ratio)):
            gap = QRect(plot.left() + start, plot.top(), CURSOR_GAP, plot.height())
            painter.fillRect(gap, self.theme.color("plot"))
        line = QRect(plot.left() + x, plot.top(), 1, plot.height())
        painter.fillRect(line, self.theme.color("accent"))

    def _paint_badge(self, painter: QPainter, plot: QRect) -> None:
        text = "Paused · P goes on · wheel or arrows look back"
        if self._model.back:
            ago = self._model.seconds_of(self._model.newest) - self._model.seconds_of(
                self._model.view_end
            )
            text = f"Paused · {ago:.1f} s before the newest"
        width = painter.fontMetrics().horizontalAdvance(text) + 24
        box = QRectF(plot.center().x() - width / 2, plot.top() + 8, width, 24)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self.theme.color("border"))
        painter.setBrush(self.theme.color("raised", 235))
        painter.drawRoundedRect(box, 12, 12)
        painter.setPen(self.theme.color("text"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)

    def _x_of(self, column: int) -> float:
        """Where an absolute column is shown, px from the widget's left."""
        model, ratio = self._model, self.devicePixelRatioF()
        if (model.mode is TraceMode.SWEEP and not model.back) or model.view_end < model.n_pixels:
            return self.gutter + (column % model.n_pixels) / ratio
        return self.gutter + (column - model.view_end + model.n_pixels - 1) / ratio

    def _paint_markers(self, painter: QPainter, strip: QRect) -> None:
        metrics = QFontMetrics(self._font)
        free_from: dict[int, float] = {}
        placed = sorted((self._x_of(c), m.label) for c, m in self._model.visible_markers())
        for at, (x, name) in enumerate(placed):
            following = placed[at + 1][0] if at + 1 < len(placed) else float(strip.right())
            painter.fillRect(QRect(round(x), 5, 1, self.ruler - 5), self.theme.color("marker"))
            room = min(following - x - 8, strip.right() - x - 6)
            if room < 18 or x < free_from.get(0, 0.0):
                continue
            text = elided(metrics, formatting.label(name), min(room, 110))
            painter.setPen(self.theme.color("muted"))
            painter.drawText(
                QRectF(x + 4, 0, room, self.ruler), Qt.AlignmentFlag.AlignVCenter, text
            )
            free_from[0] = x + 8 + metrics.horizontalAdvance(text)

    def _paint_axis(self, painter: QPainter, strip: QRect) -> None:
        model = self._model
        if model.info is None or model.store is None or model.newest < 0:
            return
        step = 1 if model.window <= 10 else (2 if model.window <= 20 else 5)
        begin = max(0, model.view_end - model.n_pixels + 1)
        first = math.ceil(model.seconds_of(begin) / step) * step
        per_second = model.info.sfreq / model.store.samples_per_column
        painter.setPen(self.theme.color("faint"))
        second = first
        while (column := math.ceil(second * per_second - 1e-6)) <= model.view_end:
            x = self._x_of(column)
            if x < strip.right() - 30:
                box = QRectF(x + 3, strip.top(), 48, strip.height())
                text = formatting.duration(second)
                painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, text)
            second += step

    def _paint_labels(self, painter: QPainter, strip: QRect) -> None:
        info = self._model.info
        if info is None or self._raster is None:
            return
        plot = self.plot
        shown = self._model.shown
        lane = plot.height() / max(1, len(shown))
        every = max(1, math.ceil(px(10) / lane))
        painter.setFont(text_font(11 if lane * every >= px(13) else 10))
        colors = self.theme.traces
        for channel in shown[::every]:
            centre = plot.top() + (channel - shown.start + 0.5) * lane
            bad = self._model.bad.get(channel)
            color = QColor(colors[channel % len(colors)]) if not bad else self.theme.color("faint")
            if self._model.selected == channel:
                back = QRectF(4, centre - 9, self.gutter - 8, 18)
                painter.fillRect(back, self.theme.color("hover"))
            name = info.ch_names[channel]
            gain = float(self._model.gains[channel])
            suffix = f" ×{gain:g}" if gain != 1 else ""
            # The reason's first word here, all of it at the pointer.
            text = f"{name} {bad.partition(':')[0]}" if bad else name + suffix
            painter.setPen(color)
            box = QRectF(8, centre - 8, strip.width() - 14, 16)
            flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
            painter.drawText(box, flags, elided(painter.fontMetrics(), text, box.width()))
        painter.setFont(self._font)

    def _paint_scale(self, painter: QPainter, strip: QRect) -> None:
        info = self._model.info
        if info is None:
            return
        plot = self.plot
        per_uv = plot.height() / max(1, self._model.n_lanes) / self._model.scale_uv
        value = _nice(46 / per_uv)
        height = value * per_uv
        x, top = strip.left() + 14.0, plot.top() + 14.0
        painter.setPen(QPen(self.theme.color("muted"), 1.5))
        painter.drawLine(
            QRectF(x, top, 0, height).topLeft(), QRectF(x, top + height, 0, 0).topLeft()
        )
        for y in (top, top + height):
            painter.drawLine(QRectF(x - 3, y, 0, 0).topLeft(), QRectF(x + 3, y, 0, 0).topLeft())
        painter.setPen(self.theme.color("muted"))
        text = f"{value:g} µV" if value < 1000 else f"{value / 1000:g} mV"
        painter.drawText(QRectF(x - 10, top + height + 3, 54, 16), 0, text)


def _nice(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))
