"""Plots of the signal: spectrum, averaged responses, loss and rate over time.

Owns their painting; each is given a model and keeps nothing else.
"""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import formatting
from app.view_models.signals.evoked import EvokedModel
from app.view_models.signals.spectrum import FLAG_DB, LINES_HZ, SpectrumModel
from app.view_models.signals.stream_health import ALERT_SHARE, StreamHealthModel
from app.views.common.painted import Painted, elided
from app.views.common.theme import px, small_font
from pipeline.values import Float64

_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_CENTRE = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
GUTTER, AXIS = 50, 20


class SignalPlot(Painted):
    """A plot with axes; paints again when its model's revision changed."""

    empty = "No data yet"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._revision = -1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.fit()

    def fit(self) -> None:
        """Keep room for axes and curves."""
        self.setMinimumSize(QSize(px(240), px(110)))

    def refresh(self, revision: int, sentence: str) -> None:
        """Paint again when `revision` differs from what is shown."""
        if revision != self._revision:
            self._revision = revision
            self.setAccessibleDescription(sentence)
            self.update()

    def box(self) -> QRectF:
        """Where the curves go."""
        return QRectF(GUTTER, 6, max(1, self.across - GUTTER - 10), self.down - 6 - AXIS)

    def paint_empty(self, painter: QPainter) -> None:
        """Say why there is nothing to see."""
        painter.setFont(small_font(12))
        painter.setPen(self.theme.color("faint"))
        painter.drawText(QRectF(20, 0, self.across - 40, self.down), _CENTRE, self.empty)

    def y_line(self, painter: QPainter, y: float, text: str, *, strong: bool = False) -> None:
        """Draw a horizontal line with its value."""
        box = self.box()
        painter.setPen(self.theme.color("border" if strong else "grid"))
        painter.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
        painter.setPen(self.theme.color("faint"))
        painter.drawText(QRectF(0, y - 8, GUTTER - 6, 16), _RIGHT, text)

    def x_line(self, painter: QPainter, x: float, text: str, tone: str = "grid") -> None:
        """Draw a vertical line with its value below."""
        box = self.box()
        painter.setPen(QPen(self.theme.color(tone), 1.2 if tone != "grid" else 1.0))
        painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
        painter.setPen(self.theme.color("faint" if tone == "grid" else tone))
        left = min(max(GUTTER - 20.0, x - 34), self.across - 68.0)
        painter.drawText(
            QRectF(left, box.bottom() + 3, 68, 16), Qt.AlignmentFlag.AlignHCenter, text
        )

    def curve(self, painter: QPainter, x: Float64, y: Float64, pen: QPen) -> None:
        """Draw a line through points."""
        painter.setPen(pen)
        pairs = zip(x.tolist(), y.tolist(), strict=True)
        painter.drawPolyline(QPolygonF([QPointF(a, b) for a, b in pairs]))


