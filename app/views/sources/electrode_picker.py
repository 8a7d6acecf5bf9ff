"""A head from above on which a board's electrodes are chosen, a click each.

Owns painting and clicks; which sites there are is `app.view_models.sources.electrodes`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.view_models.sources.electrodes import places
from app.views.common.painted import Painted
from app.views.common.theme import px, small_font, text_scale
from pipeline.electrodes import canonical_name

RIM = 1.3
"""How far beyond the head's rim the picture reaches, in radii."""
_DISC = 0.082
"""Radius of a site's disc, in radii of the head: neighbours do not touch."""


class ElectrodePicker(Painted):
    """Sites of the 10-10 system; those that are chosen carry the number of their channel."""

    clicked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.names: tuple[str, ...] = ()
        self._values: Mapping[str, tuple[str, str]] = {}
        self._is_own = False
        self._places = places()
        self.setAccessibleName("Electrodes on the head")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.fit()

    def fit(self) -> None:
        """Keep room for the head."""
        self.setFixedHeight(px(300))
        self.setMinimumWidth(px(300))

    def show_names(
        self,
        names: Sequence[str],
        *,
        is_own: bool,
        values: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        """Show the channels' sites, in order; `is_own`: the board's own, nobody chose them.

        `values` are words and a tone to show at a channel (its impedance).
        """
        shown = (tuple(names), is_own, dict(values or {}))
        if shown != (self.names, self._is_own, self._values):
            self.names, self._is_own, self._values = shown
            said = ", ".join(f"{k} {name}" for k, name in enumerate(names, 1))
            self.setAccessibleDescription(said)
            self.update()

    def sizeHint(self) -> QSize:
        """As large as the head is drawn."""
        return QSize(px(300), px(300))

    def head(self) -> tuple[QPointF, float]:
        """Centre and radius of the head, px."""
        size = min(self.down, self.across)
        return QPointF(self.across / 2, self.down / 2), size / 2 / RIM

    def place(self, site: str) -> QPointF:
        """Where a site is painted, px."""
        centre, radius = self.head()
        x, y = self._places[site]
        return QPointF(centre.x() + radius * x, centre.y() - radius * y)

    def site_at(self, point: QPointF) -> str | None:
        """Return the site under `point`, px of the widget."""
        point, (_, radius) = point / text_scale(), self.head()
        near = min(self._places, key=lambda site: (self.place(site) - point).manhattanLength())
        return near if (self.place(near) - point).manhattanLength() < 0.13 * radius else None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the site under the pointer, or take it out."""
        site = self.site_at(event.position())
        if site is not None and self.isEnabled() and event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(site)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint head and sites."""
        _ = event
        painter = self.painter()
        self._paint_head(painter)
        numbers = {canonical_name(name): (k, name) for k, name in enumerate(self.names, 1)}
        for site in self._places:
            if site not in numbers:
                self._paint_site(painter, site)
        for site in self._places:
            if site in numbers:
                self._paint_chosen(painter, site, *numbers[site])
        painter.end()

    def _paint_head(self, painter: QPainter) -> None:
        centre, radius = self.head()
        painter.setPen(QPen(self.theme.color("faint"), 1.4))
        painter.setBrush(self.theme.color("surface"))
        nose = QPainterPath(centre + QPointF(-0.12 * radius, -0.99 * radius))
        nose.lineTo(centre + QPointF(0, -1.14 * radius))
        nose.lineTo(centre + QPointF(0.12 * radius, -0.99 * radius))
        painter.drawPath(nose)
        painter.drawEllipse(centre, radius, radius)

    def _paint_site(self, painter: QPainter, site: str) -> None:
        _, radius = self.head()
        painter.setPen(QPen(self.theme.color("faint"), 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(self.place(site), _DISC * radius, _DISC * radius)
        painter.setPen(self.theme.color("muted"))
        painter.setFont(small_font(7))
        self._write(painter, self.place(site), site)

    def _paint_chosen(self, painter: QPainter, site: str, number: int, name: str) -> None:
        _, radius = self.head()
        words, tone = self._values.get(name, ("", "greyed" if self._is_own else "accent"))
        place, disc = self.place(site), 1.25 * _DISC * radius
        painter.setPen(QPen(self.theme.color(tone), 1.8))
        for brush in (self.theme.color("surface"), self.theme.color(tone, 70)):
            painter.setBrush(brush)
            painter.drawEllipse(place, disc, disc)
        painter.setPen(self.theme.color("text"))
        painter.setFont(small_font(8, bold=True))
        self._write(painter, place + QPointF(0, -0.38 * disc), name)
        painter.setFont(small_font(7))
        self._write(painter, place + QPointF(0, 0.42 * disc), words or str(number))

    @staticmethod
    def _write(painter: QPainter, place: QPointF, words: str) -> None:
        box = QRectF(place.x() - 24, place.y() - 8, 48, 16)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)
