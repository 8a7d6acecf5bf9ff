"""The window: puts the parts together, polls the models and passes the keyboard on.

Owns layout, the one timer, shortcuts, theme and geometry. It never waits: whatever may block
runs in the models' worker threads, and no signal is sent per chunk of data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QByteArray, QEvent, QPoint, QSettings, QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QKeyEvent, QPixmap
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QMainWindow,
    QMessageBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.port import Phase
from app.view_models import formatting
from app.view_models.factory import SessionFactory
from app.view_models.past_sessions import PastSessionsModel
from app.view_models.pictures import GalleryPictures, PictureLoader
from app.view_models.session import SessionModel
from app.view_models.settings import SettingsModel
from app.view_models.sources import SourceChoice, SourceKind, SourcesModel
from app.views.charts import LatencyChart, OutcomeChart
from app.views.history_strip import HistoryStrip
from app.views.inspect_dialog import InspectDialog
from app.views.painted import Button, Painted, set_text, text_label
from app.views.picture_actions import PictureActions
from app.views.picture_panel import PicturePanel
from app.views.recent_view import RecentView
from app.views.signal_panel import SignalPanel
from app.views.sources_view import SourcesView
from app.views.status_bar import Banner, StatusBar
from app.views.stimulus_window import StimulusWindow
from app.views.theme import THEMES, Theme, apply_theme
from app.views.top_bar import TopBar
from app.views.trace_panel import TracePanel
from app.views.transport_bar import TransportBar
from app.views.welcome import Welcome
from configs import SessionConfig

FRAME_MS = 33
TEXT_FRAMES = 5
"""Texts change in every fifth frame: nobody reads faster."""
NOTES_FRAMES = 30
"""Notes are saved in every so many frames, when they changed."""
MARKER_KEYS = {Qt.Key(Qt.Key.Key_1 + n): str(n + 1) for n in range(8)}


class MainWindow(QMainWindow):
    """The application's window.

    Parameters
    ----------
    factory : SessionFactory
        Makes sessions and lists streams.
    config : SessionConfig
        Settings to begin with.
    presets, load_preset : optional
        Names of the presets and what loads one.
    settings : QSettings, optional
        Where geometry, theme and recent folders are kept; None keeps nothing.
    sessions_root : Path, optional
        Where sessions of before are looked for.
    """

    def __init__(
        self,
        factory: SessionFactory,
        config: SessionConfig,
        *,
        presets: Sequence[str] = (),
        load_preset: Callable[[str], SessionConfig] | None = None,
        load_picture: PictureLoader | None = None,
        settings: QSettings | None = None,
        theme: str | None = None,
        sessions_root: Path | None = None,
    ) -> None:
        super().__init__()
        self.setWindowTitle("Phosphene")
        self.resize(QSize(1280, 800))
        self.setMinimumSize(QSize(1040, 680))
        self._store = settings
        self._load = load_picture or GalleryPictures()
        self.settings = SettingsModel(config, presets=presets, load=load_preset)
        self.session = SessionModel(factory, self.settings)
        self.sources = SourcesModel(factory)
        self.past = PastSessionsModel(sessions_root)
        self.past.extra = self._stored_folders()
        self.confirm_close = False
        """Whether closing the window asks first while a session runs."""
        self.theme = THEMES[theme or self._stored_theme()]
        self._frame = 0
        self._phase = Phase.IDLE
        self._error = ""
        self._build()
        self._connect()
        self.set_theme(self.theme)
        self._restore_geometry()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self.tick)
        self._timer.start()
        if sessions_root is not None:
            self.past.refresh()
        self._show_texts()

    # Requests

    def start_demo(self) -> None:
        """Start a session on the virtual headset."""
        self.sources.choose(SourceChoice(SourceKind.DEMO))
        self.start()

    def start(self) -> None:
        """Start a session on the chosen source."""
        self._clear()
        self.session.open(self.sources.choice)
        self.tick()

    def toggle(self) -> None:
        """Start, or stop what runs."""
        if self.session.active:
            self.session.save_notes()
            self.session.stop()
        else:
            self.start()
        self._show_texts()

    def set_theme(self, theme: Theme) -> None:
        """Show everything in `theme`."""
        self.theme = theme
        app = QApplication.instance()
        if isinstance(app, QApplication):
            apply_theme(app, theme)
        for painted in self.findChildren(Painted):
            painted.set_theme(theme)
        for button in self.findChildren(Button):
            button.set_theme(theme)
        self.top_bar.set_theme(theme)
        self.trace_panel.set_theme(theme)

    def toggle_theme(self) -> None:
        """Light becomes dark and the other way round."""
        self.set_theme(THEMES["light" if self.theme.name == "dark" else "dark"])

    def show_sources(self) -> None:
        """Open the list of sources and search; once more goes back to the finished session."""
        if self.session.active:
            return
        if self.pages.currentWidget() is self.welcome and self._has_content():
            self.pages.setCurrentWidget(self.work)
            return
        self.pages.setCurrentWidget(self.welcome)
        self.sources_view.search()
        self.sources_view.list.setFocus()

    def show_stimuli(self) -> None:
        """Open the window for the person with the headset."""
        self.stimuli.show()
        self.stimuli.raise_()

    def inspect_result(self, index: int) -> None:
        """Open the result of marker `index`."""
        port = self.session.port
        info = self.session.snapshot.info
        tmin = port.config.epochs.tmin if port is not None else -0.2
        sfreq = info.sfreq if info is not None else 250.0
        if self.inspect.open_result(index, tmin=tmin, sfreq=sfreq):
            self.inspect.show()
            self.inspect.raise_()

    def set_control(self, on: bool) -> None:
        """Show the noise control's place, and draw one from the next session on."""
        self.settings.control = on
        self.picture_panel.set_control(on)

    def recover(self, folder: Path) -> None:
        """Finish a session that was left behind."""
        self.past.recover(folder)

    def _poll_past(self) -> None:
        if not self.past.poll():
            return
        self.welcome.recent.refresh()
        if self.past.error:
            self.banner.show_error(self.past.error)
        elif self.past.report is not None:
            report = self.past.report
            words = f"The session in {formatting.short_path(report.parent)} is finished now."
            self.banner.show_note(words, report.parent, report=report)
        elif self.past.abandoned and not self.session.active and self.banner.isHidden():
            lost = self.past.abandoned[0]
            self.banner.show_note(
                f"The session {lost.path.name} ended without being finished. What was recorded is "
                "safe: “Build report” below makes its report.",
                lost.path,
                tone="warn",
            )

    def grab_screen(self, path: Path) -> None:
        """Save a picture of the window to `path`."""
        QApplication.sendPostedEvents()  # New texts ask for their room by an event.
        pixmap: QPixmap = self.grab()
        pixmap.save(str(path))

    # Polling

    def tick(self) -> None:
        """Take what is new and paint it; the timer calls this once a frame."""
        self._frame += 1
        self.session.poll()
        if self.sources.poll() or self.sources.searching:
            self.sources_view.refresh()
        self.pictures.poll()
        self._poll_past()
        if self._frame % NOTES_FRAMES == 0:
            self.session.save_notes()
        self.trace_panel.refresh()
        self.history.refresh()
        latest = self.session.history.latest
        if latest is not None:
            self.picture_panel.show_result(latest)
        snapshot = self.session.snapshot
        self.picture_panel.refresh(snapshot, presents=self._presents())
        running = snapshot.phase is Phase.RUNNING
        self.stimuli.show_stimulus(snapshot.stimulus if running else None)
        if self._frame % TEXT_FRAMES == 0 or self.session.phase is not self._phase:
            self._show_texts()

    def _presents(self) -> bool:
        """Whether the session shows stimuli itself."""
        port = self.session.port
        return port is not None and port.config.stimuli.enabled

    def _show_texts(self) -> None:
        snapshot = self.session.snapshot
        self.top_bar.refresh()
        self.status.refresh()
        self.trace_panel.refresh_facts(snapshot)
        self.signals.refresh()
        self.transport.refresh()
        self.latency.set_values(snapshot.stages)
        self.outcomes.set_values(
            snapshot.outcomes, n_markers=snapshot.n_markers, n_pending=snapshot.n_pending
        )
        set_text(
            self.n_markers,
            formatting.count(snapshot.n_markers, "marker") if snapshot.n_markers else "",
        )
        n_pictures = snapshot.outcomes.get("decoded", 0)
        self.export.setEnabled(bool(n_pictures))
        set_text(self.n_pictures, formatting.count(n_pictures, "picture") if n_pictures else "")
        self.trace_panel.traces.message = self._plot_message()
        self._show_page()
        self._show_banner()

    def _show_page(self) -> None:
        if self.session.active and self.pages.currentWidget() is not self.work:
            self.pages.setCurrentWidget(self.work)
        elif self.session.phase is Phase.FAILED and not self._has_content():
            self.pages.setCurrentWidget(self.welcome)

    def _has_content(self) -> bool:
        return self.session.traces.newest >= 0 or len(self.session.history) > 0

    def _show_banner(self) -> None:
        before, self._phase = self._phase, self.session.phase
        if self.session.error != self._error:
            self._error = self.session.error
            if self._error:
                self.banner.show_error(self._error)
            else:
                self.banner.hide()
        elif self._phase is Phase.STOPPED and before is not Phase.STOPPED and not self._error:
            self.banner.show_finished(self.session)
            self.past.remember(self.session.snapshot.out)
            self.past.refresh()

    def _plot_message(self) -> str:
        if self.session.phase is Phase.STARTING:
            return self.session.snapshot.message or "Connecting…"
        return "" if self.session.active else "No data yet"

    def _dismiss(self) -> None:
        self.session.error = self._error = ""
        self.banner.hide()

    def _clear(self) -> None:
        self._dismiss()
        self.picture_panel.clear()

    # Events

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Act on the shortcuts; what a focused part takes for itself never comes here."""
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        act = self._act_with_control if control else self._act_on
        if event.isAutoRepeat() or not act(Qt.Key(event.key())):
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Catch up at once when the window is shown again."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange and not self.isMinimized():
            self.tick()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Keep the geometry, stop the timer, close the other windows."""
        if self.confirm_close and self.session.active and not self.ask_to_close():
            event.ignore()
            return
        self._timer.stop()
        if self._store is not None:
            self._store.setValue("recent", [str(path) for path in self.past.extra])
            self._store.setValue("geometry", self.saveGeometry())
            self._store.setValue("theme", self.theme.name)
        self.inspect.close()
        self.stimuli.close()
        super().closeEvent(event)

    def ask_to_close(self) -> bool:
        """Ask whether to end the session that runs; keeping it is the answer at hand."""
        box = QMessageBox(self)
        box.setWindowTitle("A session is running")
        box.setText("A session is running. Stop it, save its files and close?")
        stop = box.addButton("Stop and close", QMessageBox.ButtonRole.DestructiveRole)
        keep = box.addButton("Keep running", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.setEscapeButton(keep)
        box.exec()
        return box.clickedButton() is stop

    def shut_down(self, timeout: float = 10.0) -> None:
        """End session and search; waits up to `timeout` seconds."""
        self._timer.stop()
        self.pictures.close()
        self.past.close()
        self.session.close(timeout)
        self.sources.close(min(timeout, 2.0))

    def _act_on(self, key: Qt.Key) -> bool:
        actions: dict[Qt.Key, Callable[[], object]] = {
            Qt.Key.Key_Space: self.toggle,
            Qt.Key.Key_R: self._toggle_recording,
            Qt.Key.Key_M: lambda: self._mark("M"),
            Qt.Key.Key_Plus: lambda: self._zoom(1),
            Qt.Key.Key_Equal: lambda: self._zoom(1),
            Qt.Key.Key_Minus: lambda: self._zoom(-1),
            Qt.Key.Key_P: self._pause,
            Qt.Key.Key_C: lambda: self.set_control(not self.settings.control),
            Qt.Key.Key_Left: lambda: self._look_back(0.1),
            Qt.Key.Key_Right: lambda: self._look_back(-0.1),
            Qt.Key.Key_F2: self.show_sources,
            Qt.Key.Key_F3: self.signals.step,
            Qt.Key.Key_F5: self.sources_view.search,
            Qt.Key.Key_F9: self.toggle_theme,
            Qt.Key.Key_F11: self.show_stimuli,
            Qt.Key.Key_Escape: self._dismiss,
        }
        if key in MARKER_KEYS:
            self._mark(MARKER_KEYS[key])
            return True
        if key not in actions:
            return False
        actions[key]()
        return True

    def _act_with_control(self, key: Qt.Key) -> bool:
        actions: dict[Qt.Key, Callable[[], object]] = {
            Qt.Key.Key_S: self.pictures.save,
            Qt.Key.Key_C: self.pictures.copy,
            Qt.Key.Key_E: self.pictures.export,
            Qt.Key.Key_R: self.banner.open_report,
            Qt.Key.Key_P: self.transport.toggle,
        }
        if key not in actions:
            return False
        actions[key]()
        return True

    def _mark(self, label: str) -> None:
        self.session.add_marker(label)

    def _toggle_recording(self) -> None:
        self.session.toggle_recording()
        self._show_texts()

    def _zoom(self, steps: int) -> None:
        self.session.traces.zoom(steps)
        self.trace_panel.refresh()

    def _pause(self) -> None:
        self.session.traces.set_paused(not self.session.traces.paused)
        self.trace_panel.refresh_scale()
        self.trace_panel.traces.update()

    def _look_back(self, windows: float) -> None:
        self.session.traces.scroll_back(round(windows * self.session.traces.n_pixels))
        self.trace_panel.refresh()

    # Construction

    def _build(self) -> None:
        self.top_bar = TopBar(self.session, self.sources, self.settings)
        self.status = StatusBar(self.session)
        self.banner = Banner()
        self.trace_panel = TracePanel(self.session.traces)
        self.signals = SignalPanel(self.session)
        self.transport = TransportBar(self.session)
        self.picture_panel = PicturePanel(self._load)
        self.pictures = PictureActions(
            self, self.picture_panel, self.session.history, self.banner, self._load
        )
        self.history = HistoryStrip(self.session.history, self._load)
        self.latency = LatencyChart()
        self.outcomes = OutcomeChart()
        self.export = Button("Export…", kind="mini", tip="Export the pictures (Ctrl+E)")
        self.n_markers = text_label("", "caption")
        self.n_pictures = text_label("", "caption")
        self.sources_view = SourcesView(self.sources)
        self.welcome = Welcome(self.sources_view, RecentView(self.past))
        self.inspect = InspectDialog(self.session.history, self._load, self)
        self.stimuli = StimulusWindow(self._load, self)
        self.work = self._build_work()
        self.pages = QStackedWidget()
        self.pages.addWidget(self.welcome)
        self.pages.addWidget(self.work)
        root = QWidget()
        root.setObjectName("root")
        column = QVBoxLayout(root)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.top_bar)
        column.addWidget(self.banner)
        column.addWidget(self.pages, 1)
        column.addWidget(self.status)
        self.setCentralWidget(root)

    def _build_work(self) -> QWidget:
        work = QWidget()
        upper = QHBoxLayout()
        upper.setSpacing(10)
        upper.addWidget(self._build_left(), 1)
        self.picture_panel.setFixedWidth(432)
        upper.addWidget(self.picture_panel)
        lower = QHBoxLayout()
        lower.setSpacing(10)
        strip = _card("History", self.history, self.n_pictures, self.export)
        latency = _card("Latency, ms", self.latency, text_label("p50 / p95", "small"))
        outcomes = _card("Outcomes", self.outcomes, self.n_markers)
        latency.setFixedWidth(300)
        outcomes.setFixedWidth(212)
        lower.addWidget(strip, 1)
        lower.addWidget(latency)
        lower.addWidget(outcomes)
        for card in (strip, latency, outcomes):
            card.setFixedHeight(176)
        layout = QVBoxLayout(work)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(10)
        layout.addLayout(upper, 1)
        layout.addLayout(lower)
        return work

    def _build_left(self) -> QWidget:
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addWidget(self.transport)
        column.addWidget(self.trace_panel, 1)
        column.addWidget(self.signals)
        # An open view shares the height with the traces; closed, only its tabs stand.
        self.signals.opened.connect(
            lambda is_open: column.setStretchFactor(self.signals, 1 if is_open else 0)
        )
        return left

    def _connect(self) -> None:
        bar = self.top_bar
        bar.start_asked.connect(self.toggle)
        bar.record_asked.connect(self._toggle_recording)
        bar.source_asked.connect(self.show_sources)
        bar.theme_asked.connect(self.toggle_theme)
        bar.stimuli_asked.connect(self.show_stimuli)
        bar.failed.connect(self.banner.show_error)
        self.banner.dismissed.connect(self._dismiss)
        self.welcome.recent.recover_asked.connect(self.recover)
        self.welcome.demo_asked.connect(self.start_demo)
        self.sources_view.chosen.connect(self.start)
        self.export.clicked.connect(self.pictures.export)
        panel = self.picture_panel
        panel.save_asked.connect(self.pictures.save)
        panel.copy_asked.connect(self.pictures.copy)
        panel.control_asked.connect(self.set_control)
        panel.set_control(self.settings.control)
        self.history.chosen.connect(self.inspect_result)

    def _stored_theme(self) -> str:
        stored = "" if self._store is None else str(self._store.value("theme", ""))
        return stored if stored in THEMES else "dark"

    def _stored_folders(self) -> list[Path]:
        stored = None if self._store is None else self._store.value("recent")
        names = [stored] if isinstance(stored, str) else stored if isinstance(stored, list) else []
        return [Path(str(name)) for name in names]

    def _restore_geometry(self) -> None:
        stored = None if self._store is None else self._store.value("geometry")
        if isinstance(stored, QByteArray):
            self.restoreGeometry(stored)
        screen = self.screen()
        if screen is not None and not screen.availableGeometry().intersects(self.frameGeometry()):
            self.move(screen.availableGeometry().topLeft() + QPoint(20, 20))


def _card(title: str, content: QWidget, *notes: QWidget) -> QFrame:
    card = QFrame()
    card.setObjectName("card")
    head = QHBoxLayout()
    head.addWidget(text_label(title, "title"))
    head.addStretch(1)
    for note in notes:
        head.addWidget(note)
    layout = QVBoxLayout(card)
    layout.setContentsMargins(14, 8, 14, 10)
    layout.setSpacing(6)
    layout.addLayout(head)
    layout.addWidget(content, 1)
    return card
