"""The window of the flickering grid, for the person with the headset.

Owns how a look is painted: each picture bright or dim by its code, the cue, the answer, and beside
the grid the picture that grows. The frames' pace, the stamps and the dropped frames are the
stimulus window's; which frame of the codes comes is `GridFrames`'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QCloseEvent,
    QHideEvent,
    QKeyEvent,
    QPainter,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QWidget

from app.view_models.attend.grid_frames import GridFrames, Stage
from app.view_models.attend.light import Flicker, dimmed
from app.view_models.attend.places import Places, place
from app.view_models.stimuli.frame_clock import in_words
from app.views.common.painted import to_image
from app.views.common.theme import small_font
from app.views.stimuli.canvas import BACKGROUND, CATCH_COLOUR, INK, paint_words
from app.views.stimuli.window import StimulusWindow
from configs.plain import plain
from pipeline.values import Uint8

STRIP = 0.28
"""Part of the window's width that the growing picture takes."""
MARGIN = 24
CM_PER_INCH = 2.54


class GridWindow(StimulusWindow):
    """Flickers while a look lasts; F11 full screen, I the screen's figures, Esc ends all at once.

    Parameters
    ----------
    pictures : sequence of ndarray, (height, width, 3) uint8
        One a target.
    labels : sequence of str
    frames : GridFrames
        Which nobody can make without an answer to the warning.
    clock : callable
        LSL's `local_clock`.
    flicker : Flicker
    distance_cm : float
        From the eyes to the screen.
    """

    def __init__(
        self,
        pictures: Sequence[Uint8],
        labels: Sequence[str],
        frames: GridFrames,
        *,
        clock: Callable[[], float],
        flicker: Flicker | None = None,
        distance_cm: float = 60.0,
        parent: QWidget | None = None,
        surface: Literal["auto", "gl", "raster"] = "auto",
    ) -> None:
        super().__init__(lambda _label: None, parent, surface=surface)
        # A frame that came late would stand for a moment only, and a decoder take it for left out.
        self.shortest = 0.8
        self.setWindowTitle("Phosphene – attend")
        self.resize(1120, 760)
        self.grid_frames = frames
        self._now = clock
        self._flicker = flicker or Flicker()
        self._distance = distance_cm
        self._pixmaps: tuple[list[QPixmap], ...] = ()
        self._places: Places | None = None
        self._grown: QPixmap | None = None
        self._lines: tuple[str, ...] = ()
        self._chosen: int | None = None
        self.show_pictures(pictures, labels)
        self.play(frames, clock=clock, on_marker=frames.stamped)

    @property
    def refresh_hz(self) -> float:
        """What the screen says of itself, Hz."""
        return self._nominal_hz()

    @property
    def places(self) -> Places | None:
        """Where the pictures stand; None before the first paint."""
        return self._places

    @property
    def chosen(self) -> int | None:
        """The picture that is marked as the answer."""
        return self._chosen

    def show_pictures(self, pictures: Sequence[Uint8], labels: Sequence[str]) -> None:
        """Put other pictures on the grid, as many as before; between looks only."""
        self._sources, self._labels = list(pictures), list(labels)
        self._chosen = None
        self._pixmaps = ()
        self._draw_again()

    def grow(self, pixels: Uint8 | None, *lines: str) -> None:
        """Show the newest picture of what is known, with lines under it."""
        self._grown = None if pixels is None else QPixmap.fromImage(to_image(pixels))
        self._lines = tuple(plain(line) for line in lines)
        self._draw_again()

    def mark(self, chosen: int | None) -> None:
        """Mark the answer on the grid while nothing flickers."""
        self._chosen = chosen
        self._draw_again()

    def stop(self) -> None:
        """End the flicker now, in this very frame."""
        self.grid_frames.stop(self._now())
        if self._canvas is not None and self.isVisible():
            self._canvas.draw()

    def _draw_again(self) -> None:
        if self._canvas is not None and self.grid_frames.stage is not Stage.FLICKER:
            self._canvas.update()

    # Painting

    def _paint(self, painter: QPainter, area: QRectF) -> None:
        painter.fillRect(area, BACKGROUND)
        if not self._pixmaps:
            self._scale(area)
        states = self.grid_frames.states
        bright, dim, rest = self._pixmaps
        boxes = self._places.boxes if self._places is not None else ()
        for n, box in enumerate(boxes):
            pixmap = rest[n] if states is None else bright[n] if states[n] else dim[n]
            painter.drawPixmap(box.x, box.y, pixmap)
        self._paint_frame(painter)
        self._paint_strip(painter, area)
        if self.square.corner != "off":
            is_lit = states is not None and bool(states[0])
            white = Qt.GlobalColor.white if is_lit else Qt.GlobalColor.black
            painter.fillRect(self.square.box(area), white)
        if self.show_figures and self.frame_clock.n_flips:
            painter.setFont(small_font(14))
            painter.setPen(INK)
            note = in_words(self.figures)
            painter.drawText(area.adjusted(16, 16, -16, -12), Qt.AlignmentFlag.AlignBottom, note)
        if self._words:
            paint_words(painter, area, self._words)

    def _paint_frame(self, painter: QPainter) -> None:
        """Paint a frame around the picture that is asked for, or that was the answer."""
        stage = self.grid_frames.stage
        n = {Stage.CUE: self.grid_frames.target, Stage.REST: self._chosen}.get(stage)
        if n is None or self._places is None:
            return
        box = self._places.boxes[n]
        painter.setPen(QPen(CATCH_COLOUR, 5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(box.x - 5, box.y - 5, box.side + 10, box.side + 10))

    def _paint_strip(self, painter: QPainter, area: QRectF) -> None:
        width = STRIP * area.width() - 2 * MARGIN
        left = area.right() - width - MARGIN
        top = area.center().y() - 0.62 * width
        if self._grown is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawPixmap(QRectF(left, top, width, width).toRect(), self._grown)
        painter.setFont(small_font(15))
        painter.setPen(INK)
        at = QPointF(left, top + width + 26)
        for line in self._lines:
            elided = painter.fontMetrics().elidedText(
                line, Qt.TextElideMode.ElideRight, round(width)
            )
            painter.drawText(at, elided)
            at += QPointF(0, 24)

    def _scale(self, area: QRectF) -> None:
        """Lay the grid out and make each picture's three states, once for each size."""
        screen = self.screen()
        dots = screen.physicalDotsPerInchX() if screen is not None else 0.0
        self._places = place(
            len(self._sources),
            round((1 - STRIP) * area.width()),
            round(area.height()),
            kept=0 if self.square.corner == "off" else self.square.side,
            pixels_per_cm=dots / CM_PER_INCH if 20 <= dots <= 600 else None,
            distance_cm=self._distance,
        )
        ratio = self.devicePixelRatioF()
        light = self._flicker
        made: tuple[list[QPixmap], ...] = ([], [], [])
        for pixels, box in zip(self._sources, self._places.boxes, strict=True):
            side = round(box.side * ratio)
            for kept, factor in zip(made, (light.bright, light.dim, light.rest), strict=True):
                image = to_image(dimmed(pixels, factor)).scaled(
                    side,
                    side,
                    Qt.AspectRatioMode.IgnoreAspectRatio,
                    Qt.TransformationMode.SmoothTransformation,
                )
                image.setDevicePixelRatio(ratio)
                kept.append(QPixmap.fromImage(image))
        self._pixmaps = made

    # The window

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Lay out anew."""
        super().resizeEvent(event)
        self._pixmaps = ()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc ends the flicker first, and closes then."""
        if event.key() == Qt.Key.Key_Escape:
            self.stop()
        super().keyPressEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        """What nobody sees does not flicker: it ends."""
        if not self.isVisible():
            self.grid_frames.stop(self._now())
        super().hideEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """End."""
        self.grid_frames.stop(self._now())
        super().closeEvent(event)
