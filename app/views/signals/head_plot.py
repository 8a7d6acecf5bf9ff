"""The head from above with a disc for each electrode, coloured by the quality of its signal.

Owns painting; meaning is in a sign as well as in the colour.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import formatting
from app.view_models.signals.head import Electrode, HeadModel
from app.views.common.painted import Painted, elided
from app.views.common.theme import px, small_font, text_scale
from app.views.signals.peak_to_peak_table import paint_cells
from pipeline.signal_quality import Grade

TONES = {Grade.GOOD: "good", Grade.DOUBTFUL: "warn", Grade.BAD: "bad"}
SIGNS = {Grade.DOUBTFUL: "?", Grade.BAD: "✕"}
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
ROW = 19
RIM = 1.2
"""How far beyond the head's rim the plot reaches, in radii."""


class HeadPlot(Painted):
    """Electrodes on the head at the left, what is wrong with which at the right."""

    def __init__(self, model: HeadModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._revision = -1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Signal quality by electrode")
        self.fit()

    def fit(self) -> None:
        """Keep room for the head."""
        self.setMinimumSize(QSize(px(320), px(130)))

    def refresh(self) -> None:
        """Paint again when the verdicts changed."""
        if self._revision != self._model.revision:
            self._revision = self._model.revision
            worse = [f"{e.ch_name} {e.reason}" for e in self._model.doubtful]
            self.setAccessibleDescription("; ".join([self._model.sentence, *worse]))
            self.update()

    def head(self) -> tuple[QPointF, float]:
        """Centre and radius of the head, px; electrodes may sit outside its rim."""
        size = min(float(self.down), 0.58 * self.across)
        return QPointF(size / 2 + 12, self.down / 2 + size * 0.02), size / 2 / RIM

    def place(self, electrode: Electrode) -> QPointF | None:
        """Where an electrode is painted; None for one without a position."""
        if electrode.x is None or electrode.y is None:
            return None
        centre, radius = self.head()
        return QPointF(centre.x() + radius * electrode.x, centre.y() - radius * electrode.y)

    def electrode_at(self, point: QPointF) -> Electrode | None:
        """Return the electrode under `point`, px of the widget."""
        point = point / text_scale()
        for electrode in self._model.electrodes:
            place = self.place(electrode)
            if place is not None and (place - point).manhattanLength() < 1.4 * self._disc():
                return electrode
        return None

    def event(self, event: QEvent) -> bool:
        """Explain the electrode under the pointer."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            found = self.electrode_at(QPointF(event.pos()))
            if found is not None:
                grade = "no verdict yet" if found.grade is None else found.grade.value
                text = f"{found.ch_name}: {found.reason or grade}"
                if found.kohm is not None and "impedance" not in found.reason:
                    text += f", impedance {formatting.kiloohm(found.kohm)}"
                QToolTip.showText(event.globalPos(), text, self)
            else:
                QToolTip.hideText()
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the head, the electrodes, the list."""
        _ = event
        painter = self.painter()
        self._paint_head(painter)
        placed = [
            (e, place) for e in self._model.electrodes if (place := self.place(e)) is not None
        ]
        # All names after all discs: neighbours that touch do not cover each other's words.
        for paint in (self._paint_disc, self._paint_words):
            for electrode, place in placed:
                paint(painter, place, electrode)
        self._paint_list(painter)
        painter.end()

    def _disc(self) -> float:
        """Radius of a disc, px: neighbours may touch, not hide each other."""
        _, radius = self.head()
        return max(4.0, min(15.0, 0.54 * radius * self._model.spacing))

    def _paint_head(self, painter: QPainter) -> None:
        centre, radius = self.head()
        painter.setPen(QPen(self.theme.color("faint"), 1.4))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        nose = QPainterPath(centre + QPointF(-0.12 * radius, -0.99 * radius))
        nose.lineTo(centre + QPointF(0, -1.14 * radius))
        nose.lineTo(centre + QPointF(0.12 * radius, -0.99 * radius))
        painter.drawPath(nose)
        for side in (-1, 1):
            ear = QRectF(0, 0, 0.12 * radius, 0.36 * radius)
            ear.moveCenter(centre + QPointF(side * 1.06 * radius, 0))
            painter.drawRoundedRect(ear, 0.06 * radius, 0.06 * radius)
        painter.setBrush(self.theme.color("surface"))
        painter.drawEllipse(centre, radius, radius)

    def _paint_disc(self, painter: QPainter, place: QPointF, electrode: Electrode) -> None:
        disc = self._disc()
        painter.setPen(QPen(self.theme.color(_tone(electrode)), 1.6))
        for brush in (self.theme.color("surface"), self.theme.color(_tone(electrode), 60)):
            painter.setBrush(brush)
            painter.drawEllipse(place, disc, disc)

    def _paint_words(self, painter: QPainter, place: QPointF, electrode: Electrode) -> None:
        disc = self._disc()
        box = QRectF(0, 0, 40, 16)
        box.moveCenter(place)
        if disc >= 6:
            size = (10 if len(electrode.ch_name) <= 2 else 9) - (disc < 9)
            painter.setFont(small_font(size, bold=electrode.grade is Grade.BAD))
            painter.setPen(self.theme.color("text"))
            if electrode.kohm is not None and disc >= 9:
                box.moveCenter(place + QPointF(0, -4))
                below = QRectF(place.x() - 20, place.y() - 1, 40, 12)
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, electrode.ch_name)
                painter.setFont(small_font(8))
                painter.setPen(self.theme.color("muted"))
                painter.drawText(below, Qt.AlignmentFlag.AlignCenter, _short(electrode.kohm))
            else:
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, electrode.ch_name)
        sign = SIGNS.get(electrode.grade) if electrode.grade is not None else None
        if sign:
            painter.setFont(small_font(10, bold=True))
            painter.setPen(self.theme.color(_tone(electrode)))
            corner = QRectF(place.x() + 0.55 * disc, place.y() - 1.5 * disc, 12, 12)
            painter.drawText(corner, Qt.AlignmentFlag.AlignCenter, sign)

    def _paint_list(self, painter: QPainter) -> None:
        centre, radius = self.head()
        left = centre.x() + RIM * radius + 20
        room = self.across - left - 6
        painter.setFont(small_font(12, bold=True))
        painter.setPen(self.theme.color("text"))
        line = elided(painter.fontMetrics(), self._model.sentence, room)
        painter.drawText(QRectF(left, 2, room, ROW), _LEFT, line)
        rows = [(e.ch_name, e.reason, TONES[e.grade]) for e in self._model.doubtful if e.grade]
        unplaced = [e.ch_name for e in self._model.electrodes if e.x is None]
        if unplaced:
            rows.append(("", f"without a position: {', '.join(unplaced)}", "muted"))
        if not rows and any(e.grade for e in self._model.electrodes):
            rows.append(("", "All look good in the newest second.", "muted"))
        n_fit = max(1, int((self.down - ROW - 6) // ROW))
        if len(rows) > n_fit:
            rows = [*rows[: n_fit - 1], ("", f"and {len(rows) - n_fit + 1} more", "muted")]
        for at, (name, reason, tone) in enumerate(rows):
            self._paint_row(
                painter, QRectF(left, (at + 1) * ROW + 6, room, ROW), name, reason, tone
            )
        top = (len(rows) + 1) * ROW + 14
        box = QRectF(left, top, room, self.down - top - 2)
        paint_cells(painter, box, self._model.electrodes, self.theme)

    def _paint_row(self, painter: QPainter, row: QRectF, name: str, reason: str, tone: str) -> None:
        painter.setFont(small_font(12))
        indent = 0
        if name:
            painter.setPen(self.theme.color(tone))
            painter.drawText(row, _LEFT, f"{'✕' if tone == 'bad' else '?'}  {name}")
            indent = 64
        painter.setPen(self.theme.color("muted"))
        rest = row.adjusted(indent, 0, 0, 0)
        painter.drawText(rest, _LEFT, elided(painter.fontMetrics(), reason, rest.width()))


def _tone(electrode: Electrode) -> str:
    return TONES[electrode.grade] if electrode.grade is not None else "greyed"


def _short(kohm: float) -> str:
    """Return an impedance in as few signs as fit into a disc, kOhm or MOhm."""
    if kohm >= 1000:
        return f"{kohm / 1000:.1f}M"
    return f"{kohm:.0f}k" if kohm >= 9.5 else f"{kohm:.1f}k"
