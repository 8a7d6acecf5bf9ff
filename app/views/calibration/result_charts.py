"""Charts of a calibration: methods against chance, curves, epochs by concept.

Owns their painting. Each is given plain values and keeps nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import formatting
from app.calibration.results import CalibrationResult, MethodScore, Verdict
from app.report.svg import ticks
from app.views.common.painted import Painted, draw_bar, elided
from app.views.common.theme import px, small_font

_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_CENTRE = Qt.AlignmentFlag.AlignCenter


class ScoreChart(Painted):
    """Each method's accuracy with its interval, and the decoder before onset, against chance."""

    ROW = 26

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._result: CalibrationResult | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Methods against chance")
        self.fit()

    def fit(self) -> None:
        """Keep room for every row."""
        self.setMinimumHeight(px(self.ROW * max(1, len(self.rows)) + 20))

    @property
    def rows(self) -> list[tuple[str, float, float, float, float, str]]:
        """Name, accuracy, low, high, chance and tone of each line."""
        result = self._result
        if result is None:
            return []
        rows = [
            (
                ("▸ " if s.chosen else "") + s.name,
                *(s.accuracy, s.low, s.high, s.chance),
                tone_of(s, result),
            )
            for s in result.scores
        ]
        leak = result.leak
        if leak is not None:
            tone = "bad" if leak.is_leak else "muted"
            accuracy = leak.accuracy
            rows.append(("before onset", accuracy, accuracy, accuracy, leak.chance, tone))
        return rows

    def set_result(self, result: CalibrationResult | None) -> None:
        """Show a result's methods."""
        if result is self._result:
            return
        self._result = result
        words = [f"{name} {formatting.percent(value)}" for name, value, *_ in self.rows]
        self.setAccessibleDescription(", ".join(words))
        self.setToolTip("\n".join(words))
        self.fit()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint a line a method."""
        _ = event
        painter = self.painter()
        rows = self.rows
        names = min(230.0, 0.4 * self.across)
        left, right = names + 10, self.across - 62
        top = max([max(high, chance) for _, _, _, high, chance, _ in rows] + [0.02])
        marks = ticks(min(1.0, 1.05 * top), count=4)

        def x(value: float) -> float:
            return left + (right - left) * min(1.0, value / marks[-1])

        bottom = self.ROW * len(rows) + 2.0
        _grid(painter, self, [(x(mark), f"{100 * mark:g} %") for mark in marks], 2, bottom)
        for number, (name, value, low, high, chance, tone) in enumerate(rows):
            y = self.ROW * (number + 0.5) + 2
            chosen = name.startswith("▸")
            painter.setFont(small_font(12, bold=chosen))
            painter.setPen(self.theme.color("text" if chosen else "muted"))
            box = QRectF(0, y - 10, names, 20)
            painter.drawText(box, _RIGHT, elided(painter.fontMetrics(), name, names))
            painter.setPen(QPen(self.theme.color(tone), 2.4))
            painter.drawLine(QPointF(x(low), y), QPointF(x(high), y))
            painter.setPen(QPen(self.theme.color("warn"), 1.5, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x(chance), y - 10), QPointF(x(chance), y + 10))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self.theme.color(tone))
            painter.drawEllipse(QPointF(x(value), y), 4.5, 4.5)
            painter.setPen(self.theme.color("bad" if tone == "bad" else "text"))
            box = QRectF(self.across - 56, y - 10, 56, 20)
            painter.drawText(box, _RIGHT, formatting.percent(value))
        painter.end()


class LineChart(Painted):
    """A curve: accuracy over minutes, or a loss over passes."""

    def __init__(
        self, name: str, unit: str, *, percent: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._unit, self._percent = unit, percent
        self._points: tuple[tuple[float, float], ...] = ()
        self._chance: float | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(name)
        self.fit()

    def fit(self) -> None:
        """Keep room for the curve."""
        self.setMinimumSize(px(200), px(110))

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """What is drawn."""
        return self._points

    def set_points(
        self, points: Sequence[tuple[float, float]], *, chance: float | None = None
    ) -> None:
        """Show a curve."""
        points = tuple(points)
        if (points, chance) != (self._points, self._chance):
            self._points, self._chance = points, chance
            if points:
                self.setAccessibleDescription(f"{self._words(points[-1][1])} at the end")
            self.update()

    def _words(self, value: float) -> str:
        return formatting.percent(value) if self._percent else f"{value:.3g}"

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint axes, chance and the curve."""
        _ = event
        painter = self.painter()
        painter.setFont(small_font(12))
        if not self._points:
            painter.setPen(self.theme.color("faint"))
            painter.drawText(QRectF(0, 0, self.across, self.down), _CENTRE, "Nothing to draw yet")
            painter.end()
            return
        values = [value for _, value in self._points] + [self._chance or 0.0, 1e-9]
        x_marks = ticks(max(*(at for at, _ in self._points), 1e-9), count=5)
        y_marks = ticks(max(values), count=4)
        left, right, top, bottom = 46.0, self.across - 10, 8.0, self.down - 32

        def x(value: float) -> float:
            return left + (right - left) * value / x_marks[-1]

        def y(value: float) -> float:
            return bottom - (bottom - top) * value / y_marks[-1]

        _grid(painter, self, [(x(mark), f"{mark:g}") for mark in x_marks], top, bottom)
        painter.setPen(self.theme.color("muted"))
        for mark in y_marks:
            text = f"{100 * mark:g} %" if self._percent else f"{mark:g}"
            painter.drawText(QRectF(0, y(mark) - 8, left - 6, 16), _RIGHT, text)
        painter.drawText(QRectF(left, self.down - 16, right - left, 16), _CENTRE, self._unit)
        if self._chance is not None:
            painter.setPen(QPen(self.theme.color("warn"), 1.5, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(left, y(self._chance)), QPointF(right, y(self._chance)))
        painter.setPen(QPen(self.theme.color("good"), 2))
        places = [QPointF(x(at), y(value)) for at, value in self._points]
        for one, other in pairwise(places):
            painter.drawLine(one, other)
        painter.setBrush(self.theme.color("good"))
        for place in places if len(places) <= 20 else places[-1:]:
            painter.drawEllipse(place, 3, 3)
        painter.end()


class ConceptChart(Painted):
    """Good epochs of each concept as a row of bars; refused ones on top."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._counts: tuple[tuple[str, int, int], ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Good epochs by concept")
        self.setMinimumSize(px(240), px(110))

    @property
    def counts(self) -> tuple[tuple[str, int, int], ...]:
        """Concept, good and refused epochs."""
        return self._counts

    def set_counts(self, counts: Sequence[tuple[str, int, int]]) -> None:
        """Show the counts."""
        counts = tuple(counts)
        if counts != self._counts:
            self._counts = counts
            self.setToolTip("\n".join(f"{formatting.label(n)}: {g}" for n, g, _ in counts[:40]))
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint a bar a concept."""
        _ = event
        painter = self.painter()
        painter.setFont(small_font(11))
        if not self._counts:
            painter.end()
            return
        left, right, top, bottom = 26.0, self.across - 2, 6.0, self.down - 20
        marks = ticks(max(4, *(good + bad for _, good, bad in self._counts)), count=4)
        step = (right - left) / len(self._counts)
        scale = (bottom - top) / marks[-1]
        painter.setPen(self.theme.color("muted"))
        for mark in marks:
            y = bottom - mark * scale
            painter.setPen(self.theme.color("grid"))
            painter.drawLine(QPointF(left, y), QPointF(right, y))
            painter.setPen(self.theme.color("muted"))
            painter.drawText(QRectF(0, y - 8, left - 6, 16), _RIGHT, f"{mark:g}")
        for number, (_name, good, bad) in enumerate(self._counts):
            x, width = left + number * step, max(1.0, step - min(2.0, 0.25 * step))
            bar = QRectF(x, bottom - good * scale, width, good * scale)
            draw_bar(painter, bar, self.theme.color("good"), radius=2)
            rest = QRectF(x, bar.top() - bad * scale, width, bad * scale)
            if bad:
                draw_bar(painter, rest, self.theme.color("warn"), radius=2)
        painter.setPen(self.theme.color("faint"))
        foot = QRectF(left, self.down - 16, right - left, 16)
        words = f"{len(self._counts)} concepts; green: good epochs, amber: refused"
        painter.drawText(foot, _LEFT, elided(painter.fontMetrics(), words, foot.width()))
        painter.end()


def tone_of(score: MethodScore, result: CalibrationResult) -> str:
    """A method's tone: good only where the verdict says that something was found."""
    is_found = result.verdict is Verdict.FOUND and score.low > score.chance
    return "good" if is_found else "muted"


def _grid(
    painter: QPainter, chart: Painted, marks: list[tuple[float, str]], top: float, bottom: float
) -> None:
    painter.setFont(small_font(11))
    for x, text in marks:
        painter.setPen(chart.theme.color("grid"))
        painter.drawLine(QPointF(x, top), QPointF(x, bottom))
        painter.setPen(chart.theme.color("muted"))
        painter.drawText(QRectF(x - 30, bottom + 1, 60, 15), _CENTRE, text)
