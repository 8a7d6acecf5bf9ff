"""The last part of the latency: from the decoder's answer to the paint on the screen."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.view_models.session.paint_times import NEWEST, PaintTimes
from app.views.session.charts import LatencyChart
from app.views.window.main_window import MainWindow
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, run_demo

RESULT = FakeSession(length=6.0)._results[0]


def test_paint_and_total_are_of_the_same_pictures() -> None:
    now = [100.0]
    times = PaintTimes(clock=lambda: now[0])
    known = {"encode": (6.0, 9.0), "total_after_epoch": (150.0, 200.0)}
    assert times.stages(known) == {"encode": (6.0, 9.0), "total": (150.0, 200.0)}
    for index, paint in enumerate((0.010, 0.030)):
        now[0] = 100.0 + index
        result = replace(RESULT, index=index, returned=now[0] - paint)
        times.painted(result)
        now[0] += 5.0
        times.painted(result)  # painted again, when the window is moved: no longer news
    assert times.of(0) == pytest.approx(10.0)
    assert times.of(7) is None
    stages = times.stages(known)
    assert stages["paint"] == pytest.approx((20.0, 29.0))
    total = RESULT.stages.total_after_epoch  # type: ignore[union-attr]
    assert stages["total"] == pytest.approx((total + 20.0, total + 29.0))


def test_only_the_newest_are_kept_and_unknown_ones_left_out() -> None:
    times = PaintTimes(clock=lambda: 2.0)
    times.painted(replace(RESULT, index=0, returned=None))
    times.painted(replace(RESULT, index=1, returned=1.0, stages=None))
    assert "paint" not in times.stages({})
    for index in range(NEWEST + 5):
        times.painted(replace(RESULT, index=index, returned=1.0))
    assert times.of(4) is None
    assert times.of(5) == pytest.approx(1000.0)
    times.reset()
    assert times.of(5) is None


def test_the_window_measures_its_own_paint(qtbot: QtBot) -> None:
    template = FakeSession()
    window = MainWindow(FakeFactory(template=template), STIMULI)
    qtbot.addWidget(window)
    window.show()
    session = run_demo(window, qtbot, 3.0)
    index = len(session.results(0))
    session._results[index] = replace(session._results[index], returned=time.monotonic() - 0.5)
    session.now = 3.5
    window.tick()
    QApplication.processEvents()
    shown = window.picture_panel.shown
    assert shown is session._results[index]
    paint = window.session.paint_times.of(shown.index)
    assert paint is not None
    assert 500.0 < paint < 5000.0
    window._show_texts()
    assert "paint" in window.work.latency.accessibleDescription()
    window.inspect_result(shown.index)
    assert f"paint {paint:.1f}" in window.inspect.latency.accessibleDescription()
    window.end()


def test_every_stage_has_a_row() -> None:
    assert len(LatencyChart.ROWS) == len(LatencyChart.NAMES)
    assert LatencyChart.ROWS[-2:] == ("paint", "total")
