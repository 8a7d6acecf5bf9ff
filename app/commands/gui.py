"""`phosphene gui`: the application.

Owns the QApplication, its exit and the pictures of the window that the documentation shows. torch
is never imported here: decoding has its own process.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.common import (
    add_device,
    add_fallback,
    add_outputs,
    add_remote,
    add_settings,
    apply_overrides,
    device_overrides,
    load,
    output_overrides,
    positive,
    remote_overrides,
)
from app.ending import FINISHING, Ending, orderly

if TYPE_CHECKING:
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    from app.session_factory import SessionFactory
    from app.views.window.main_window import MainWindow
    from configs import SessionConfig


SIGNAL_MS = 50
"""Within what time a signal is obeyed, ms."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "gui", help="the application", description="Open the application's window."
    )
    add_settings(parser)
    add_device(parser)
    add_remote(parser)
    add_fallback(parser)
    add_outputs(parser)
    parser.add_argument("--theme", choices=("dark", "light"), default=None)
    parser.add_argument("--demo", action="store_true", help="start the virtual headset at once")
    parser.add_argument(
        "--screenshot",
        type=Path,
        default=None,
        metavar="FILE",
        help="save a picture of the window and end (works without a display)",
    )
    parser.add_argument(
        "--after", type=positive, default=5.0, metavar="S", help="when the picture is taken, s (5)"
    )


def run(args: argparse.Namespace) -> int:
    """Open the window."""
    from app.runtime.factory import RuntimeFactory

    given = device_overrides(args) | output_overrides(args) | remote_overrides(args)
    config = load(args.preset, args.config, fallback=args.fallback)
    return run_window(
        RuntimeFactory(),
        apply_overrides(config, given),
        autostart_demo=args.demo,
        screenshot=args.screenshot,
        after=args.after,
        theme=args.theme,
        resume=args.preset is None
        and args.config is None
        and all(value is None for value in given.values()),
    )


def run_window(
    factory: SessionFactory,
    config: SessionConfig,
    *,
    autostart_demo: bool = False,
    duration: float | None = None,
    screenshot: Path | None = None,
    after: float = 5.0,
    theme: str | None = None,
    calibrate: bool = False,
    resume: bool = False,
) -> int:
    """Show the window until it is closed; return the exit code.

    With `autostart_demo` the virtual headset starts at once, else the stream that
    `config.source` names, if it names one. With `calibrate` nothing starts by itself: the guided
    calibration opens on that stream, or on the virtual headset. With `resume` the window begins
    with the preset and the source of last time. `duration` (s) is how long the
    factory's sessions last; it is only shown. With `screenshot` a picture of the window is saved
    `after` s and the window closes. Raises `AppError` where none can be opened.
    """
    _require_display(offscreen=screenshot is not None)
    from PySide6.QtCore import QEvent, QSettings

    from app.boards import ProcessBoards
    from app.view_models.settings.preferences import PreferencesStore, preferences_path
    from app.view_models.settings.presets import presets_folder
    from app.views.window.main_window import MainWindow
    from configs import list_presets, load_preset

    app = application()
    kept = screenshot is None
    store = QSettings("phosphene", "phosphene") if kept else None
    preferences = PreferencesStore(preferences_path()) if kept else None
    window = MainWindow(
        factory,
        config,
        presets=list_presets(),
        load_preset=load_preset,
        presets_folder=presets_folder() if kept else None,
        boards=ProcessBoards(),
        settings=store,
        preferences=preferences,
        theme=theme,
        resume=resume,
        sessions_root=None if preferences is None else preferences.value.sessions_path,
    )
    with orderly(FINISHING) as end:
        window.show()
        window.status.expected = duration
        if calibrate:
            _open_calibration(window, config)
        else:
            _autostart(window, config, demo=autostart_demo)
        if screenshot is not None:
            _schedule_screenshot(app, window, screenshot, after)
        asked = _leave_when_asked(app, window, end)
        app.exec()
        asked.stop()
        # Closing asks to quit once more; left in the queue, that would end any later event loop.
        app.setQuitOnLastWindowClosed(False)
        window.end(FINISHING)
        app.removePostedEvents(app, QEvent.Type.Quit.value)
    return end.code


def _leave_when_asked(app: QApplication, window: MainWindow, end: Ending) -> QTimer:
    """Leave every event loop at a signal, a dialog's too, without a question to anybody."""
    from PySide6.QtCore import QTimer

    def look() -> None:
        if end.asked.is_set():
            # Not `quit`: it would ask the windows, and the main one asks the person.
            app.exit()

    timer = QTimer(window)
    timer.timeout.connect(look)
    timer.start(SIGNAL_MS)
    return timer


def _autostart(window: MainWindow, config: SessionConfig, *, demo: bool) -> None:
    from app.view_models.sources.model import SourceChoice, SourceKind

    if demo:
        window.start_demo()
    elif config.source.source_id or config.source.name:
        window.sources.choose(SourceChoice(SourceKind.LIVE))
        window.start()


def _open_calibration(window: MainWindow, config: SessionConfig) -> None:
    from app.view_models.sources.model import SourceChoice, SourceKind
    from app.views.window.tools import TOOLS

    live = bool(config.source.source_id or config.source.name)
    window.sources.choose(SourceChoice(SourceKind.LIVE if live else SourceKind.DEMO))
    window.open_tool(next(tool for tool in TOOLS if ".calibration.view:" in tool.opens))


def _schedule_screenshot(app: QApplication, window: MainWindow, path: Path, after: float) -> None:
    from PySide6.QtCore import QTimer

    def take() -> None:
        window.grab_screen(path)
        app.quit()

    QTimer.singleShot(round(1000 * after), window, take)


def application() -> QApplication:
    """Return the process's application, named."""
    from PySide6.QtWidgets import QApplication

    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(sys.argv[:1])
    app.setApplicationName("phosphene")
    app.setApplicationDisplayName("Phosphene")
    app.setQuitOnLastWindowClosed(True)
    return app


def _require_display(*, offscreen: bool) -> None:
    """Refuse where Qt would abort the process; a picture needs no display."""
    from app.display import has_display, window_problem
    from app.errors import AppError

    if offscreen and not has_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    problem = window_problem()
    if problem:
        raise AppError(problem)
