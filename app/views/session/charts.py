"""Small charts: ranked concepts, accuracy against chance, latency by stage, outcomes.

Owns their painting. Each is given plain values and keeps nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import formatting
from app.accuracy import Accuracy
from app.port import TOO_FEW, is_above_chance
from app.views.common.painted import Painted, draw_bar, elided
from app.views.common.theme import px, small_font
from pipeline.values import Outcome

_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class TopList(Painted):
    """Ranked labels with their probabilities, and a line at chance."""

    ROW = 20

    def __init__(self, *, n_rows: int = 5, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._n_rows = n_rows
        self._top: tuple[tuple[str, float], ...] = ()
        self._truth: str | None = None
        self._rank: int | None = None
        self._chance: float | None = None
        self.fit()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Ranked concepts")

    def fit(self) -> None:
        """Keep room for all rows and the line that explains them."""
        self.setFixedHeight(self.height_of(self._n_rows))

    def height_of(self, n_rows: int) -> int:
        """How high it is with `n_rows` rows, px."""
        return px(n_rows * self.ROW + 16)

    def set_n_rows(self, n_rows: int) -> None:
        """Show `n_rows` rows."""
        if n_rows != self._n_rows:
            self._n_rows = n_rows
            self.fit()
            self.update()

    @property
    def rows(self) -> tuple[tuple[str, float], ...]:
        """Labels and probabilities that are shown."""
        return self._top[: self._n_rows]

    def set_values(
        self,
        top: tuple[tuple[str, float], ...],
        *,
        truth: str | None = None,
        rank: int | None = None,
        chance: float | None = None,
    ) -> None:
        """Show `top`; the label equal to `truth`, which stands at `rank`, is marked."""
        if (top, truth, rank, chance) != (self._top, self._truth, self._rank, self._chance):
            self._top, self._truth, self._rank, self._chance = top, truth, rank, chance
            self.setAccessibleDescription(
                ", ".join(f"{name} {formatting.percent(p)}" for name, p in self.rows)
            )
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint rows, bars and the chance line."""
        _ = event
        painter = self.painter()
        painter.setFont(small_font(12))
        metrics = painter.fontMetrics()
        names = min(150.0, self.across * 0.4)
        bars = QRectF(names + 8, 0, max(10.0, self.across - names - 66), 0)
        rows = self.rows
        highest = max([p for _, p in rows] + [2 * (self._chance or 0.0), 1e-6])
        for at in range(self._n_rows):
            y = at * self.ROW
            track = QRectF(bars.left(), y + 5.5, bars.width(), self.ROW - 11)
            draw_bar(painter, track, self.theme.color("raised"))
            if at >= len(rows):
                continue
            name, probability = rows[at]
            hit = name == self._truth
            track.setWidth(bars.width() * probability / highest)
            draw_bar(painter, track, self.theme.color("good" if hit else "accent"))
            painter.setPen(self.theme.color("good" if hit else "text"))
            text = ("✓ " if hit else "") + formatting.label(name)
            shown = elided(metrics, text, names)
            painter.drawText(QRectF(0, y, names, self.ROW), _LEFT, shown)
            painter.setPen(self.theme.color("muted"))
            box = QRectF(self.across - 56, y, 56, self.ROW)
            painter.drawText(box, _RIGHT, formatting.percent(probability))
        foot = QRectF(0, self._n_rows * self.ROW, self.across, 16)
        chance = self._chance_room(painter, foot) if rows else None
        if chance is not None:
            x = bars.left() + bars.width() * (self._chance or 0.0) / highest
            chance.moveLeft(min(max(0.0, x - 2), foot.right() - chance.width()))
            self._paint_chance(painter, x, chance)
        if self._truth is not None and self._rank is not None and self._rank > self._n_rows:
            self._paint_rest(painter, free_of(foot, chance))
        painter.end()

    def _chance_words(self) -> str:
        return f"chance {formatting.percent(self._chance)}"

    def _chance_room(self, painter: QPainter, foot: QRectF) -> QRectF | None:
        """Return the room that the words at the chance line take; None where there is no line."""
        if self._chance is None:
            return None
        painter.setFont(small_font(11))
        width = painter.fontMetrics().horizontalAdvance(self._chance_words())
        return QRectF(0, foot.top(), width + 4, foot.height())

    def _paint_rest(self, painter: QPainter, room: QRectF) -> None:
        """Name the true label where it is too far down to be seen."""
        painter.setFont(small_font(11))
        painter.setPen(self.theme.color("muted"))
        text = f"{formatting.label(self._truth or '')} is {formatting.ordinal(self._rank or 0)}"
        painter.drawText(room, _RIGHT, elided(painter.fontMetrics(), text, room.width()))

    def _paint_chance(self, painter: QPainter, x: float, room: QRectF) -> None:
        painter.setPen(QPen(self.theme.color("warn"), 1.2, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, 2), QPointF(x, room.top()))
        painter.setFont(small_font(11))
        painter.drawText(room, _LEFT, self._chance_words())


