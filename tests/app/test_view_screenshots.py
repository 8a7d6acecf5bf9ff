"""Pictures of the running application; those of the demo's session are in test_view_demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.boards import ProcessBoards
from app.calibration.schedule import SETS
from app.runtime.factory import RuntimeFactory
from app.view_models.settings.preferences import Preferences, PreferencesStore
from app.view_models.sources.model import SourceOptions
from app.views.signals.signal_panel import TABS
from app.views.sources.view import MontageDialog, OptionsDialog
from app.views.window.keys_dialog import KeysDialog
from app.views.window.main_window import MainWindow
from app.views.window.settings_dialog import SettingsDialog
from configs import list_presets, load_preset
from pipeline.gallery import load_gallery
from tests.app.screenshots import is_sure, only_when_wanted, shoot
from tests.waiting import PATIENCE

pytestmark = only_when_wanted
BACK = "PO7,PO8,O1,O2,P7,P8,Oz,Pz"
KILOOHM = (6.0, 9.0, 12.0, 35.0, 18.0, 900.0, 8.0, 4000.0)
"""Impedances of the electrodes over the back of the head: one doubtful, one that hangs."""
CYTON = """
import contextlib, pathlib, threading
from devices.emulated import EmulatedCyton
from devices.emulated.__main__ import alpha
ohm = [1e3 * kiloohm for kiloohm in {ohm}]
with EmulatedCyton(alpha, ohm=ohm, link=pathlib.Path({port!r})):
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
"""


Make = Callable[..., MainWindow]
Popen = Callable[..., "subprocess.Popen[str]"]


def _make(
    out: Path,
    preset: str = "demo",
    *,
    theme: Literal["dark", "light"] = "dark",
    sessions: Path | None = None,
    labels: tuple[str, ...] = (),
) -> MainWindow:
    """The application's own window on its own sessions, in `out`."""
    liked = Preferences(theme=theme, open_report=False, confirm=False)
    if sessions is not None:
        liked = liked.model_copy(update={"sessions_folder": str(sessions)})
    config = load_preset(preset)
    stimuli = config.stimuli.model_copy(update={"labels": labels})
    window = MainWindow(
        RuntimeFactory(out=out),
        config.model_copy(update={"stimuli": stimuli}),
        presets=() if labels else list_presets(),
        load_preset=load_preset,
        boards=ProcessBoards(),
        preferences=PreferencesStore(None, liked),
        sessions_root=sessions,
    )
    window.show()
    return window


@pytest.fixture
def make_window(qtbot: QtBot, tmp_path: Path) -> Iterator[Make]:
    """Makes windows as `_make` does; whatever becomes of the test, they end."""
    made: list[MainWindow] = []

    def make(*args: Any, **options: Any) -> MainWindow:
        made.append(_make(tmp_path / "session", *args, **options))
        qtbot.addWidget(made[-1])
        return made[-1]

    yield make
    for window in made:
        window.end()


@pytest.fixture
def window(make_window: Make) -> MainWindow:
    return make_window()