class SpectrumPlot(SignalPlot):
    """Every channel faint, their median strong, the mains flagged."""

    empty = "The spectrum needs two seconds of data without a gap"

    def __init__(self, model: SpectrumModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.setAccessibleName("Spectrum")
        self.setToolTip("Power by frequency of the newest 8 s, before any filter")

    @property
    def sentence(self) -> str:
        """What is flagged, in words."""
        found = self._model.spectrum
        if found is None:
            return "no spectrum yet"
        if not found.lines:
            return f"mains at 50 and 60 Hz: below +{FLAG_DB:g} dB"
        return ", ".join(f"mains at {line:g} Hz, +{db:.0f} dB" for line, db in found.lines)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint axes, bands and curves."""
        _ = event
        painter = self.painter()
        found = self._model.spectrum
        if found is None:
            self.paint_empty(painter)
            painter.end()
            return
        painter.setFont(small_font(11))
        box = self.box()
        low = 10 * math.floor(float(np.percentile(found.median, 2)) / 10) - 10
        high = max(low + 30.0, 10 * math.ceil(float(found.median.max()) / 10 + 0.2))
        top = float(found.freqs[-1])
        x = box.left() + box.width() * found.freqs / top
        flagged = dict(found.lines)
        for level in range(int(low), int(high) + 1, 10 if high - low <= 60 else 20):
            y = box.bottom() - box.height() * (level - low) / (high - low)
            self.y_line(painter, y, f"{level} dB" if level + 10 > high else f"{level}")
        for hertz in range(10, int(top) + 1, 10):
            place = box.left() + box.width() * hertz / top
            if hertz in LINES_HZ and hertz in flagged:
                self.x_line(painter, place, f"{hertz} Hz", "warn")
            else:
                self.x_line(painter, place, f"{hertz} Hz")
        painter.setClipRect(box)
        levels = box.bottom() - box.height() * (found.levels - low) / (high - low)
        faint = QPen(self.theme.color("accent", 46), 1)
        for row in levels:
            self.curve(painter, x, row, faint)
        median = box.bottom() - box.height() * (found.median - low) / (high - low)
        self.curve(painter, x, median, QPen(self.theme.color("accent"), 2))
        painter.setPen(self.theme.color("faint"))
        unit = QRectF(box.left() + 6, box.bottom() - 18, 200, 16)
        painter.drawText(unit, _LEFT, "dB above 1 µV²/Hz")
        painter.setFont(small_font(11, bold=True))
        for line, excess in found.lines:
            painter.setPen(self.theme.color("warn"))
            place = box.left() + box.width() * line / top
            right = place > box.right() - 130
            label = QRectF(place - 126 if right else place + 6, box.top() + 2, 120, 16)
            painter.drawText(label, _RIGHT if right else _LEFT, f"mains +{excess:.0f} dB")
        painter.end()


class EvokedPlot(SignalPlot):
    """One channel's average response, a line for each category."""

    empty = "Averages build up here from the epoch behind every decoded picture"

    def __init__(self, model: EvokedModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.tmin, self.sfreq = -0.2, 250.0
        self.setAccessibleName("Averaged responses")

    @property
    def sentence(self) -> str:
        """What is averaged, in words."""
        model = self._model
        if not model.n_epochs:
            return "no epoch yet"
        text = f"{formatting.count(model.n_epochs, 'epoch')}"
        shown = len(model.evoked)
        if model.n_categories > shown:
            return f"{text}, the {shown} commonest of {model.n_categories} categories"
        return text

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint axes, curves and their names."""
        _ = event
        painter = self.painter()
        evoked = self._model.evoked
        if not evoked or evoked[0].average.shape[1] < 2:
            self.paint_empty(painter)
            painter.end()
            return
        painter.setFont(small_font(11))
        rows = np.stack([each.average[self._model.channel] for each in evoked])
        self._paint_axes(painter, limit := _round_up(1.1 * float(np.abs(rows).max())), rows)
        box = self._curves()
        x = box.left() + box.width() * np.arange(rows.shape[1]) / (rows.shape[1] - 1)
        for at, (each, row) in enumerate(zip(evoked, rows, strict=True)):
            color = self._color(at)
            y = box.center().y() - row / limit * box.height() / 2
            style = Qt.PenStyle.SolidLine if at < 5 else Qt.PenStyle.DashLine
            self.curve(painter, x, y, QPen(color, 1.8, style))
            words = f"{formatting.label(each.category)} · {each.n}"
            self._paint_name(painter, at, words, QPen(color, 3, style))
        painter.end()

    def _curves(self) -> QRectF:
        box = self.box()
        box.setRight(box.right() - 150)
        return box

    def _color(self, at: int) -> QColor:
        colors = self.theme.traces
        return QColor(colors[at % len(colors)])

    def _paint_name(self, painter: QPainter, at: int, text: str, pen: QPen) -> None:
        y, left = 8.0 + 18 * at, self._curves().right() + 14
        if pen.style() is Qt.PenStyle.DashLine:
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)  # square ends would close the gaps
            pen.setDashPattern([1.6, 1.0])
        painter.setPen(pen)
        painter.drawLine(QPointF(left, y + 8), QPointF(left + 13, y + 8))
        painter.setPen(self.theme.color("text"))
        room = self.across - left - 20.0
        painter.drawText(
            QRectF(left + 18, y, room, 16), _LEFT, elided(painter.fontMetrics(), text, room)
        )

    def _paint_axes(self, painter: QPainter, limit: float, rows: Float64) -> None:
        box = self._curves()
        for value in (-limit, 0.0, limit):
            y = box.center().y() - value / limit * box.height() / 2
            text = f"{value:g} µV" if value > 0 else f"{value:g}"
            self.y_line(painter, y, text, strong=value == 0)
        # The lines would run under the names.
        names = QRectF(box.right() + 1, 0, self.across - box.right(), self.down)
        painter.fillRect(names, self.theme.color("surface"))
        span = (rows.shape[1] - 1) / self.sfreq
        for ms in range(-1000, 3001, 200):
            at = (ms / 1000 - self.tmin) / span
            if -1e-9 <= at <= 1:
                tone = "warn" if ms == 0 else "grid"
                text = "onset" if ms == 0 else f"{ms} ms"
                self.x_line(painter, box.left() + at * box.width(), text, tone)


class HealthPlot(SignalPlot):
    """Loss by second as bars, the rate as a line, over the last minutes."""

    empty = "Loss and rate are drawn from the first seconds on"
    SPANS = (60.0, 120.0, 300.0, 600.0)

    def __init__(self, model: StreamHealthModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.setAccessibleName("Packet loss and effective rate")

    @property
    def sentence(self) -> str:
        """Loss and rate in words."""
        model = self._model
        parts = []
        if model.last_minute is not None:
            parts.append(f"lost in the last minute: {formatting.percent(model.last_minute)}")
        rates = [point.rate for point in model.points if point.rate is not None]
        if rates:
            parts.append(f"{rates[-1]:.1f} samples/s over 10 s")
        return " · ".join(parts) or "no data yet"

    @property
    def alert(self) -> bool:
        """Whether more was lost in the last minute than should be."""
        return (self._model.last_minute or 0.0) > ALERT_SHARE

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the loss above, the rate below."""
        _ = event
        painter = self.painter()
        points = list(self._model.points)
        if len(points) < 2:
            self.paint_empty(painter)
            painter.end()
            return
        painter.setFont(small_font(11))
        box = self.box()
        newest = points[-1].at
        span = next((s for s in self.SPANS if s >= newest), self.SPANS[-1])
        start = max(0.0, newest - span)
        for part in range(5):
            at = start + span * part / 4
            x = box.left() + box.width() * part / 4
            self.x_line(painter, x, formatting.duration(at))
        half = box.height() / 2
        self._paint_loss(
            painter, QRectF(box.left(), box.top(), box.width(), half - 14), start, span
        )
        below = QRectF(box.left(), box.top() + half + 10, box.width(), half - 12)
        self._paint_rate(painter, below, start, span)
        painter.end()

    def _paint_loss(self, painter: QPainter, box: QRectF, start: float, span: float) -> None:
        shares = [point.lost for point in self._model.points if point.at >= start]
        top = max(0.05, _round_up(max(shares, default=0.0)))
        self.y_line(painter, box.bottom(), "0 %", strong=True)
        self.y_line(painter, box.top() + 6, f"{100 * top:g} %")
        painter.setPen(self.theme.color("muted"))
        painter.drawText(QRectF(box.left() + 6, box.top() - 2, 300, 16), _LEFT, "lost, by second")
        width = max(2.0, box.width() / span - 1)
        known = [point.at for point in self._model.points if point.at >= start]
        if known:  # seconds without a loss are seen, not just left empty
            x = box.left() + box.width() * (np.array([known[0], known[-1]]) - start) / span
            self.curve(painter, x, np.full(2, box.bottom()), QPen(self.theme.color("good"), 2))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("bad"))
        for point in self._model.points:
            if point.at < start or point.lost <= 0:
                continue
            right = box.left() + box.width() * (point.at - start) / span
            height = max(2.0, (box.height() - 6) * min(1.0, point.lost / top))
            painter.drawRect(QRectF(right - width, box.bottom() - height, width, height))

    def _paint_rate(self, painter: QPainter, box: QRectF, start: float, span: float) -> None:
        nominal = self._model.nominal or 1.0
        known = [(p.at, p.rate) for p in self._model.points if p.rate is not None and p.at >= start]
        off = max([abs(rate - nominal) / nominal for _, rate in known], default=0.0)
        reach = max(0.01, _round_up(off * 1.05)) * nominal
        for value in (nominal - reach, nominal, nominal + reach):
            y = box.center().y() - (value - nominal) / reach * box.height() / 2
            text = f"{value:.0f} Hz" if value == nominal else f"{value - nominal:+.3g}"
            self.y_line(painter, y, text, strong=value == nominal)
        painter.setPen(self.theme.color("muted"))
        label = QRectF(box.left() + 6, box.top() - 4, 300, 16)
        painter.drawText(label, _LEFT, "samples a second, over 10 s")
        if len(known) > 1:
            x = box.left() + box.width() * (np.array([at for at, _ in known]) - start) / span
            rates = np.array([rate for _, rate in known])
            y_of = box.center().y() - (rates - nominal) / reach * box.height() / 2
            painter.setClipRect(box)
            self.curve(painter, x, y_of, QPen(self.theme.color("good"), 2))
            painter.setClipping(False)


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(value, 1e-6)))
    return float(next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value - 1e-12))