def free_of(row: QRectF, taken: QRectF | None) -> QRectF:
    """Return the larger part of `row` beside `taken`, with a gap; all of it where none is taken."""
    if taken is None:
        return row
    gap = 10.0
    left = QRectF(row.left(), row.top(), max(0.0, taken.left() - gap - row.left()), row.height())
    right = QRectF(taken.right() + gap, row.top(), 0.0, row.height())
    right.setRight(max(right.left(), row.right()))
    return left if left.width() > right.width() else right


class AccuracyChart(Painted):
    """Accuracy so far with its 95 % confidence sequence, against chance."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._accuracy: Accuracy | None = None
        self._summed = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Accuracy against chance")
        self.fit()

    def fit(self) -> None:
        """Keep room for two lines, the interval between them, and one more where there is."""
        self.setFixedHeight(px(62 + self._below))

    @property
    def _below(self) -> int:
        return 15 if self._summed else 0

    @property
    def sentence(self) -> str:
        """What the chart says, in words."""
        found = self._accuracy
        if found is None or not found.n:
            return "No picture could be scored yet"
        named = (
            f"{formatting.percent(found.n_correct / found.n)} named exactly "
            f"({found.n_correct} of {found.n})"
        )
        if found.is_few:
            return f"{named}: {TOO_FEW}"
        summed = f"; repetitions summed: {self._summed}" if self._summed else ""
        return (
            f"{named}, chance {formatting.percent(found.chance)}, "
            f"{formatting.p_value(found.p_value)}{summed}"
        )

    def set_value(self, accuracy: Accuracy | None, summed: str = "") -> None:
        """Show `accuracy`, and what `summed` says of repetitions."""
        if (accuracy, summed) != (self._accuracy, self._summed):
            self._accuracy, self._summed = accuracy, summed
            self.fit()
            self.setAccessibleDescription(self.sentence)
            self.setToolTip(
                f"{self.sentence}\n"
                "Chance is what the same answers score with the labels shuffled among the pictures;"
                " the interval and p hold however often you look"
            )
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the words, the interval and the chance line."""
        _ = event
        painter = self.painter()
        found = self._accuracy
        painter.setFont(small_font(12, bold=True))
        painter.setPen(self.theme.color("text"))
        head = QRectF(0, 0, self.across, 18)
        if found is None or not found.n:
            painter.setPen(self.theme.color("faint"))
            painter.setFont(small_font(12))
            painter.drawText(head, _LEFT, self.sentence)
            painter.end()
            return
        title = f"{formatting.percent(found.n_correct / found.n)} named exactly"
        painter.drawText(head, _LEFT, title)
        painter.setFont(small_font(12))
        painter.setPen(self.theme.color("muted"))
        count = f"{found.n_correct} of {found.n}"
        foot = QRectF(0, self.down - 16 - self._below, self.across, 16)
        if found.is_few:
            painter.drawText(head, _RIGHT, count)
            draw_bar(painter, self._bar(), self.theme.color("raised"))
            painter.setFont(small_font(11))
            painter.setPen(self.theme.color("muted"))
            painter.drawText(foot, _LEFT, elided(painter.fontMetrics(), TOO_FEW, foot.width()))
            painter.end()
            return
        better = is_above_chance(found)
        verdict = "above chance" if better else "not above chance yet"
        top5 = formatting.percent(found.n_top5 / found.n, digits=0)
        painter.drawText(head, _RIGHT, f"{count} · {formatting.p_value(found.p_value)}")
        self._paint_interval(painter, found, better=better)
        painter.setFont(small_font(11))
        painter.setPen(self.theme.color("good" if better else "muted"))
        interval = f"95 % interval {100 * found.low:.0f}–{100 * found.high:.0f} %"
        chance = f"chance {formatting.percent(found.chance)}"
        metrics = painter.fontMetrics()
        room = self.across - metrics.horizontalAdvance(chance) - 12
        left = fitting(metrics, (verdict, interval, f"top 5: {top5}"), room)
        painter.drawText(foot, _LEFT, left)
        painter.setPen(self.theme.color("warn"))
        painter.drawText(foot, _RIGHT, chance)
        if self._summed:
            painter.setPen(self.theme.color("muted"))
            words = elided(metrics, f"Repetitions summed  {self._summed}", foot.width())
            painter.drawText(foot.translated(0, self._below), _LEFT, words)
        painter.end()

    def _bar(self) -> QRectF:
        return QRectF(1, 28, self.across - 2.0, 6)

    def _paint_interval(self, painter: QPainter, found: Accuracy, *, better: bool) -> None:
        bar = self._bar()
        y, width = bar.center().y(), bar.width()
        highest = min(1.0, max(1.15 * found.high, 4 * found.chance, 0.05))

        def x(value: float) -> float:
            return 1 + width * min(1.0, value / highest)

        draw_bar(painter, bar, self.theme.color("raised"))
        tone = self.theme.color("good" if better else "muted")
        faded = self.theme.color("good" if better else "muted", 90)
        draw_bar(painter, QRectF(x(found.low), y - 3, x(found.high) - x(found.low), 6), faded)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(tone)
        painter.drawEllipse(QPointF(x(found.n_correct / found.n), y), 5, 5)
        painter.setPen(QPen(self.theme.color("warn"), 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x(found.chance), y - 9), QPointF(x(found.chance), y + 9))


