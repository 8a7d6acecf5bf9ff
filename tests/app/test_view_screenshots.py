"""Pictures of the views that need no headset; those of a session are in test_view_demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.boards import ProcessBoards
from app.runtime.factory import RuntimeFactory
from app.view_models.preferences import Preferences, PreferencesStore
from app.views.keys_dialog import KeysDialog
from app.views.main_window import MainWindow
from app.views.settings_dialog import SettingsDialog
from app.views.sources_view import MontageDialog
from configs import list_presets, load_preset
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.screenshots import only_when_wanted, shoot
from tests.app.test_recovery import crashed
from tests.app.test_views import STREAMS, run_demo, session_of
from tests.waiting import PATIENCE

pytestmark = only_when_wanted
BACK = "PO7,PO8,O1,O2,P7,P8,Oz,Pz"
KILOOHM = (6.0, 9.0, 12.0, 35.0, 18.0, 900.0, 8.0, 4000.0)
"""Impedances of the electrodes over the back of the head: one doubtful, one that hangs."""
CYTON = """
import contextlib, pathlib, threading
from devices.emulated import EmulatedCyton
from devices.emulated.__main__ import alpha
from tests.waiting import PATIENCE
ohm = [1e3 * kiloohm for kiloohm in {ohm}]
with EmulatedCyton(alpha, ohm=ohm, link=pathlib.Path({port!r})):
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
"""


def _window(qtbot: QtBot, theme: str = "dark", *, sessions: Path | None = None) -> MainWindow:
    liked = Preferences(theme=theme, open_report=False, confirm=False)  # type: ignore[arg-type]
    if sessions is not None:
        liked = liked.model_copy(update={"sessions_folder": str(sessions)})
    window = MainWindow(
        FakeFactory(template=FakeSession(decodes=False), streams=STREAMS),
        load_preset("demo"),
        presets=list_presets(),
        load_preset=load_preset,
        boards=ProcessBoards(),
        preferences=PreferencesStore(None, liked),
        sessions_root=sessions,
    )
    qtbot.addWidget(window)
    window.show()
    return window


def _real_window(out: Path, preset: str) -> MainWindow:
    liked = Preferences(open_report=False, confirm=False)
    return MainWindow(
        RuntimeFactory(out=out),
        load_preset(preset),
        presets=list_presets(),
        load_preset=load_preset,
        preferences=PreferencesStore(None, liked),
    )


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[MainWindow]:
    window = _window(qtbot)
    yield window
    window.end()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_first_run_sources_and_error(qtbot: QtBot, theme: str) -> None:
    window = _window(qtbot, theme)
    suffix = "" if theme == "dark" else "-light"
    shoot(window, f"first-run{suffix}")
    window.sources_view.search()
    qtbot.waitUntil(lambda: window.sources_view.list.topLevelItemCount() == 2)
    window.sources_view.list.topLevelItem(0).setSelected(True)
    shoot(window, f"sources{suffix}")
    # Pictures in the documentation are real ones only: this session draws none.
    run_demo(window, qtbot, 13.7)
    session_of(window).fail_at = 13.0
    window.tick()
    window._show_texts()
    shoot(window, f"error{suffix}")
    window.end()


def test_recent(qtbot: QtBot, tmp_path: Path) -> None:
    root = tmp_path / "sessions"
    for hour, subject in ((9, "S01"), (11, "S02"), (14, "S01")):
        folder = root / f"20261120-{hour:02d}0000"
        folder.mkdir(parents=True)
        (folder / "events.jsonl").touch()
        (folder / "report.html").touch()
        summary = {"outcomes": {"decoded": 12 * hour}, "duration_s": 60.0 * hour}
        (folder / "summary.json").write_text(json.dumps(summary | {"subject": subject}))
        ended = datetime(2026, 11, 20, hour, hour).timestamp()
        os.utime(folder / "events.jsonl", (ended, ended))
    crashed(root / f"{datetime.now():%Y%m%d}-093000")
    window = _window(qtbot, sessions=root)
    qtbot.waitUntil(lambda: len(window.welcome.recent.rows) == 4, timeout=60_000)
    shoot(window, "recent")
    window.end()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_boards(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    pytest.importorskip("brainflow", reason="BrainFlow is an extra")
    from devices.emulated import EmulatedCyton
    from devices.emulated.__main__ import alpha

    assert window.board_source is not None
    dialog = window.board_source.dialog
    window.show_boards()
    qtbot.waitUntil(lambda: dialog.board.count() > 1 and dialog.board.isEnabled(), timeout=20_000)
    at = dialog.board.findData("cyton")
    dialog.board.activated.emit(at)
    dialog.ports.setEditText("/dev/ttyUSB7")
    dialog.tick()
    dialog.test_button.click()
    qtbot.waitUntil(lambda: "cannot be reached" in dialog.verdict.text(), timeout=20_000)
    shoot(dialog, "board-error")
    with EmulatedCyton(alpha, link=tmp_path / "ttyUSB0") as cyton:
        dialog.ports.setEditText(cyton.port)
        dialog.tick()
        dialog.test_button.click()
        qtbot.waitUntil(lambda: dialog.verdict.text().startswith("✓"), timeout=20_000)
        # A reader's port is not in our temporary folder.
        dialog.ports.blockSignals(True)
        dialog.ports.setEditText("/dev/ttyUSB0")
        shoot(dialog, "boards")
    dialog.close()


@pytest.mark.lsl
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_impedances(qtbot: QtBot, tmp_path: Path) -> None:
    """A Cyton whose electrodes are measured first, then its stream with what was measured."""
    pytest.importorskip("brainflow", reason="BrainFlow is an extra")
    window = _real_window(tmp_path / "session", "pictures")
    qtbot.addWidget(window)
    window.show()
    port = tmp_path / "cyton"
    # In a process of its own: a real board does not wait for the window either.
    cyton = subprocess.Popen([sys.executable, "-c", CYTON.format(port=str(port), ohm=KILOOHM)])
    qtbot.waitUntil(port.exists, timeout=60_000)
    command = [sys.executable, "-m", "app", "device", "cyton", "--serial-port", str(port)]
    bridge = subprocess.Popen([*command, "--montage", BACK, "--impedance-first"])
    try:
        sources = window.sources_view
        for _ in range(60):
            sources.search()
            qtbot.waitUntil(lambda: not window.sources.searching, timeout=60_000)
            window.tick()
            if sources.list.topLevelItemCount():
                break
        sources.list.topLevelItem(0).setSelected(True)
        sources.connect_button.click()
        history = window.session.history
        qtbot.waitUntil(lambda: len(history.pictures) >= 5, timeout=240_000)
        window.signals.open(1)
        window.tick()
        window._show_texts()
        shoot(window, "impedance")
    finally:
        window.end()
        for process in (bridge, cyton):
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)


@pytest.mark.lsl
def test_hidpi(tmp_path: Path) -> None:
    """A real session on a screen with two pixels for each of the window's."""
    from tests.app import hidpi_session

    subprocess.run(
        [sys.executable, "-m", hidpi_session.__name__, str(tmp_path / "session")],
        env=os.environ | {"QT_SCALE_FACTOR": "2"},
        check=True,
        timeout=280,
    )


def test_settings(window: MainWindow, qtbot: QtBot) -> None:
    usual = PreferencesStore(None, Preferences())
    dialog = SettingsDialog(window.settings.form(), usual, preset="demo", parent=window)
    qtbot.addWidget(dialog)
    dialog.show()
    shoot(dialog, "settings-window")
    dialog.open_section("Filter")
    dialog.rows["filter.l_freq"].changed.emit("filter.l_freq", "1")
    shoot(dialog, "settings")
    dialog.open_section("Epochs")
    dialog.rows["epochs.tmax"].changed.emit("epochs.tmax", "-1")
    shoot(dialog, "settings-problem")


def test_keys_and_montage(window: MainWindow, qtbot: QtBot) -> None:
    keys = KeysDialog(window)
    qtbot.addWidget(keys)
    keys.show()
    shoot(keys, "keys")
    montage = MontageDialog(STREAMS[1], window)
    qtbot.addWidget(montage)
    montage.show()
    shoot(montage, "montage")
    QApplication.processEvents()


def test_large_text(qtbot: QtBot) -> None:
    window = _window(qtbot)
    window.scale_text(2)
    shoot(window, "large-text")
    window.scale_text(-2)
    window.end()
