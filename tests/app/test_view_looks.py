"""What was found by looking at the pictures of the window: nothing cut off, nothing misleading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from app import formatting
from app.port import Snapshot
from app.view_models.signals.head import Electrode
from app.views.common.painted import Button, Combo, elided
from app.views.common.theme import DARK, LIGHT, Theme
from app.views.session.charts import fitting
from app.views.signals import peak_to_peak_table as swing_table
from app.views.signals.peak_to_peak_table import KOHM, cell_grid
from app.views.window.main_window import MainWindow
from tests.app.fake_session import CAP32, FakeFactory, FakeSession
from tests.app.test_view_transport import FakePlayback
from tests.app.test_views import STIMULI, grabbed, run_demo


def _running(qtbot: QtBot, seconds: float, **state: object) -> MainWindow:
    window = MainWindow(FakeFactory(template=FakeSession(**state)), STIMULI)  # type: ignore[arg-type]
    qtbot.addWidget(window)
    window.show()
    run_demo(window, qtbot, seconds)
    window._show_texts()
    return window


@pytest.mark.parametrize("extra", [0.0, KOHM])
@pytest.mark.parametrize("n", [1, 8, 16, 21, 40])
def test_every_swing_has_its_cell(n: int, extra: float) -> None:
    width, height = 545.0, 125.0  # beside the head in a window of 1280 x 800
    n_rows, n_columns, across, down = cell_grid(n, width, height, extra)
    assert n_rows * n_columns >= n or extra
    assert n_rows * down <= height
    assert n_columns * across <= width
    assert across >= 80.0 + extra


@pytest.mark.parametrize(("n_names", "n_listed"), [(32, 32), (64, None)])
def test_all_electrodes_are_listed_or_counted(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, n_names: int, n_listed: int | None
) -> None:
    cells: list[str] = []
    whole = swing_table.paint_cell

    def paint_cell(painter: QPainter, cell: QRectF, electrode: Electrode, theme: Theme) -> None:
        cells.append(electrode.ch_name)
        whole(painter, cell, electrode, theme)

    monkeypatch.setattr(swing_table, "paint_cell", paint_cell)
    names = CAP32 if n_names == 32 else tuple(f"E{k}" for k in range(n_names))
    window = _running(qtbot, 3.0, ch_names=names)
    window.signals.open(1)
    window._show_texts()
    cells.clear()
    window.grab()
    listed = set(cells)
    assert listed == set(names) if n_listed else 0 < len(listed) < n_names
    window.end()


def test_a_short_history_shows_where_more_will_stand(qtbot: QtBot) -> None:
    window = _running(qtbot, 4.5)
    strip = window.history
    window.grab()
    shown = strip.visible()
    assert 0 < len(shown) < strip.n_visible
    row = grabbed(strip)[strip.thumb // 2]
    places = [round(at * strip.pitch) + strip.thumb // 2 for at in range(strip.n_visible)]
    surface = row[round((len(shown) + 1) * strip.pitch) - 2]
    assert all((row[x] != surface).any() for x in places), "a place is not marked"
    assert places[-1] + strip.thumb / 2 == pytest.approx(strip.width(), abs=1), "filled across"
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(places[-1], 20))
    assert not window.inspect.isVisible(), "a place without a picture opened one"
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(places[len(shown) - 1], 20))
    assert window.session.history.selected == shown[-1].index
    window.end()


def test_beside_a_control_more_concepts_fill_the_room(qtbot: QtBot) -> None:
    window = _running(qtbot, 4.5, labels=tuple(f"thing-{k}" for k in range(12)))
    top, height = window.picture_panel.top, window.picture_panel.height()
    assert len(top.rows) == 5
    window.set_control(True)
    assert len(top.rows) > 5
    assert window.picture_panel.height() == height
    least = window.picture_panel.minimumSizeHint().height()
    window.set_control(False)
    assert len(top.rows) == 5
    assert window.picture_panel.minimumSizeHint().height() == least, "it could not be made lower"
    window.end()


def test_what_stands_behind_a_picture_is_in_words(qtbot: QtBot) -> None:
    assert formatting.quality({"ptp_uv": 90.7, "n_bad": 0.0, "n_bad_channels": 2.0}) == [
        *("largest peak-to-peak 91 µV", "2 bad channels"),
    ]
    assert formatting.quality({"line_ratio": 0.273, "n_bad_channels": 0.0, "other_thing": 1.5}) == [
        *("mains 27 %", "no bad channel", "other thing 1.5"),
    ]
    window = _running(qtbot, 4.5)
    window.inspect_result(window.session.history.pictures[-1].index)
    assert not any("_" in label.text() for label in window.inspect.findChildren(QLabel))
    window.end()


def test_a_recording_is_not_called_live(qtbot: QtBot) -> None:
    window = _running(qtbot, 2.0, playback=FakePlayback())
    assert window.trace_panel.state.text() == "●  replay"
    window.end()
    window = _running(qtbot, 2.0)
    assert window.trace_panel.state.text() == "●  live"
    assert window.trace_panel.age.text() == "newest sample 12 ms"
    snapshot = window.session.snapshot
    known = {name: getattr(snapshot, name) for name in ("phase", "eeg", "info")}
    window.trace_panel.refresh_facts(Snapshot(**known))
    assert window.trace_panel.age.text() == "", "no age is not an age"
    window.end()


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.4, "2 s"), (840.0, "14 min"), (3600.0, "1 h 0 min"), (0, "0 s")]
)
def test_how_long_a_session_took_is_no_time_of_day(seconds: float, words: str) -> None:
    assert formatting.length(seconds) == words


def test_an_icon_keeps_its_distance_from_the_text(qtbot: QtBot) -> None:
    button = Button("Connect", icon_name="folder")
    qtbot.addWidget(button)
    for theme in (DARK, LIGHT):
        button.set_theme(theme)
        image = button.icon().pixmap(button.iconSize()).toImage()
        filled = [
            x
            for x in range(image.width())
            if any(image.pixelColor(x, y).alpha() for y in range(image.height()))
        ]
        assert image.width() - max(filled) > 4
    alone = Button(icon_name="folder")
    qtbot.addWidget(alone)
    alone.set_theme(DARK)
    assert alone.iconSize().width() == alone.iconSize().height()


def test_seconds_without_a_loss_are_drawn(qtbot: QtBot) -> None:
    window = _running(qtbot, 12.0)
    for step in range(8):
        window.session._factory.session.now = 12.0 + step  # type: ignore[attr-defined]
        window.tick()
    window.signals.open(3)
    window._show_texts()
    plot = window.signals.stack.currentWidget()
    pixels = grabbed(plot)[: plot.height() // 2].reshape(-1, 3)  # the rate is below
    good = DARK.color("good")
    near = np.abs(pixels.astype(int) - [good.red(), good.green(), good.blue()]).max(axis=1) < 24
    assert near.sum() > 20
    window.end()


def test_the_tabs_are_as_high_as_they_need_from_the_first_session_on(qtbot: QtBot) -> None:
    window = _running(qtbot, 2.0)
    QApplication.processEvents()
    assert window.signals.height() >= window.signals.minimumSizeHint().height()
    window.end()


@pytest.fixture
def large(qtbot: QtBot) -> Iterator[MainWindow]:
    window = _running(qtbot, 4.5)
    window.scale_text(2)
    QApplication.processEvents()
    yield window
    window.scale_text(-2)
    window.end()


def test_nothing_is_squeezed_below_its_least_size_with_large_text(large: MainWindow) -> None:
    large.signals.open(1)
    large._show_texts()
    QApplication.processEvents()
    assert large.height() == 800
    for part in (large.trace_panel, large.signals, large.picture_panel, large.work):
        assert part.height() >= part.minimumSizeHint().height(), part


def test_a_line_under_the_accuracy_leaves_out_what_does_not_fit(qtbot: QtBot) -> None:
    metrics = QFontMetrics(QApplication.font())
    parts = ("not above chance yet", "95 % interval 0–56 %", "top 5: 33 %")
    whole = metrics.horizontalAdvance(" · ".join(parts))
    assert fitting(metrics, parts, whole) == " · ".join(parts)
    assert fitting(metrics, parts, whole - 1) == " · ".join(parts[:2])
    assert fitting(metrics, parts, metrics.horizontalAdvance(parts[0])) == parts[0]
    assert fitting(metrics, parts, 60).endswith("…")


def test_a_list_that_is_too_narrow_ends_in_dots(qtbot: QtBot) -> None:
    combo = Combo(small=True)
    qtbot.addWidget(combo)
    whole = "DC removed, no 50 Hz"
    combo.addItem(whole)
    combo.resize(90, 26)
    narrow = grabbed(combo)
    dots = elided(combo.fontMetrics(), whole, combo.width() - 32)
    assert dots.endswith("…")
    combo.setItemText(0, dots)
    assert (narrow == grabbed(combo)).all(), "cut in mid-letter"


def test_a_clock_that_is_not_off_has_no_sign(qtbot: QtBot) -> None:
    window = _running(qtbot, 2.0)
    window.session.snapshot = replace(window.session.snapshot, clock_offset=-1e-6)
    window.status.refresh()
    assert "clock offset 0.00 ms" in window.status.right.text()
    window.end()


def test_what_a_calibration_collects_is_no_warning_and_nothing_loads(qtbot: QtBot) -> None:
    window = _running(qtbot, 2.0, decodes=False)
    assert window.outcomes._tone("collected") == DARK.color("good")
    words = []
    for state in ("loading", "off"):
        snapshot = replace(window.session.snapshot, decoder=state)
        window.picture_panel.refresh(snapshot, presents=False)
        words.append(window.picture_panel.decoded._word)
    assert words == ["decoder loading…", "decoder off"]
    window.end()