def _headset(popen: Popen, *words: str) -> subprocess.Popen[str]:
    """A virtual headset in a process of its own, as `phosphene simulate` is; it can be found."""
    process = popen(
        [sys.executable, "-m", "devices.virtual", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def _find(window: MainWindow, qtbot: QtBot, n_streams: int) -> None:
    """Search until so many EEG streams are listed, and choose the first."""
    listed = window.sources_view.list

    def found() -> bool:
        if not window.sources.searching and listed.topLevelItemCount() < n_streams:
            window.sources_view.search()
        window.tick()
        return listed.topLevelItemCount() == n_streams

    qtbot.waitUntil(found, timeout=60_000)
    listed.topLevelItem(0).setSelected(True)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_first_run(make_window: Make, theme: Literal["dark", "light"]) -> None:
    window = make_window(theme=theme)
    shoot(window, f"first-run{'' if theme == 'dark' else '-light'}")


@pytest.mark.lsl
def test_sources_and_their_dialogs(window: MainWindow, qtbot: QtBot, popen: Popen) -> None:
    """A virtual cap, a stream without labels as the OpenBCI GUI sends it, and a lab's markers."""
    from pylsl import StreamInfo, StreamOutlet

    _headset(popen, "--board", "cap63")
    unnamed = StreamOutlet(StreamInfo("obci_eeg1", "EEG", 8, 250.0, "float32", "openbcigui"))
    markers = StreamOutlet(StreamInfo("psychopy", "Markers", 1, 0.0, "string", "pp"))
    _find(window, qtbot, 2)
    for suffix in ("", "-light"):
        shoot(window, f"sources{suffix}")
        window.toggle_theme()
    (stream,) = (each for each in window.sources.eeg_streams if each.name == "obci_eeg1")
    montage = MontageDialog(stream, window)
    qtbot.addWidget(montage)
    montage.show()
    shoot(montage, "montage")
    options = OptionsDialog(SourceOptions(("TP9", "AF7", "AUX"), "value", "", "#2"), window)
    qtbot.addWidget(options)
    options.show()
    shoot(options, "source-options")
    del unnamed, markers


@pytest.mark.lsl
def test_a_lost_stream(qtbot: QtBot, make_window: Make, popen: Popen) -> None:
    """The headset is switched off in a session."""
    headset = _headset(popen, "--board", "cap32")
    window = make_window()
    _find(window, qtbot, 1)
    window.sources_view.connect_button.click()
    history, session = window.session.history, window.session
    qtbot.waitUntil(lambda: len(history.pictures) >= 9, timeout=240_000)
    headset.kill()
    qtbot.waitUntil(lambda: (session.silent_for or 0.0) >= 8.0, timeout=60_000)
    window.signals.open(None)
    window.tick()
    for suffix in ("", "-light"):
        window._show_texts()
        shoot(window, f"error{suffix}")
        window.toggle_theme()


@pytest.mark.lsl
def test_control(qtbot: QtBot, window: MainWindow) -> None:
    """A session with the noise control on from its first epoch."""
    window.set_control(True)
    window.start_demo()
    qtbot.waitUntil(lambda: is_sure(window.session.history.pictures), timeout=600_000)
    window.tick()
    window._show_texts()
    shoot(window, "control")


@pytest.mark.lsl
def test_averages(qtbot: QtBot, make_window: Make) -> None:
    """Twenty epochs and more of each of three categories."""
    gallery = load_gallery()
    shown = SETS["varied"].labels(gallery)
    kinds = dict(zip(gallery.labels, gallery.categories, strict=True))
    labels = tuple(x for x in shown if kinds[x] in ("face", "house", "food"))
    window = make_window(labels=labels)
    window.start_demo()
    evoked = window.session.evoked

    def enough() -> bool:
        kinds = evoked.evoked
        return len(kinds) == 3 and min(each.n for each in kinds) >= 20

    qtbot.waitUntil(enough, timeout=600_000)
    window.signals.open(TABS.index("Averages"))
    QApplication.processEvents()
    window.tick()
    window._show_texts()
    shoot(window, "averages")


@pytest.mark.lsl
@pytest.mark.skipif(sys.platform == "win32", reason="the killed session is ended by SIGKILL")
def test_recent(qtbot: QtBot, tmp_path: Path, make_window: Make, popen: Popen) -> None:
    """Two sessions that ended, and one that was killed."""
    demo = [sys.executable, "-m", "phosphene", "demo", "--headless", "--duration"]
    for seconds in ("25", "15"):
        assert popen([*demo, seconds], cwd=tmp_path).wait(300) == 0
    killed = popen([*demo, "600"], cwd=tmp_path)
    root = tmp_path / "sessions"

    def under_way() -> bool:
        lines = [len(path.read_bytes().splitlines()) for path in root.glob("*/events.jsonl")]
        return len(lines) == 3 and min(lines) >= 5

    qtbot.waitUntil(under_way, timeout=120_000)
    killed.kill()
    killed.wait(PATIENCE)
    window = make_window(sessions=root)
    qtbot.waitUntil(lambda: len(window.welcome.recent.rows) == 3, timeout=60_000)
    shoot(window, "recent")


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
        dialog.ports.blockSignals(False)
        dialog.ports.setEditText(cyton.port)
        dialog.behind.click()
        dialog.measure_button.click()
        qtbot.waitUntil(lambda: dialog.verdict.text().startswith("✓ All 8"), timeout=90_000)
        dialog.ports.blockSignals(True)
        dialog.ports.setEditText("/dev/ttyUSB0")
        shoot(dialog, "board-electrodes")
    dialog.close()


@pytest.mark.lsl
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_impedances(qtbot: QtBot, tmp_path: Path, make_window: Make, popen: Popen) -> None:
    """A Cyton whose electrodes are measured first, then its stream with what was measured."""
    pytest.importorskip("brainflow", reason="BrainFlow is an extra")
    window = make_window("pictures")
    port = tmp_path / "cyton"
    # In a process of its own: a real board does not wait for the window either.
    cyton = popen([sys.executable, "-c", CYTON.format(port=str(port), ohm=KILOOHM)])
    qtbot.waitUntil(port.exists, timeout=60_000)
    command = [sys.executable, "-m", "phosphene", "device", "cyton", "--serial-port", str(port)]
    bridge = popen([*command, "--montage", BACK, "--impedance-first"])
    try:
        _find(window, qtbot, 1)
        window.sources_view.connect_button.click()
        history = window.session.history
        qtbot.waitUntil(lambda: len(history.pictures) >= 5, timeout=240_000)
        window.signals.open(1)
        window.tick()
        window._show_texts()
        shoot(window, "impedance")
    finally:
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


def test_keys(window: MainWindow, qtbot: QtBot) -> None:
    keys = KeysDialog(window)
    qtbot.addWidget(keys)
    keys.show()
    shoot(keys, "keys")


def test_large_text(window: MainWindow) -> None:
    window.scale_text(2)
    shoot(window, "large-text")
    window.scale_text(-2)
