"""Many channels: pages of them, bad ones grey with their reason, all of it at 256."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.view_models.signals.display_filter import DISPLAY_FILTERS
from app.view_models.signals.lanes import FEWEST
from app.view_models.signals.traces import TraceMode, TraceModel
from app.views.common.theme import DARK
from app.views.signals.trace_widget import TraceWidget
from app.views.window.main_window import MainWindow
from pipeline.signal_quality import Grade
from pipeline.values import Info
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, _Spike, grabbed, run_demo

NAMES = tuple(f"E{n + 1}" for n in range(256))


def _model(n_channels: int) -> TraceModel:
    model = TraceModel()
    model.reset(Info(NAMES[:n_channels], 250.0))
    return model


def test_all_channels_are_in_view_unless_asked_otherwise() -> None:
    model = _model(64)
    model.fit_lanes(10)
    assert model.shown == range(64)


@pytest.mark.parametrize(("n_channels", "room"), [(8, 30), (32, 15), (64, 34), (256, 34), (5, 1)])
def test_pages_hold_every_channel_once_and_are_of_about_one_length(
    n_channels: int, room: int
) -> None:
    model = _model(n_channels)
    model.set_lanes(0)
    model.fit_lanes(room)
    seen: list[int] = []
    sizes = []
    while True:
        seen += [c for c in model.shown if c not in seen]
        sizes.append(len(model.shown))
        before = model.shown
        model.turn(1)
        if model.shown == before:
            break
    assert seen == list(range(n_channels))
    assert max(sizes) <= max(FEWEST, room)
    assert max(sizes) - min(sizes) == 0, "the last page is filled up from the one before"
    for _ in sizes:
        model.turn(-1)
    assert model.shown.start == 0


def test_a_spike_shows_on_its_page_only(qtbot: QtBot) -> None:
    source = _Spike(250.0, 900, 2000, n_channels=32)
    model = _model(32)
    model.set_scale(200.0)
    model.set_lanes(8)
    widget = TraceWidget(model)
    qtbot.addWidget(widget)
    widget.resize(900, 480)
    widget.show()
    source.end = 2000
    model.poll(source)
    widget.refresh()
    color = np.array(QColor(DARK.traces[2]).getRgb()[:3])

    def tall() -> int:
        """Highest run of a trace's colour above lane 2's zero line."""
        plot = widget.plot
        lane = plot.height() / 8
        top = int(plot.top() + 2.5 * lane - 0.9 * lane)
        band = grabbed(widget)[top : int(top + 0.6 * lane), plot.left() : plot.right()]
        return int((np.abs(band.astype(int) - color).max(axis=2) < 40).any(axis=1).sum())

    assert tall() > 20
    model.turn(1)
    widget.refresh()
    assert model.shown == range(8, 16)
    assert tall() == 0


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[MainWindow]:
    faults = {
        "E3": (Grade.BAD, "railed: the amplifier is at its end 60 % of the time"),
        "E5": (Grade.DOUBTFUL, "line noise: 60 Hz is strong"),
    }
    template = FakeSession(ch_names=NAMES, length=14.0, sfreq=250.0, faults=faults)
    window = MainWindow(FakeFactory(template=template), STIMULI)
    qtbot.addWidget(window)
    window.show()
    yield window
    window.end()


def test_256_channels_are_paged_scaled_filtered_and_looked_back_at(
    window: MainWindow, qtbot: QtBot
) -> None:
    session = run_demo(window, qtbot, 11.0)
    model, panel = window.session.traces, window.trace_panel
    QApplication.processEvents()
    window.tick()
    assert panel.page.text().endswith("of 256")
    assert 20 < model.n_lanes < 60
    first = model.shown
    qtbot.keyClick(window, Qt.Key.Key_PageDown)
    assert model.shown.start == first.stop
    qtbot.mouseClick(panel.page_up, Qt.MouseButton.LeftButton)
    assert model.shown == first
    assert not panel.page_up.isEnabled()
    for mode in TraceMode:
        model.set_mode(mode)
        window.tick()
        assert len(np.unique(grabbed(panel.traces).reshape(-1, 3), axis=0)) > 20
    panel.lanes.activated.emit(1)
    assert model.n_lanes == 256
    panel.window_length.activated.emit(1)
    panel.display_filter.activated.emit(3)
    session.now = 11.5
    window.tick()
    assert model.newest > 0
    qtbot.keyClick(window, Qt.Key.Key_P)
    qtbot.keyClick(window, Qt.Key.Key_Left)
    qtbot.keyClick(window, Qt.Key.Key_Left)
    assert model.back > 0
    assert len(np.unique(grabbed(panel.traces).reshape(-1, 3), axis=0)) > 20
    # A page that is turned while a view takes the height keeps a channel that can be read.
    panel.lanes.activated.emit(0)
    window.signals.open(0)
    QApplication.processEvents()
    assert model.n_lanes * 10 <= panel.traces.plot.height()


def test_a_bad_channel_is_grey_and_says_why(window: MainWindow, qtbot: QtBot) -> None:
    run_demo(window, qtbot, 4.0)
    window.tick()
    traces, model = window.trace_panel.traces, window.session.traces
    assert model.bad == {2: "railed: the amplifier is at its end 60 % of the time"}
    lane = traces.plot.height() / model.n_lanes
    at = QPointF(20, traces.plot.top() + 2.5 * lane)
    assert traces.words_at(at) == f"E3: {model.bad[2]}"
    assert "+ and -" in traces.words_at(at + QPointF(0, lane))
    assert traces.words_at(QPointF(traces.plot.center())) == ""
    top = int(traces.plot.top() + 2 * lane)
    band = grabbed(traces)[top : int(top + lane), traces.plot.left() + 4 : traces.plot.right() - 4]
    own = np.array(QColor(DARK.traces[2]).getRgb()[:3])
    grey = np.array(QColor(DARK.greyed).getRgb()[:3])
    assert (np.abs(band.astype(int) - grey).max(axis=2) < 6).any()
    assert not (np.abs(band.astype(int) - own).max(axis=2) < 6).any()


def test_another_filter_keeps_the_past_also_while_paused() -> None:
    source = _Spike(250.0, 100, 6000)
    source.end = 6000
    model = _model(8)
    model.window = 2.0
    model.poll(source)
    model.set_paused(True)
    model.set_filter(DISPLAY_FILTERS[3])
    assert model.newest < 0
    model.poll(source)
    assert model.newest > 0, "an empty plot"
    model.scroll_back(10_000)
    assert model.seconds_of(model.back) == pytest.approx(10.0, abs=0.1), "five windows back"
