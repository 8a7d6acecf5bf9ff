"""Screens finer than the window's own pixels: everything is painted at the screen's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.view_models.session.history import HistoryModel
from app.views.session.history_strip import HistoryStrip
from app.views.signals.trace_widget import TraceWidget
from tests.app.fake_session import FakeSession
from tests.app.test_view_models import traces_of
from tests.waiting import PATIENCE


def painted_at(factor: str) -> dict[str, Any]:
    """Run `hidpi_program` at a scale; Qt reads it once, at its start."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.app.hidpi_program"],
        env=os.environ | {"QT_SCALE_FACTOR": factor, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("factor", ["2", "1.5"])
def test_every_pixel_of_a_fine_screen_is_painted(factor: str) -> None:
    found = painted_at(factor)
    for mode in ("sweep", "scroll"):
        traces = found[mode]
        assert traces["ratio"] == float(factor)
        assert traces["columns"] == round(traces["plot_width"] * float(factor))
        assert traces["differing"] == [0, 0, 0, 0], f"{mode}: blended, moved or torn"
        assert traces["spike"] > 0.9, f"{mode}: the spike is missing"
    for part in ("picture", "off_centre", "stimulus"):
        assert found[part] == pytest.approx(1.0, abs=0.01), f"{part}: blended"


def test_another_screen_s_pixels_are_taken_over(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = traces_of()
    widget = TraceWidget(model)
    strip = HistoryStrip(HistoryModel(), lambda _label: None)
    for each in (widget, strip):
        qtbot.addWidget(each)
        each.resize(900, 480)
        each.show()
    coarse = model.n_pixels
    monkeypatch.setattr(widget, "devicePixelRatioF", lambda: 2.0)
    QApplication.sendEvent(widget, QEvent(QEvent.Type.DevicePixelRatioChange))
    assert model.n_pixels == 2 * coarse
    assert widget._image is not None
    assert widget._image.devicePixelRatio() == 2.0

    session = FakeSession()
    session.start()
    session.now = 4.0
    result = next(r for r in session.results(0) if r.pixels is not None)
    widths = []
    for ratio in (1.0, 2.0):
        monkeypatch.setattr(strip, "devicePixelRatioF", lambda ratio=ratio: ratio)
        pixmap = strip._pixmap("decoded", result, 50)
        assert pixmap is not None
        widths.append(pixmap.width())
    assert widths == [50, 100]
