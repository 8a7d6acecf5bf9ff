"""The epoch behind one picture: all channels over each other, around the onset.

Owns the plot only.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.views.common.painted import Painted
from app.views.common.theme import px, small_font
from pipeline.values import Float32

_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 8, 10, 22


class EpochPlot(Painted):
    """A butterfly plot: microvolts over milliseconds from onset."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._data: Float32 | None = None
        self._tmin = -0.2
        self._sfreq = 250.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Epoch")
        self.fit()

    def fit(self) -> None:
        """Keep room for axes and curves."""
        self.setMinimumSize(QSize(px(320), px(200)))

    @property
    def has_epoch(self) -> bool:
        """Whether an epoch is shown."""
        return self._data is not None

    def set_epoch(self, data: Float32 | None, *, tmin: float, sfreq: float) -> None:
        """Show `data`, (n_channels, n_times) microvolts from `tmin` s on; None: a sentence."""
        self._data, self._tmin, self._sfreq = data, tmin, sfreq
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint grid, onset and channels."""
        _ = event
        painter = self.painter()
        painter.setFont(small_font(11))
        box = QRectF(_LEFT, _TOP, max(1, self.across - _LEFT - _RIGHT), self.down - _TOP - _BOTTOM)
        painter.fillRect(box, self.theme.color("plot"))
        if self._data is None or self._data.shape[1] < 2:
            painter.setPen(self.theme.color("muted"))
            text = "The epoch is kept for the newest pictures only; the recording has them all."
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(box.adjusted(20, 0, -20, 0), flags, text)
        else:
            self._paint_epoch(painter, box, self._data)
        painter.end()

    def _paint_epoch(self, painter: QPainter, box: QRectF, data: Float32) -> None:
        n_channels, n_times = data.shape
        finite = np.nan_to_num(data)
        limit = _round_up(float(np.percentile(np.abs(finite), 99.7)) * 1.1)
        tmax = self._tmin + (n_times - 1) / self._sfreq
        x = box.left() + box.width() * np.arange(n_times) / (n_times - 1)
        y = box.center().y() - finite / limit * box.height() / 2
        self._paint_grid(painter, box, limit=limit, tmax=tmax)
        painter.setClipRect(box)
        colors = self.theme.traces
        for channel in range(n_channels):
            color = QColor(colors[channel % len(colors)])
            color.setAlpha(255 if n_channels <= 8 else 150)
            painter.setPen(QPen(color, 1.1))
            pairs = zip(x.tolist(), y[channel].tolist(), strict=True)
            painter.drawPolyline(QPolygonF([QPointF(a, b) for a, b in pairs]))
        painter.setClipping(False)

    def _paint_grid(self, painter: QPainter, box: QRectF, *, limit: float, tmax: float) -> None:
        for value in (-limit, -limit / 2, 0.0, limit / 2, limit):
            y = box.center().y() - value / limit * box.height() / 2
            painter.setPen(self.theme.color("border" if value == 0 else "grid"))
            painter.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
            painter.setPen(self.theme.color("faint"))
            flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            text = f"{value:g} µV" if value == limit else f"{value:g}"
            painter.drawText(QRectF(0, y - 8, _LEFT - 6, 16), flags, text)
        span = tmax - self._tmin
        for ms in range(-10000, 10001, 200):
            at = ms / 1000
            if not self._tmin - 1e-6 <= at <= tmax + 1e-6:
                continue
            x = box.left() + (at - self._tmin) / span * box.width()
            painter.setPen(QPen(self.theme.color("warn" if ms == 0 else "grid"), 1.2))
            painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
            painter.setPen(self.theme.color("faint"))
            text = "onset" if ms == 0 else f"{ms} ms"
            left = min(max(_LEFT - 18.0, x - 30), self.across - 60.0)
            place = QRectF(left, box.bottom() + 4, 60, 16)
            painter.drawText(place, Qt.AlignmentFlag.AlignHCenter, text)


def _round_up(value: float) -> float:
    power = 10.0 ** np.floor(np.log10(max(value, 1e-3)))
    return float(next(step * power for step in (1, 2, 4, 6, 10) if step * power >= value))
