"""The window: puts the parts together, polls the models and passes the keyboard on.

Owns the pages, the one timer, theme and the other windows. It never waits: whatever may block
runs in the models' worker threads, and no signal is sent per chunk of data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from PySide6.QtCore import QEvent, QSettings, QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QKeyEvent, QPaintEvent, QPixmap, QShowEvent
from PySide6.QtWidgets import QApplication, QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from app.errors import AppError
from app.port import Phase, SessionPort
from app.session_factory import SessionFactory
from app.source_options import ChoiceNeededError
from app.stage.watched import Watched
from app.view_models.session.model import SessionModel
from app.view_models.session.past_sessions import PastSessionsModel
from app.view_models.session.pictures import PictureLoader
from app.view_models.settings.model import SettingsModel
from app.view_models.settings.preferences import Preferences, PreferencesStore
from app.view_models.sources.boards import BoardService
from app.view_models.sources.model import SourceChoice, SourceKind, SourcesModel
from app.views.common.confirm import (
    confirm_close,
    confirm_delete,
    confirm_end_of_recording,
    confirm_recovery,
    move_to_trash,
)
from app.views.common.painted import Button, Painted
from app.views.common.theme import THEMES, Theme, apply_theme, px
from app.views.session.inspect_dialog import InspectDialog
from app.views.session.notices import Notices
from app.views.session.picture_actions import PictureActions
from app.views.session.recent_view import RecentView
from app.views.session.status_bar import Banner, StatusBar
from app.views.session.work_page import WorkPage
from app.views.sources.board_source import BoardSource
from app.views.sources.host_question import HostQuestion
from app.views.sources.streams_dialog import StreamsDialog
from app.views.sources.view import SourcesView
from app.views.stage.window import StageWindow
from app.views.stimuli.leading import Leading
from app.views.stimuli.window import StimulusWindow
from app.views.window.actions import (
    Actions,
    picture_actions,
    replay_actions,
    session_actions,
    source_actions,
    trace_actions,
)
from app.views.window.keys_dialog import KeysDialog
from app.views.window.menu import build_menu
from app.views.window.settings_dialog import SettingsDialog
from app.views.window.shortcuts import Keyboard
from app.views.window.state import WindowState
from app.views.window.tools import TOOLS, Tool, ToolContext, ToolWindows
from app.views.window.top_bar import TopBar
from app.views.window.welcome import Welcome
from configs import ConfigError, SessionConfig

FRAME_MS = 33
TEXT_FRAMES = 5
"""Texts change in every fifth frame: nobody reads faster."""
NOTES_FRAMES = 30
"""Notes are saved in every so many frames, when they changed."""


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
    presets_folder : Path, optional
        Where presets that the person changed are kept; None keeps them until the end.
    settings : QSettings, optional
        Where geometry and recent folders are kept; None keeps nothing.
    boards : BoardService, optional
        What reaches boards; without one none is offered.
    preferences : PreferencesStore, optional
        What the person likes; without one nothing is asked, opened by itself, or kept.
    theme : str, optional
        Wins over the preferences for this run.
    sessions_root : Path, optional
        Where sessions of before are looked for.
    resume : bool
        Begin with the preset and the source that were chosen last.
    """

    def __init__(
        self,
        factory: SessionFactory,
        config: SessionConfig,
        *,
        presets: Sequence[str] = (),
        load_preset: Callable[[str], SessionConfig] | None = None,
        presets_folder: Path | None = None,
        load_picture: PictureLoader | None = None,
        boards: BoardService | None = None,
        settings: QSettings | None = None,
        preferences: PreferencesStore | None = None,
        theme: str | None = None,
        sessions_root: Path | None = None,
        resume: bool = False,
        tools: Sequence[Tool] = TOOLS,
    ) -> None:
        super().__init__()
        self.setWindowTitle("Phosphene")
        self.resize(QSize(1280, 800))
        self.setMinimumSize(QSize(1040, 680))
        self._state = WindowState(settings)
        quiet = Preferences(open_report=False, confirm=False)
        self.preferences = preferences or PreferencesStore(None, quiet)
        self.settings = SettingsModel(
            config, presets=presets, load=load_preset, folder=presets_folder
        )
        self.session = SessionModel(factory, self.settings)
        self._load = load_picture or self.session.pictures
        self.sources = SourcesModel(factory)
        if resume:
            self._resume()
        self.past = PastSessionsModel(sessions_root)
        self.past.extra = self._state.folders
        self.theme = THEMES[theme or self.preferences.value.theme]
        self._frame = 0
        self._led: SessionPort | None = None
        self._stage: StageWindow | None = None
        self._factory = factory
        self._looks_back = sessions_root is not None
        self._quiet = False
        self._shown_anew = False
        self._tools = tools
        self._build(factory)
        self.board_source = None if boards is None else self._make_board_source(boards)
        self._connect()
        self.set_theme(self.theme)
        self._state.restore(self, self.work)
        self.host_question = HostQuestion(self, self.session)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self.tick)
        self._timer.start()
        if preferences is not None:
            self._keep_sessions()
        if sessions_root is not None:
            self.past.refresh()
        self._show_texts()
        problem = self.preferences.problem or self.settings.problem
        if problem:
            self.banner.show_error(problem)

    def _resume(self) -> None:
        """Take up preset and source of last time; one that is gone is passed over."""
        preset = self._state.preset
        if preset in self.settings.presets:
            with suppress(ConfigError):
                self.settings.choose_preset(preset)
        source = self._state.source
        if source is not None:
            self.sources.choose(source)

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
        if not self.session.active:
            self.start()
        elif self._may_end_recording("Stop and save"):
            self.session.save_notes()
            self.session.stop()
        self._show_texts()

    def toggle_recording(self) -> None:
        """Start or end the recording."""
        if self._may_end_recording("End the recording"):
            self.session.toggle_recording()
        self._show_texts()

    def set_theme(self, theme: Theme) -> None:
        """Show everything in `theme`."""
        self.theme = theme
        app = QApplication.instance()
        if isinstance(app, QApplication):
            apply_theme(app, theme, text_scale=self.preferences.value.text_scale)
        # Larger text needs a larger window, but none is larger than its screen.
        room = self.screen().availableGeometry().size()
        self.setMinimumSize(QSize(px(1040), px(680)).boundedTo(room.expandedTo(QSize(1040, 680))))
        for painted in self.findChildren(Painted):
            painted.set_theme(theme)
        for button in self.findChildren(Button):
            button.set_theme(theme)
        self.top_bar.set_theme(theme)
        self.status.set_theme(theme)
        self.work.set_theme(theme)
        if self.board_source is not None:
            self.board_source.dialog.set_theme(theme)
        self.tools.set_theme(theme)

    def toggle_theme(self) -> None:
        """Light becomes dark and the other way round; kept for the next start."""
        name = "light" if self.theme.name == "dark" else "dark"
        self.preferences.change(theme=name)
        self.set_theme(THEMES[name])

    def scale_text(self, steps: int) -> None:
        """Take the next size of text; kept for the next start."""
        self.preferences.step_text(steps)
        self.set_theme(self.theme)

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

    def show_boards(self) -> None:
        """Open the form of a board."""
        if self.board_source is not None:
            self.board_source.show()

    def show_stimuli(self) -> None:
        """Open the window for the person with the headset."""
        self.stimuli.show()
        self.stimuli.raise_()

    def toggle_stage(self) -> None:
        """Show the session's picture to an audience, full screen; once more, or Esc, ends that."""
        if self._stage is not None and self._stage.isVisible():
            self._stage.leave()
            return
        self._stage = StageWindow(Watched(lambda: self.session.port), stays=False)
        self._stage.showFullScreen()

    def show_keys(self) -> None:
        """Open the list of keys."""
        KeysDialog(self).exec()

    def show_settings(self) -> None:
        """Open the settings; what is saved holds at once for the window, for a session later."""
        dialog = SettingsDialog(
            self.settings.form(), self.preferences, preset=self.settings.preset, parent=self
        )
        if dialog.exec() != SettingsDialog.DialogCode.Accepted or dialog.result_config is None:
            return
        try:
            self.settings.take(dialog.result_config)
        except AppError as error:
            self.banner.show_error(str(error))
        self.preferences.change(**dialog.result_preferences.model_dump())
        self._keep_sessions()
        self.set_theme(THEMES[self.preferences.value.theme])
        self.picture_panel.set_control(self.settings.control)
        self._show_texts()

    def _keep_sessions(self) -> None:
        """Let sessions be made, and looked for, in the folder that is liked."""
        folder = self.preferences.value.sessions_path
        self._factory.keep_in(folder)
        if self._looks_back:
            self.past.look_in(folder)

    def open_tool(self, tool: Tool) -> None:
        """Open a tool's window."""
        self.tools.open(tool, self.theme)

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
        """Show the noise control's place, and draw one from the next epoch on."""
        self.session.set_control(on)
        self.picture_panel.set_control(on)

    def recover(self, folder: Path) -> None:
        """Finish a session that was left behind; ask where it may run elsewhere."""
        doubt = self.past.doubt_of(folder)
        if not doubt or confirm_recovery(self, doubt):
            self.past.recover(folder, confirmed=bool(doubt))

    def delete_session(self, folder: Path) -> None:
        """Ask, and move a session's folder to the trash, from where it can be taken back."""
        if not confirm_delete(self, folder):
            return
        if move_to_trash(folder):
            self.past.forget(folder)
            self.welcome.recent.refresh()
        else:
            self.banner.show_error(
                f"{folder} could not be moved to the trash: delete it with your file manager."
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
        if self.sources_view.isVisible():
            self.sources.keep_current()
        if self.sources.poll() or self.sources.searching:
            self.sources_view.refresh()
        if self.board_source is not None:
            self.board_source.poll()
        self.pictures.poll()
        self.notices.poll_past()
        self.host_question.poll()
        if self.session.question is not None:
            question, self.session.question = self.session.question, None
            QTimer.singleShot(0, self, lambda: self._ask_stream(question))
        if self._frame % NOTES_FRAMES == 0:
            self.session.save_notes()
        self.work.tick(presents=self._presents())
        snapshot = self.session.snapshot
        running = snapshot.phase is Phase.RUNNING
        self.leading.poll()
        self.stimuli.follow(self.session.port if running else None)
        self.stimuli.show_stimulus(snapshot.stimulus if running else None)
        if self._frame % TEXT_FRAMES == 0 or self.session.phase is not self.notices.phase:
            self._show_texts()

    def _ask_stream(self, question: ChoiceNeededError) -> None:
        """Let the person choose among a recording's streams, and open it with the one chosen."""
        dialog = StreamsDialog(question, self)
        if dialog.exec() == StreamsDialog.DialogCode.Accepted:
            options = self.sources.choice.options
            self.sources.answer(question.answered(options, dialog.key))
            self.start()

    def _waiting_session(self) -> SessionPort | None:
        """The running session whose pictures are for a person, from its first wait on."""
        port, snapshot = self.session.port, self.session.snapshot
        if port is None or snapshot.phase is not Phase.RUNNING:
            self._led = None
        elif snapshot.awaits_viewer:
            self._led = port
        return self._led

    def _presents(self) -> bool:
        """Whether the session shows stimuli itself."""
        port = self.session.port
        return port is not None and port.config.stimuli.enabled

    def _show_texts(self) -> None:
        self.top_bar.refresh()
        self.status.refresh()
        self.work.show_texts()
        self.tools.refresh()
        self._show_page()
        self.notices.poll_session()

    def _show_page(self) -> None:
        if self.session.active and self.pages.currentWidget() is not self.work:
            self.pages.setCurrentWidget(self.work)
            # The page that goes would hand the keyboard to the next button: Record, at Space.
            self.setFocus()
        elif self.session.phase is Phase.FAILED and not self._has_content():
            self.pages.setCurrentWidget(self.welcome)

    def _has_content(self) -> bool:
        session = self.session
        return (
            session.traces.newest >= 0 or session.voxels.n_samples > 0 or len(session.history) > 0
        )

    def dismiss(self) -> None:
        """Close the banner."""
        self.notices.dismiss()

    def _clear(self) -> None:
        self.dismiss()
        self.picture_panel.clear()

    def _may_end_recording(self, do: str) -> bool:
        """Whether nothing is being recorded, or the person wants it to end."""
        asks = self.preferences.value.confirm and self.session.phase is Phase.RUNNING
        recording = self.session.snapshot.recording is not None
        return not (asks and recording) or confirm_end_of_recording(self, do)

    # Events

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Act on the shortcuts; what a focused part takes for itself never comes here."""
        if event.isAutoRepeat() or not self.keyboard.act(event):
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Catch up at once when the window is shown again."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange and not self.isMinimized():
            self.tick()

    def showEvent(self, event: QShowEvent) -> None:
        """Draw what came while it was hidden in the very first paint."""
        super().showEvent(event)
        self._shown_anew = True
        self.tick()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Take what came since the window was asked to show; its parts are painted after it."""
        if self._shown_anew:
            self._shown_anew = False
            self.tick()
        super().paintEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Keep the geometry, stop the timer, close the other windows."""
        asks = self.preferences.value.confirm and self.session.active and not self._quiet
        if asks and not confirm_close(self):
            event.ignore()
            return
        self._timer.stop()
        self._state.save(self, self.work, self.past.extra)
        self._state.save_choices(self.settings.preset, self.sources.choice)
        self.host_question.close()
        self.inspect.close()
        self.stimuli.close()
        if self._stage is not None:
            self._stage.close()
        if self.board_source is not None:
            self.board_source.dialog.close()
        self.tools.close()
        super().closeEvent(event)

    def end(self, timeout: float = 10.0) -> None:
        """Close without a question, and end everything."""
        self._quiet = True
        self.close()
        self.shut_down(timeout)

    def shut_down(self, timeout: float = 10.0) -> None:
        """End session and search; waits up to `timeout` seconds."""
        self._timer.stop()
        self.tools.shut_down()
        self.pictures.close()
        self.past.close()
        self.session.close(timeout)
        self.sources.close(min(timeout, 2.0))
        if self.board_source is not None:
            self.board_source.close()

    # Construction

    def _build(self, factory: SessionFactory) -> None:
        self.top_bar = TopBar(self.session, self.sources, self.settings)
        self.status = StatusBar(self.session)
        self.banner = Banner()
        self.work = WorkPage(self.session, self._load)
        self.trace_panel, self.signals = self.work.trace_panel, self.work.signals
        self.transport, self.picture_panel = self.work.transport, self.work.picture_panel
        self.history, self.outcomes = self.work.history, self.work.outcomes
        self.pictures = PictureActions(
            self, self.picture_panel, self.session.history, self.banner, self._load
        )
        self.sources_view = SourcesView(self.sources)
        self.welcome = Welcome(self.sources_view, RecentView(self.past))
        self.notices = Notices(
            self.banner, self.session, self.past, self.welcome.recent, self.preferences
        )
        self.inspect = InspectDialog(
            self.session.history, self._load, self, paint_of=self.session.paint_times.of
        )
        self.stimuli = StimulusWindow(self._load, self)
        self.leading = Leading(
            self.stimuli, waiting=self._waiting_session, seen=self.session.set_seen
        )
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
        context = ToolContext(
            parent=self,
            factory=factory,
            session=self.session,
            settings=self.settings,
            sources=self.sources,
            stimuli=self.stimuli,
            load_picture=self._load,
            show_error=self.banner.show_error,
            sessions_folder=lambda: self.preferences.value.sessions_path,
        )
        self.tools = ToolWindows(context)

    def _make_board_source(self, service: BoardService) -> BoardSource:
        return BoardSource(
            service,
            sources=self.sources,
            session=self.session,
            start=self.start,
            show_error=self.banner.show_error,
            parent=self,
        )

    def _connect(self) -> None:
        self.keyboard = Keyboard(self._actions())
        for tool in self._tools:
            self.keyboard.add(tool.key, f"tool:{tool.title}", partial(self.open_tool, tool))
        bar = self.top_bar
        bar.menu.setMenu(build_menu(bar, self.keyboard, self._tools))
        bar.start_asked.connect(self.toggle)
        bar.record_asked.connect(self.toggle_recording)
        bar.source_asked.connect(self.show_sources)
        bar.theme_asked.connect(self.toggle_theme)
        bar.stimuli_asked.connect(self.show_stimuli)
        bar.failed.connect(self.banner.show_error)
        self.banner.dismissed.connect(self.dismiss)
        self.welcome.recent.recover_asked.connect(self.recover)
        self.welcome.recent.delete_asked.connect(self.delete_session)
        self.welcome.demo_asked.connect(self.start_demo)
        self.sources_view.chosen.connect(self.start)
        self.sources_view.board_asked.connect(self.show_boards)
        self.sources_view.board_button.setVisible(self.board_source is not None)
        self.work.export.clicked.connect(self.pictures.export)
        panel = self.picture_panel
        panel.save_asked.connect(self.pictures.save)
        panel.copy_asked.connect(self.pictures.copy)
        panel.control_asked.connect(self.set_control)
        panel.adapter.asked.connect(self.session.adapt)
        panel.set_control(self.settings.control)
        self.history.chosen.connect(self.inspect_result)

    def _actions(self) -> Actions:
        return {
            **session_actions(self.session),
            **source_actions(self.sources_view),
            **replay_actions(self.transport),
            **trace_actions(self.trace_panel),
            **picture_actions(self.pictures),
            "toggle": self.toggle,
            "record": self.toggle_recording,
            "sources": self.show_sources,
            "boards": self.show_boards,
            "views": self.signals.step,
            "control": lambda: self.set_control(not self.settings.control),
            "report": self.banner.open_report,
            "settings": self.show_settings,
            "stimuli": self.show_stimuli,
            "stage": self.toggle_stage,
            "theme": self.toggle_theme,
            "text_larger": partial(self.scale_text, 1),
            "text_smaller": partial(self.scale_text, -1),
            "menu": self.top_bar.menu.showMenu,
            "keys": self.show_keys,
            "dismiss": self.dismiss,
            "quit": self.close,
        }
