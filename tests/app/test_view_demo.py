"""The whole application in its window: virtual headset, LSL, decoder process, pictures, report."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

import models
from app.port import Phase
from app.runtime.factory import RuntimeFactory
from app.views.main_window import MainWindow
from app.views.signal_panel import TABS
from configs import list_presets, load_preset

WEIGHTS = Path(models.__file__).parent / "embedded" / "weights"
SCREENSHOTS = Path(__file__).resolve().parents[2] / "docs" / "img"
N_PICTURES = 3

pytestmark = [
    pytest.mark.lsl,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (WEIGHTS / "vae").is_dir(), reason=f"{WEIGHTS} holds no generator: nothing to draw with"
    ),
]


def test_one_click_leads_to_pictures_and_a_report(qtbot: QtBot, tmp_path: Path) -> None:
    window = MainWindow(
        RuntimeFactory(out=tmp_path / "session"), load_preset("demo"), presets=list_presets()
    )
    qtbot.addWidget(window)
    window.show()
    try:
        qtbot.mouseClick(window.welcome.demo_button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING, timeout=40_000)
        qtbot.waitUntil(lambda: window.session.traces.newest > 0, timeout=20_000)
        wanted = int(os.environ.get("PHOSPHENE_WRITE_SCREENSHOTS", "0")) * 14 or N_PICTURES
        qtbot.waitUntil(lambda: len(window.session.history.pictures) >= wanted, timeout=60_000)
        assert window.picture_panel.decoded.has_picture
        assert window.session.snapshot.recording is not None
        window._show_texts()
        if os.environ.get("PHOSPHENE_WRITE_SCREENSHOTS"):
            _write_screenshots(window)
        window.inspect_result(window.session.history.pictures[-1].index)
        assert window.inspect.epoch.has_epoch
        window.inspect.close()
        qtbot.keyClick(window, Qt.Key.Key_Space)
        qtbot.waitUntil(window.banner.isVisible, timeout=20_000)
        assert window.banner.report.isVisible(), window.banner.text.text()
        assert (tmp_path / "session" / "recording.xdf").stat().st_size > 0
    finally:
        window.close()
        window.shut_down()


def _write_screenshots(window: MainWindow) -> None:
    for theme in ("light", "dark"):
        if window.theme.name != theme:
            window.toggle_theme()
        window.tick()
        suffix = "" if theme == "dark" else "-light"
        window.grab_screen(SCREENSHOTS / f"window-running{suffix}.png")
        for at, name in enumerate(TABS[:4]):
            window.signals.open(at)
            QApplication.processEvents()
            window.tick()
            window._show_texts()
            window.grab_screen(SCREENSHOTS / f"window-{name.lower()}{suffix}.png")
        window.signals.open(None)
        window.inspect_result(window.session.history.pictures[-2].index)
        window.inspect.grab().save(str(SCREENSHOTS / f"window-inspect{suffix}.png"))
        window.inspect.close()
