"""The empty window: says what to do, and does it at one click.

Owns the first page.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF, QRadialGradient
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.views.common.painted import Button, Painted, text_label
from app.views.common.theme import Theme
from app.views.session.recent_view import RecentView
from app.views.sources.view import SourcesView


class Emblem(Painted):
    """A phosphene: light seen without light, with a trace running into it."""

    def __init__(self, size: int = 72, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedSize(QSize(size, size))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint rings of light and a trace."""
        _ = event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        size = float(self.width())
        centre = QPointF(size / 2, size / 2)
        glow = QRadialGradient(centre, size / 2)
        glow.setColorAt(0.0, self.theme.color("accent", 210))
        glow.setColorAt(0.35, self.theme.color("accent", 90))
        glow.setColorAt(1.0, self.theme.color("accent", 0))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(glow)
        painter.drawEllipse(centre, size / 2, size / 2)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for radius, alpha in ((0.22, 255), (0.33, 130), (0.44, 60)):
            painter.setPen(QPen(self.theme.color("accent", alpha), max(1.0, size / 48)))
            painter.drawEllipse(centre, size * radius, size * radius)
        points = ((0.0, 0.5), (0.3, 0.5), (0.4, 0.36), (0.5, 0.66), (0.6, 0.3), (0.68, 0.5))
        pen = QPen(self.theme.color("text"), max(1.5, size / 32))
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        line = [QPointF(0.16 * size + 0.68 * x * size, y * size) for x, y in points]
        line.append(QPointF(0.84 * size, 0.5 * size))
        painter.drawPolyline(QPolygonF(line))
        painter.end()


class Welcome(QFrame):
    """What to do first."""

    demo_asked = Signal()

    def __init__(
        self, sources: SourcesView, recent: RecentView, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.recent = recent
        self.emblem = Emblem(84)
        self.demo_button = Button(
            "Try the virtual headset", icon_name="play", kind="large", tip="Start the demo (Space)"
        )
        self.sources = sources
        self.demo_button.clicked.connect(self.demo_asked)
        self._build()

    def set_theme(self, theme: Theme) -> None:
        """Redraw icons."""
        self.demo_button.set_theme(theme)

    def _build(self) -> None:
        left = QVBoxLayout()
        left.setSpacing(14)
        left.addWidget(self.emblem)
        left.addWidget(text_label("See what EEG says you see", "hero"))
        lead = text_label(
            "Phosphene decodes each stimulus from the EEG after it and draws a picture of what "
            "it finds, with its rank, its confidence and the level of chance beside it.",
            "lead",
        )
        lead.setWordWrap(True)
        left.addWidget(lead)
        left.addSpacing(6)
        row = QHBoxLayout()
        row.addWidget(self.demo_button)
        row.addStretch(1)
        left.addLayout(row)
        hint = text_label(
            "No hardware needed: a simulated person with a 32-channel cap looks at pictures, "
            "reached over LSL as a headset is. The decoder was trained on its code.",
            "caption",
        )
        hint.setWordWrap(True)
        left.addWidget(hint)
        right = QFrame()
        right.setObjectName("card")
        inner = QVBoxLayout(right)
        inner.setContentsMargins(18, 16, 18, 16)
        inner.setSpacing(10)
        inner.addWidget(text_label("Or connect a headset", "title"))
        inner.addWidget(self.sources, 1)
        right.setMinimumWidth(520)
        right.setMaximumSize(QSize(640, 380))
        right.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        columns = QHBoxLayout()
        columns.setSpacing(56)
        columns.addStretch(1)
        columns.addLayout(left, 6)
        columns.addWidget(right, 7)
        columns.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(30, 20, 30, 20)
        layout.addStretch(2)
        layout.addLayout(columns)
        layout.addStretch(1)
        below = QHBoxLayout()
        below.addStretch(1)
        below.addWidget(self.recent, 20)
        below.addStretch(1)
        self.recent.setMaximumWidth(1064)
        layout.addLayout(below)
        layout.addStretch(2)
