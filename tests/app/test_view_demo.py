"""The whole application in its window: virtual headset, LSL, decoder process, pictures, report."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

import models
from app.calibration.factory import CalibrationFactory
from app.cli import main
from app.port import Phase
from app.runtime.factory import RuntimeFactory
from app.view_models.settings.preferences import Preferences, PreferencesStore
from app.view_models.signals.traces import TraceMode
from app.views.signals.signal_panel import TABS
from app.views.window.main_window import MainWindow
from configs import list_presets, load_preset
from tests.app.screenshots import WANTED, is_sure, shoot

WEIGHTS = Path(models.__file__).parent / "embedded" / "weights"
N_PICTURES = 3
NOTES = "New gel on O2 before the start.\nBlinks a lot from 0:14 on.\n"

pytestmark = [
    pytest.mark.lsl,
    pytest.mark.slow,
    pytest.mark.timeout(1200 if WANTED else 600),
    pytest.mark.skipif(
        not (WEIGHTS / "vae").is_dir(), reason=f"{WEIGHTS} holds no generator: nothing to draw with"
    ),
]


def test_one_click_leads_to_pictures_and_a_report(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # sessions after the first are named by date, below `sessions`
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    window = MainWindow(
        RuntimeFactory(out=tmp_path / "session"),
        load_preset("demo"),
        presets=list_presets(),
        load_preset=load_preset,
        preferences=PreferencesStore(None, Preferences(confirm=False)),
    )
    qtbot.addWidget(window)
    window.show()
    history = window.session.history
    patience = 8 if WANTED else 1
    try:
        qtbot.mouseClick(window.welcome.demo_button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING, timeout=40_000 * patience)
        qtbot.waitUntil(lambda: window.session.traces.newest > 0, timeout=20_000 * patience)
        qtbot.waitUntil(
            lambda: len(history.pictures) >= N_PICTURES or window.session.phase is Phase.FAILED,
            timeout=60_000 * patience,
        )
        assert window.session.phase is Phase.RUNNING, window.session.error
        assert window.picture_panel.decoded.has_picture
        assert window.session.snapshot.recording is not None
        window._show_texts()
        if WANTED:
            _write_running(window, qtbot)
        window.inspect_result(history.pictures[-1].index)
        assert window.inspect.epoch.has_epoch
        p50, p95 = window.session.paint_times.stages({})["paint"]
        assert 0 < p50 <= p95
        window.inspect.close()
        qtbot.keyClick(window, Qt.Key.Key_C)
        qtbot.waitUntil(
            lambda: history.latest is not None and history.latest.control_pixels is not None,
            timeout=60_000 * patience,
        )
        window.tick()
        assert window.picture_panel.control.has_picture
        qtbot.keyClick(window, Qt.Key.Key_Space)
        qtbot.waitUntil(window.banner.isVisible, timeout=30_000 * patience)
        assert window.banner.report.isVisible(), window.banner.text.text()
        assert opened == [str(tmp_path / "session" / "report.html")]
        recording = tmp_path / "session" / "recording.xdf"
        assert recording.stat().st_size > 0
        if WANTED:
            _write_replay(window, qtbot, recording)
            _write_adapter(window, qtbot, tmp_path)
    finally:
        window.close()
        window.shut_down()


def _wait_for_sure(window: MainWindow, qtbot: QtBot) -> None:
    """Wait for a moment that `is_sure` describes, and show it."""
    qtbot.waitUntil(lambda: is_sure(window.session.history.pictures), timeout=600_000)
    window.tick()
    window._show_texts()


def _write_running(window: MainWindow, qtbot: QtBot) -> None:
    for theme in ("light", "dark"):
        if window.theme.name != theme:
            window.toggle_theme()
        _wait_for_sure(window, qtbot)
        suffix = "" if theme == "dark" else "-light"
        shoot(window, f"running{suffix}")
        for at, name in enumerate(TABS[:4]):
            window.signals.open(at)
            QApplication.processEvents()
            window.tick()
            window._show_texts()
            if name == "Electrodes" or (theme == "dark" and name != "Averages"):
                shoot(window, f"{name.lower()}{suffix}")
        if theme == "dark":
            window.session.notes = NOTES
            window.signals.open(TABS.index("Notes"))
            shoot(window, "notes")
        window.signals.open(None)
        _wait_for_sure(window, qtbot)
        window.inspect_result(window.session.history.pictures[-1].index)
        shoot(window.inspect, f"inspect{suffix}")
        window.inspect.close()
    window.scale_text(2)
    window.signals.open(TABS.index("Electrodes"))
    QApplication.processEvents()
    _wait_for_sure(window, qtbot)
    shoot(window, "running-large")
    window.signals.open(None)
    window.scale_text(-2)
    QApplication.processEvents()
    window.session.traces.set_mode(TraceMode.SCROLL)
    window.session.traces.set_lanes(8)
    _wait_for_sure(window, qtbot)
    shoot(window, "running-scroll")
    qtbot.keyClick(window, Qt.Key.Key_P)
    for _ in range(3):
        qtbot.keyClick(window, Qt.Key.Key_Left)
    shoot(window, "paused")
    qtbot.keyClick(window, Qt.Key.Key_P)
    window.session.traces.set_mode(TraceMode.SWEEP)
    window.session.traces.set_lanes(0)
    window.show_stimuli()
    qtbot.waitUntil(lambda: window.stimuli.label is not None, timeout=60_000)
    shoot(window.stimuli, "stimulus")
    window.stimuli.close()


def _write_replay(window: MainWindow, qtbot: QtBot, recording: Path) -> None:
    window.set_control(False)
    window.sources_view.choose_recording(recording)
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING, timeout=300_000)
    _wait_for_sure(window, qtbot)
    shoot(window, "replay")
    window.toggle()
    qtbot.waitUntil(lambda: not window.session.active, timeout=100_000)
    qtbot.waitUntil(window.banner.isVisible, timeout=30_000)
    shoot(window, "finished")


def _write_adapter(window: MainWindow, qtbot: QtBot, folder: Path) -> None:
    """Calibrate for the person with the virtual headset, then decode with that adapter."""
    words = f"--virtual --board cap32 --fast --minutes 5 --subject S01 --out {folder}/calibration"
    assert main(["calibrate", "--headless", "--force", *words.split()]) == 0
    (record,) = CalibrationFactory().stored().list()
    window.start_demo()
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING, timeout=300_000)
    port = window.session.port
    assert port is not None
    port.swap_adapter(record.folder)
    qtbot.waitUntil(lambda: bool(window.session.snapshot.adapter), timeout=300_000)
    window.session.adapt("resume")
    _wait_for_sure(window, qtbot)
    shoot(window, "adapter")
    window.toggle()
    qtbot.waitUntil(lambda: not window.session.active, timeout=100_000)
