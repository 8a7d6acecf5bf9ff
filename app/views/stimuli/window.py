"""A second window for the person with the headset: stimuli locked to the screen's frames.

Owns the frame loop: ask what the next refresh shows, paint it, stamp the flip. The order of things
is a plan's or the session's (`app.presentation`, `session_frames`); the marker goes
where `play` was told. Where the screen does not hold the swap back (no graphics card, a remote
desktop) a timer paces the frames, and `method` says so: its stamps are those of the hand-over to
the system, and the picture is seen up to a frame later.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Literal, Protocol

from PySide6.QtCore import QEvent, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QGuiApplication,
    QHideEvent,
    QKeyEvent,
    QPainter,
    QPixmap,
    QResizeEvent,
    QScreen,
    QShowEvent,
)
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.port import DisplayFigures, SessionPort, StimulusFeed
from app.presentation import Frame, Show
from app.view_models.session.pictures import PictureLoader
from app.view_models.stimuli.frame_clock import FrameClock, in_words
from app.view_models.stimuli.session_frames import SessionFrames
from app.views.common.painted import to_image
from app.views.stimuli.canvas import (
    GlCanvas,
    RasterCanvas,
    Square,
    has_graphics_card,
    paint_frame,
    paint_words,
    picture_box,
)
from configs import StimuliConfig

N_PROBES = 40
"""Frames without stimuli that show whether an OpenGL swap waits for the screen."""
REPORT_SECONDS = 1.0
"""How often the figures are handed to the session, s."""
METHODS = {
    "swap": "locked to the screen's refresh (OpenGL swap)",
    "free": "timer: the OpenGL swap does not wait for this screen",
    "raster": "timer: no graphics card to wait for the screen",
}
"""What the frames follow, as a person reads it."""
IDLE = Frame(-1, Show.FIXATION)


class Frames(Protocol):
    """What says which frame comes next: `presentation.Player` or `SessionFrames`."""

    @property
    def finished(self) -> bool:
        """Whether nothing more comes."""
        ...

    @property
    def upcoming(self) -> str | None:
        """Label of the picture to have ready."""
        ...

    def advance(self, frame_index: int, due: float | None = None) -> Frame:
        """Say what refresh `frame_index` shows."""
        ...

    def respond(self) -> None:
        """Take a press of the space bar."""
        ...

    def end(self) -> None:
        """End it."""
        ...


class StimulusWindow(QWidget):
    """Shows stimuli; F11 toggles full screen, I the screen's figures, Esc ends and closes.

    Parameters
    ----------
    load_picture : PictureLoader
    parent : QWidget, optional
        The main window: with a second screen this one opens on the screen without it.
    surface : {"auto", "gl", "raster"}
        `auto`: OpenGL where a graphics card does it.
    """

    shortest = 0.0
    """How long a frame of the timer's stands at least, in frames."""
    ended = Signal(bool)
    """What `play` was given is over; whether all of it was shown (Esc and closing end it early)."""

    def __init__(
        self,
        load_picture: PictureLoader,
        parent: QWidget | None = None,
        *,
        surface: Literal["auto", "gl", "raster"] = "auto",
    ) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Phosphene – stimuli")
        self.resize(720, 540)
        self._load = load_picture
        self._surface = surface
        self._canvas: GlCanvas | RasterCanvas | None = None
        self._pictures: dict[str, QPixmap | None] = {}
        self._frame = IDLE
        self._frames: Frames | None = None
        self._clock: Callable[[], float] | None = None
        self._on_marker: Callable[[str, float], None] | None = None
        self._feed: StimulusFeed | None = None
        self._wanted_screen: int | None = None
        self._awaits_flip = False
        self._n_probed = 0
        self._paced_by = "raster"
        self._origin = self._reported = 0.0
        self.square = Square()
        self.show_figures = False
        self._words = ""
        self.frame_clock = FrameClock(60.0)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._step)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)

    # What others ask

    @property
    def label(self) -> str | None:
        """The label that is shown."""
        return self._frame.label

    @property
    def playing(self) -> bool:
        """Whether frames are stepped through."""
        return self._frames is not None and self._clock is not None

    @property
    def figures(self) -> DisplayFigures:
        """How well the screen kept time since the frames began."""
        locked = self._paced_by == "swap" and self.frame_clock.in_step
        return self.frame_clock.figures(METHODS[self._paced_by], locked=locked)

    def use(self, config: StimuliConfig) -> None:
        """Take screen and photodiode square from the settings; before `show`."""
        self.square = Square(config.photodiode, config.photodiode_px)
        self._wanted_screen = config.screen

    def show_full(self) -> None:
        """Open over the whole screen, for the person with the headset; Esc closes it."""
        self.show()
        self.setWindowState(self.windowState() | Qt.WindowState.WindowFullScreen)
        self.raise_()

    @property
    def words(self) -> str:
        """What is said over the cross."""
        return self._words

    def say(self, words: str) -> None:
        """Show a sentence over the cross until another, or nothing, is said."""
        if words != self._words:
            self._words = words
            if self._canvas is not None:
                self._canvas.update()

    def play(
        self,
        frames: Frames,
        *,
        clock: Callable[[], float],
        on_marker: Callable[[str, float], None],
    ) -> None:
        """Step through `frames` while the window is visible.

        `on_marker(label, stamp)` is called right after the flip of an onset, with `clock`'s time
        of it; with LSL's `local_clock` the stamp is a marker's.
        """
        self._finish(complete=False)
        self._frames, self._clock, self._on_marker = frames, clock, on_marker
        self.frame_clock = self._new_clock()
        self._begin()

    def follow(self, port: SessionPort | None) -> None:
        """Show the session's own stimuli while it has some; call it in every frame."""
        feed = None if port is None else port.stimuli
        if feed is self._feed:
            return
        if self._feed is not None:
            self._finish(complete=True)
            self._feed.detach()
        self._feed = feed
        if feed is not None and port is not None:
            self.use(port.config.stimuli)
            frames = SessionFrames(feed, refresh_hz=self._nominal_hz())
            self.play(frames, clock=feed.clock, on_marker=frames.stamped)

    def show_stimulus(self, label: str | None) -> None:
        """Show the picture of `label`, None the cross, where nothing is locked to frames."""
        if self.playing or label == self._frame.label:
            return
        show = Show.STIMULUS if label else Show.FIXATION
        self._frame = Frame(-1, show, label)
        if self._canvas is not None:
            self._canvas.update()

    # The frame loop

    def _begin(self) -> None:
        clock = self._clock
        if self._frames is None or clock is None or not self.isVisible():
            return
        self.frame_clock.pause()
        self._origin = self._reported = clock()
        if self._is_probed:
            self._attach()
        self._step()

    @property
    def _is_probed(self) -> bool:
        return self._paced_by != "swap" or self._n_probed >= N_PROBES

    def _attach(self) -> None:
        if self._feed is not None:
            self._feed.attach()

    def _step(self) -> None:
        frames, clock, canvas = self._frames, self._clock, self._canvas
        if frames is None or clock is None or canvas is None or self._awaits_flip:
            return
        if self._is_probed:
            due = max(self.frame_clock.due() or 0.0, clock())
            self._frame = frames.advance(self.frame_clock.index + 1, due)
        self._awaits_flip = True
        if self._frame.changed or self._paced_by == "swap":
            canvas.draw()
        else:
            self._flipped()  # the screen shows it already

    def _flipped(self) -> None:
        frames, clock = self._frames, self._clock
        if frames is None or clock is None or not self._awaits_flip:
            return  # an expose event, or a swap after the end
        stamp = clock()
        self._awaits_flip = False
        self.frame_clock.flip(stamp)
        if not self._is_probed:
            self._take_probe()
        elif self._frame.marker is not None and self._on_marker is not None:
            self._on_marker(self._frame.marker, stamp)
        self._picture(frames.upcoming)  # scaled now, not in the frame that needs it
        if stamp - self._reported >= REPORT_SECONDS:
            self._report(stamp)
        if frames.finished:
            self._finish(complete=True)
        elif self._paced_by == "swap":
            self._step()
        else:
            self._await_next(stamp)

    def _take_probe(self) -> None:
        self._n_probed += 1
        if not self._is_probed:
            return
        if not self.frame_clock.is_held:
            self._paced_by = "free"
        self.frame_clock = self._new_clock()
        self._attach()

    def _await_next(self, now: float) -> None:
        """Wake at the next point of the frames' even grid, so that late timers do not add up.

        The grid is the stated rate: a measured one would be this timer's own.
        """
        period = 1.0 / self.frame_clock.nominal_hz
        n_frames = int((now - self._origin) / period + 1e-6) + 1
        left = self._origin + n_frames * period - now
        if left < self.shortest * period:
            left += period
        self._timer.start(max(0, ceil(1000 * left)))

    def _report(self, stamp: float) -> None:
        self._reported = stamp
        figures = self.figures
        if self._feed is not None:
            self._feed.report(figures)
        if not self.isFullScreen():
            self.setWindowTitle(f"Phosphene – stimuli · {in_words(figures)}")

    def _finish(self, *, complete: bool) -> None:
        if self._frames is None:
            return
        frames, self._frames = self._frames, None
        if self._feed is not None and self.frame_clock.n_flips:
            self._feed.report(self.figures)
        complete = complete and frames.finished
        if not frames.finished:
            frames.end()
        self._clock = self._on_marker = None
        self._awaits_flip = False
        self._timer.stop()
        self._frame = self._frame if self._frame.show is Show.END else IDLE
        if self._canvas is not None:
            self._canvas.update()
        self.ended.emit(complete)

    # Painting

    def _paint(self, painter: QPainter, area: QRectF) -> None:
        frame = self._frame
        wants_note = self.show_figures or frame.show in (Show.BREAK, Show.END)
        note = in_words(self.figures) if wants_note and self.frame_clock.n_flips else ""
        picture = self._picture(frame.label) if frame.show is Show.STIMULUS else None
        paint_frame(painter, area, frame, picture=picture, square=self.square, note=note)
        if self._words:
            paint_words(painter, area, self._words)

    def _picture(self, label: str | None) -> QPixmap | None:
        if not label:
            return None
        if label not in self._pictures:
            pixels = self._load(label)
            if pixels is None:
                self._pictures[label] = None
            else:
                ratio = self.devicePixelRatioF()
                size = (picture_box(QRectF(self.rect())).size() * ratio).toSize()
                smooth = Qt.TransformationMode.SmoothTransformation
                aspect = Qt.AspectRatioMode.IgnoreAspectRatio
                scaled = to_image(pixels).scaled(size, aspect, smooth)
                self._pictures[label] = QPixmap.fromImage(scaled)
        return self._pictures[label]

    def _make_canvas(self) -> None:
        gl = self._surface == "gl" or (self._surface == "auto" and has_graphics_card())
        canvas = GlCanvas(self._paint, self) if gl else RasterCanvas(self._paint, self)
        self._paced_by = "swap" if gl else "raster"
        canvas.flipped.connect(self._flipped)
        self._canvas = canvas
        layout = self.layout()
        if layout is not None:
            layout.addWidget(canvas)

    # The window

    def _new_clock(self) -> FrameClock:
        return FrameClock(self._nominal_hz(), follows_screen=self._paced_by == "swap")

    def _nominal_hz(self) -> float:
        screen = self.screen()
        return float(screen.refreshRate()) if screen is not None else 60.0

    def choose_screen(self) -> QScreen | None:
        """Return the screen to cover: the one of the settings, else the first without the parent.

        None with a single screen: there it stays a window.
        """
        screens = QGuiApplication.screens()
        if self._wanted_screen is not None:
            return screens[min(self._wanted_screen, len(screens)) - 1]
        parent = self.parentWidget()
        taken = parent.screen() if parent is not None else QGuiApplication.primaryScreen()
        return next((each for each in screens if each is not taken), None)

    def setVisible(self, visible: bool) -> None:
        """Open on the screen of the person with the headset, full screen where there is one."""
        if visible and not self.isVisible():
            if self._canvas is None:
                self._make_canvas()
            screen = self.choose_screen()
            if screen is not None:
                self.setScreen(screen)
                self.setGeometry(screen.geometry())
                self.setWindowState(Qt.WindowState.WindowFullScreen)
        super().setVisible(visible)

    def showEvent(self, event: QShowEvent) -> None:
        """Begin, or go on."""
        super().showEvent(event)
        self._begin()

    def hideEvent(self, event: QHideEvent) -> None:
        """Stand still; the session stamps planned onsets meanwhile."""
        self._timer.stop()
        self._awaits_flip = False
        if self._feed is not None:
            self._feed.detach()
        super().hideEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """End a plan; a session's own stimuli go on without a window."""
        if self._feed is None:
            self._finish(complete=False)
        super().closeEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Pictures are scaled once for each size."""
        super().resizeEvent(event)
        self._pictures.clear()

    def event(self, event: QEvent) -> bool:
        """Scale the pictures anew for a finer or coarser screen."""
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            self._pictures.clear()
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """F11, I, space and Esc."""
        key = event.key()
        if key == Qt.Key.Key_F11:
            self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)
        elif key == Qt.Key.Key_I:
            self.show_figures = not self.show_figures
            if self._canvas is not None:
                self._canvas.update()
        elif key == Qt.Key.Key_Space and self._frames is not None:
            if not event.isAutoRepeat():
                self._frames.respond()
        elif key == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)
