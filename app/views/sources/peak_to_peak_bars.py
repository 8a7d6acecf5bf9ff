"""Each channel's peak to peak as a row of bars: a board that sends nothing but zeros shows.

Owns painting only.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.views.common.painted import Painted, draw_bar, elided
from app.views.common.theme import px, small_font

LOW_UV, HIGH_UV = 0.5, 5000.0
"""Ends of the logarithmic scale, microvolts; below the first a channel is flat."""
TOP_UV = 187_000.0
"""Beyond this an amplifier of 24 bits at gain 24 is at its end."""


class PeakToPeakBars(Painted):
    """Peak to peak by channel."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: tuple[tuple[str, float], ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Peak-to-peak by channel")
        self.setToolTip("Peak to peak of the newest half second, microvolts")
        self.hide()

    def sizeHint(self) -> QSize:
        """A caption, then one row of bars with words below and above."""
        return QSize(320, px(112))

    def set_values(self, values: tuple[tuple[str, float], ...]) -> None:
        """Show `values`, label and microvolts; hidden without any."""
        if values == self._values:
            return
        self._values = values
        self.setVisible(bool(values))
        self.setAccessibleDescription(", ".join(f"{n} {v:.0f} µV" for n, v in values))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint a bar a channel."""
        _ = event
        painter = self.painter()
        painter.setFont(small_font(11))
        slot = self.across / max(1, len(self._values))
        caption, foot, head = 20, 16, 36
        room = self.down - foot - head
        painter.setPen(self.theme.color("muted"))
        painter.drawText(
            QRectF(0, 0, self.across, caption),
            Qt.AlignmentFlag.AlignLeft,
            "Peak-to-peak of each channel, µV",
        )
        for at, (name, value) in enumerate(self._values):
            x, width = at * slot, min(26.0, 0.6 * slot)
            left = x + (slot - width) / 2
            draw_bar(painter, QRectF(left, head, width, room), self.theme.color("raised"))
            flat, railed = value < LOW_UV, value > TOP_UV
            tone = "bad" if flat or railed else "accent"
            height = max(2.0, room * _share(value))
            bar = QRectF(left, head + room - height, width, height)
            draw_bar(painter, bar, self.theme.color(tone))
            if slot < 24:
                continue
            painter.setPen(self.theme.color("muted"))
            text = elided(painter.fontMetrics(), name, slot)
            painter.drawText(QRectF(x, head + room, slot, foot), Qt.AlignmentFlag.AlignCenter, text)
            painter.setPen(self.theme.color("bad" if flat or railed else "text"))
            text = "flat" if flat else f"{value:.0f}"
            above = QRectF(x, caption, slot, head - caption)
            painter.drawText(above, Qt.AlignmentFlag.AlignCenter, text)
        painter.end()


def _share(value: float) -> float:
    """How full a bar is, 0 to 1."""
    span = math.log10(HIGH_UV / LOW_UV)
    return min(1.0, max(0.0, math.log10(max(value, 1e-9) / LOW_UV) / span))