class LatencyChart(Painted):
    """Milliseconds by stage: the median as a bar, the 95th percentile as a lighter one."""

    ROWS = (*formatting.STAGES, "total")
    NAMES = ("Arrival", "Filter", "Epoch", "Queue", "Encode", "Sample", "Paint", "Total")

    def __init__(self, *, single: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._single = single
        self._stages: Mapping[str, tuple[float, float]] = {}
        self.setAccessibleName("Latency by stage")
        self.fit()

    def fit(self) -> None:
        """Keep room for a line a stage."""
        self.setMinimumSize(QSize(px(220), px(8 * 14)))

    def set_values(self, stages: Mapping[str, tuple[float, float]]) -> None:
        """Show p50 and p95 by stage, ms."""
        if dict(stages) != dict(self._stages):
            self._stages = dict(stages)
            self.setAccessibleDescription(
                ", ".join(f"{name} {a:.1f} / {b:.1f} ms" for name, (a, b) in stages.items())
            )
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint one row a stage."""
        _ = event
        painter = self.painter()
        row = self.down / len(self.ROWS)
        bars = QRectF(56, 0, max(10.0, self.across - 56 - 92), 0)
        highest = max([p95 for _, p95 in self._stages.values()] + [1.0])
        for at, (key, name) in enumerate(zip(self.ROWS, self.NAMES, strict=True)):
            y, total = at * row, key == "total"
            painter.setFont(small_font(11, bold=total))
            painter.setPen(self.theme.color("text" if total else "muted"))
            painter.drawText(QRectF(0, y, 56, row), _LEFT, name)
            track = QRectF(bars.left(), y + row / 2 - 3, bars.width(), 6)
            draw_bar(painter, track, self.theme.color("raised"))
            values = self._stages.get(key)
            if values is None:
                continue
            tone = "accent" if total else "good"
            for value, alpha in ((values[1], 90), (values[0], 255)):
                track.setWidth(bars.width() * min(1.0, value / highest))
                draw_bar(painter, track, self.theme.color(tone, alpha))
            p50, p95 = (formatting.milliseconds(value) for value in values)
            painter.setPen(self.theme.color("text"))
            if self._single:
                painter.drawText(QRectF(self.across - 60, y, 60, row), _RIGHT, p50)
                continue
            painter.drawText(QRectF(self.across - 88, y, 38, row), _RIGHT, p50)
            painter.setPen(self.theme.color("faint"))
            painter.drawText(QRectF(self.across - 46, y, 46, row), _RIGHT, p95)
        painter.end()


class OutcomeChart(Painted):
    """How the markers ended: a bar of shares and a line for each outcome."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[tuple[str, int]] = []
        self._n_markers = 0
        self._n_pending = 0
        self.setAccessibleName("Outcomes by reason")
        self.fit()

    def fit(self) -> None:
        """Keep room for some lines."""
        self.setMinimumSize(QSize(px(170), px(100)))

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Outcome and count, decoded first, then by count."""
        return self._rows

    def set_values(self, outcomes: Mapping[str, int], *, n_markers: int, n_pending: int) -> None:
        """Show the counts."""
        rows = sorted(
            ((name, count) for name, count in outcomes.items() if count),
            key=lambda row: (row[0] != Outcome.DECODED.value, -row[1]),
        )
        if (rows, n_markers, n_pending) != (self._rows, self._n_markers, self._n_pending):
            self._rows, self._n_markers, self._n_pending = rows, n_markers, n_pending
            self.setToolTip("\n".join(f"{_words(name)}: {count}" for name, count in rows))
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the shares, then as many lines as fit."""
        _ = event
        painter = self.painter()
        track = QRectF(0, 3, self.across, 8)
        draw_bar(painter, track, self.theme.color("raised"), radius=4)
        x = 0.0
        for name, count in self._rows:
            width = self.across * count / max(1, self._n_markers)
            draw_bar(painter, QRectF(x, 3, max(2.0, width - 1), 8), self._tone(name))
            x += width
        painter.setFont(small_font(11))
        metrics = painter.fontMetrics()
        lines: list[tuple[str, str, str]] = [(n, _words(n), str(c)) for n, c in self._rows]
        if self._n_pending:
            lines.append(("", "Waiting for data", str(self._n_pending)))
        room = max(1, int((self.down - 18) // 18))
        if len(lines) > room:
            rest = sum(int(count) for *_, count in lines[room - 1 :])
            lines = [*lines[: room - 1], ("", f"{len(lines) - room + 1} more reasons", str(rest))]
        for at, line in enumerate(lines):
            self._paint_line(painter, metrics, 18 + at * 18, line)
        if not lines:
            painter.setPen(self.theme.color("faint"))
            painter.drawText(QRectF(0, 18, self.across, 18), _LEFT, "No markers yet")
        painter.end()

    def _paint_line(
        self, painter: QPainter, metrics: QFontMetrics, y: float, line: tuple[str, str, str]
    ) -> None:
        name, words, count = line
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._tone(name))
        painter.drawEllipse(QPointF(4, y + 9), 3.5, 3.5)
        painter.setPen(self.theme.color("muted"))
        room = self.across - 16 - 40.0
        painter.drawText(QRectF(14, y, room, 18), _LEFT, elided(metrics, words, room))
        painter.setPen(self.theme.color("text"))
        painter.drawText(QRectF(self.across - 46, y, 46, 18), _RIGHT, count)

    def _tone(self, name: str) -> QColor:
        if name in (Outcome.DECODED.value, Outcome.COLLECTED.value):
            return self.theme.color("good")
        if name in (Outcome.FAILED.value, Outcome.OVERLOAD.value):
            return self.theme.color("bad")
        if not name or name == Outcome.IGNORED.value:
            return self.theme.color("greyed")
        return self.theme.color("warn")


def fitting(metrics: QFontMetrics, parts: Sequence[str], room: float) -> str:
    """Join as many of `parts` as fit into `room` px; the first is cut where not even it does."""
    for n in range(len(parts), 0, -1):
        line = " · ".join(parts[:n])
        if metrics.horizontalAdvance(line) <= room:
            return line
    return elided(metrics, parts[0], room)


def _words(name: str) -> str:
    return formatting.OUTCOME_WORDS.get(name, name.replace("_", " ").capitalize())
