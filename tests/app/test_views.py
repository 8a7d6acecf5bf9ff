"""The window offscreen: models change widgets, widgets change models, every spike is seen."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QObject, QPoint, QPointF, QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtWidgets import QApplication, QDialogButtonBox, QWidget
from pytestqt.qtbot import QtBot

from app.accuracy import Accuracy
from app.commands import gui
from app.port import Phase, TraceBlock
from app.view_models.settings.preferences import PreferencesStore
from app.view_models.signals.display_filter import DISPLAY_FILTERS
from app.view_models.signals.traces import WINDOWS, TraceMode, TraceModel
from app.view_models.sources.model import SourceKind
from app.views.common.theme import DARK, LIGHT, THEMES, Theme
from app.views.session.charts import AccuracyChart, OutcomeChart, TopList
from app.views.signals.trace_widget import TraceWidget
from app.views.sources.view import MontageDialog
from app.views.window.main_window import MainWindow
from configs import SessionConfig, StimuliConfig
from pipeline.gallery import load_gallery
from pipeline.values import Info, StreamInfo, Uint8
from tests.app.fake_session import T0, FakeFactory, FakeSession

STIMULI = SessionConfig(stimuli=StimuliConfig(enabled=True))
STREAMS = (
    StreamInfo(
        *("actiCHamp-0", "EEG", "acti", 64, 1000.0, "float32"),
        uid="u1",
        hostname="eeg-pc",
        ch_names=tuple(f"E{n}" for n in range(64)),
        ch_units=("microvolts",) * 64,
    ),
    StreamInfo("obci_eeg1", "EEG", "openbcigui", 8, 250.0, "float32", uid="u2", hostname="laptop"),
    StreamInfo("psychopy", "Markers", "pp", 1, 0.0, "string", uid="u3", hostname="stim-pc"),
)


@pytest.fixture(scope="module")
def labels() -> list[str]:
    return list(load_gallery().subset(kind="upright").labels[::7][:24])


@pytest.fixture
def pictures(labels: list[str]) -> dict[str, Uint8]:
    """Stand-ins for decoded pictures: plainly not what a sampler draws."""
    return {name: load_gallery().image(name, size=8).repeat(8, 0).repeat(8, 1) for name in labels}


@pytest.fixture
def template(labels: list[str], pictures: dict[str, Uint8]) -> FakeSession:
    return FakeSession(labels=labels, pictures=pictures)


@pytest.fixture
def window(qtbot: QtBot, template: FakeSession) -> Iterator[MainWindow]:
    """An open window on fake sessions; it must leave no timer, thread or window behind."""
    window = MainWindow(FakeFactory(template=template, streams=STREAMS), STIMULI)
    qtbot.addWidget(window)
    window.show()
    yield window
    window.close()
    window.shut_down()
    assert not [t for t in window.findChildren(QTimer) if t.isActive()]
    assert not [w for w in QApplication.topLevelWidgets() if w.isVisible()]


def factory_of(window: MainWindow) -> FakeFactory:
    factory = window.session._factory
    assert isinstance(factory, FakeFactory)
    return factory


def session_of(window: MainWindow) -> FakeSession:
    session = factory_of(window).session
    assert session is not None
    return session


def run_demo(window: MainWindow, qtbot: QtBot, until: float) -> FakeSession:
    """Start the demo by its button, and let `until` seconds pass in steps of half a second."""
    qtbot.mouseClick(window.welcome.demo_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING)
    session = session_of(window)
    for now in np.arange(0.5, until + 0.5, 0.5):
        session.now = float(min(now, until))
        window.tick()
    window._show_texts()
    return session


def grabbed(widget: QWidget) -> np.ndarray:
    """The widget as one full repaint gives it, (height, width, 3)."""
    return pixels_of(widget.grab().toImage())


def pixels_of(image: QImage) -> np.ndarray:
    image = image.convertToFormat(QImage.Format.Format_RGB32)
    buffer = np.frombuffer(image.constBits(), dtype=np.uint8)
    rows = buffer.reshape(image.height(), image.bytesPerLine() // 4, 4)
    return rows[:, : image.width(), 2::-1].copy()


# PySide6


class _Emitter(QObject):
    fired = Signal(bool)


def test_a_signal_of_a_bool_may_be_emitted_often(qtbot: QtBot) -> None:
    """PySide6 6.12.0 on Python 3.11 aborts after some 570 (docs/decisions/0002)."""
    emitter = _Emitter()
    count = 0

    def slot(_value: bool) -> None:
        nonlocal count
        count += 1

    emitter.fired.connect(slot)
    before = sys.getrefcount(True)
    for _ in range(200):
        emitter.fired.emit(True)
    # Fail here, before the interpreter runs out of references and aborts the whole run.
    assert sys.getrefcount(True) > before - 100
    for _ in range(4800):
        emitter.fired.emit(True)
    assert count == 5000


# Spikes


class _Spike:
    """A quiet stream with one sample of 200 microvolts at `at`."""

    def __init__(self, sfreq: float, at: int, n_times: int, n_channels: int = 8) -> None:
        rng = np.random.default_rng(0)
        self.data = rng.standard_normal((n_channels, n_times)).astype(np.float32)
        self.data[2, at] += 200.0
        self.times = T0 + np.arange(n_times) / sfreq
        self.end = 0

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        start = max(since, self.end - limit)
        if start >= self.end:
            return None
        return TraceBlock(self.data[:, start : self.end], self.times[start : self.end], start)

    def trace_markers(self, since: int) -> list:
        return []


@pytest.mark.parametrize(
    ("window_length", "sfreq"), [*((length, 1000.0) for length in WINDOWS), (2.0, 250.0)]
)
@pytest.mark.parametrize("mode", list(TraceMode))
def test_a_spike_of_one_sample_is_seen(
    qtbot: QtBot, mode: TraceMode, window_length: float, sfreq: float
) -> None:
    heights = []
    for spike in (True, False):
        n_times = round((window_length + 1) * sfreq)
        source = _Spike(sfreq, round((window_length / 2 + 0.7) * sfreq), n_times)
        if not spike:
            source.data[2] = source.data[3]
        model = TraceModel()
        model.window, model.mode = window_length, mode
        model.reset(Info(tuple(f"C{n}" for n in range(8)), sfreq))
        model.set_scale(200.0)
        widget = TraceWidget(model)
        qtbot.addWidget(widget)
        widget.resize(900, 480)
        widget.show()
        for end in np.linspace(sfreq / 2, n_times, 12).astype(int):
            source.end = int(end)
            model.poll(source)
            widget.refresh()
        plot = widget.plot
        lane = plot.height() / 8
        # 60 to 120 microvolts above the zero line of channel 2: empty but for the spike.
        top = int(plot.top() + 2.5 * lane - 0.6 * lane)
        band = grabbed(widget)[top : int(top + 0.3 * lane), plot.left() + 2 : plot.right() - 2]
        color = np.array([int(DARK.traces[2][i : i + 2], 16) for i in (1, 3, 5)])
        near = np.abs(band.astype(int) - color).max(axis=2) < 40
        heights.append(int(near.any(axis=1).sum()) / band.shape[0])
    assert heights[0] > 0.9, "the spike is missing"
    assert heights[1] == 0.0, "the test would pass without a spike"


def test_sweep_asks_for_the_new_columns_only(qtbot: QtBot) -> None:
    source = _Spike(500.0, 10, 6000)
    model = TraceModel()
    model.reset(Info(tuple(f"C{n}" for n in range(8)), 500.0))
    model.set_scale(100.0)
    widget = TraceWidget(model)
    qtbot.addWidget(widget)
    widget.resize(900, 480)
    widget.show()
    source.end = 3050
    model.poll(source)
    widget.refresh()
    widths: list[int] = []
    widget.update = lambda *rect: widths.append(rect[0].width() if rect else 900)  # type: ignore[method-assign]
    source.end = 3060
    model.poll(source)
    widget.refresh()
    assert widths
    assert max(widths) < 40


@pytest.mark.parametrize("mode", list(TraceMode))
def test_columns_painted_one_by_one_look_as_if_painted_at_once(
    qtbot: QtBot, mode: TraceMode
) -> None:
    """What stands on the screen after many small repaints is what one full repaint gives."""
    source = _Spike(500.0, 4000, 7000)
    model = TraceModel()
    model.mode = mode
    model.reset(Info(tuple(f"C{n}" for n in range(8)), 500.0))
    model.set_scale(20.0)
    widget = TraceWidget(model)
    qtbot.addWidget(widget)
    widget.resize(700, 400)
    widget.show()
    for number, end in enumerate(range(30, 7000, 61)):
        source.end = end
        model.poll(source)
        widget.refresh()
        QApplication.processEvents()
        if number % 9 == 0:
            screen = QApplication.primaryScreen().grabWindow(widget.winId())
            np.testing.assert_array_equal(pixels_of(screen.toImage()), grabbed(widget))
    piecewise = grabbed(widget)
    model.revision += 1
    widget.refresh()
    np.testing.assert_array_equal(piecewise, grabbed(widget))


# The window


def test_the_empty_window_says_what_to_do_and_does_it_at_one_click(
    window: MainWindow, qtbot: QtBot
) -> None:
    assert window.pages.currentWidget() is window.welcome
    assert "virtual headset" in window.welcome.demo_button.text()
    run_demo(window, qtbot, 3.0)
    assert window.pages.currentWidget() is window.work
    assert factory_of(window).asked == [("demo", "cap32")]


def test_a_running_session_is_shown(window: MainWindow, qtbot: QtBot) -> None:
    session = run_demo(window, qtbot, 12.0)
    assert window.trace_panel.name.text() == "phosphene-virtual"
    assert "32 channels · 500 Hz (effective 499.97)" in window.trace_panel.facts.text()
    assert window.trace_panel.age.text() == "newest sample 12 ms"
    assert window.trace_panel.loss.text() == "loss 0 %"
    newest = session.results(0)[-1]
    panel = window.picture_panel
    assert panel.shown is newest
    assert panel.seen.has_picture
    assert panel.decoded.has_picture
    assert panel.top.rows == newest.top[:5]
    assert window.outcomes.rows[0][0] == "decoded"
    assert sum(count for _, count in window.outcomes.rows) == len(session.results(0))
    assert window.top_bar.start.text() == "Stop"
    assert window.top_bar.record.text().startswith("Recording")
    assert window.top_bar.disk.text() == "182.4 GB free"
    assert "Decoding" in window.status.message.text()


def test_what_is_on_screen_now_is_shown_and_in_the_second_window(
    window: MainWindow, qtbot: QtBot
) -> None:
    session = run_demo(window, qtbot, 3.0)
    qtbot.keyClick(window, Qt.Key.Key_F11)
    assert window.stimuli.isVisible()
    session.now = session.onset(2) - T0 + 0.1
    window.tick()
    assert window.stimuli.label == session.shown[2]
    assert window.picture_panel.now.has_picture
    session.now += 0.7
    window.tick()
    assert window.stimuli.label is None
    assert not window.picture_panel.now.has_picture
    qtbot.keyClick(window.stimuli, Qt.Key.Key_Escape)
    assert not window.stimuli.isVisible()


def test_keys(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING)
    session = session_of(window)
    session.now = 3.0
    window.tick()
    for key in (Qt.Key.Key_M, Qt.Key.Key_1, Qt.Key.Key_8):
        qtbot.keyClick(window, key)
    assert [m.label for m in session.manual] == ["M", "1", "8"]
    qtbot.keyClick(window, Qt.Key.Key_R)
    assert not session.recording
    traces = window.session.traces
    scale = traces.scale_uv
    qtbot.keyClick(window, Qt.Key.Key_Plus)
    assert traces.scale_uv < scale
    qtbot.keyClick(window, Qt.Key.Key_Minus)
    assert traces.scale_uv == scale
    qtbot.keyClick(window, Qt.Key.Key_P)
    assert traces.paused
    qtbot.keyClick(window, Qt.Key.Key_P)
    assert not traces.paused
    qtbot.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: window.session.phase is Phase.STOPPED)
    assert session.stopped == 1


def test_typing_a_subject_code_triggers_no_shortcut(window: MainWindow, qtbot: QtBot) -> None:
    window.top_bar.subject.clear()
    qtbot.keyClicks(window.top_bar.subject, "pm18 r")
    assert window.settings.subject == "pm18 r"
    assert window.top_bar.subject.property("invalid")
    assert window.session.phase is Phase.IDLE
    qtbot.keyClick(window.top_bar.subject, Qt.Key.Key_Backspace)
    qtbot.keyClick(window.top_bar.subject, Qt.Key.Key_Backspace)
    assert not window.top_bar.subject.property("invalid")


def test_controls_of_the_traces_change_the_model(window: MainWindow, qtbot: QtBot) -> None:
    run_demo(window, qtbot, 3.0)
    panel, model = window.trace_panel, window.session.traces
    panel.mode.activated.emit(1)
    assert model.mode is TraceMode.SCROLL
    panel.window_length.activated.emit(0)
    assert model.window == WINDOWS[0]
    panel.display_filter.activated.emit(2)
    assert model.filter_config is DISPLAY_FILTERS[2]
    scale = model.scale_uv
    qtbot.mouseClick(panel.larger, Qt.MouseButton.LeftButton)
    assert model.scale_uv < scale
    qtbot.mouseClick(panel.pause, Qt.MouseButton.LeftButton)
    assert model.paused


def test_a_change_of_the_model_changes_the_controls(window: MainWindow, qtbot: QtBot) -> None:
    run_demo(window, qtbot, 3.0)
    model, panel = window.session.traces, window.trace_panel
    model.set_mode(TraceMode.SCROLL)
    model.set_window(5.0)
    model.set_filter(DISPLAY_FILTERS[3])
    model.set_scale(300.0)
    window.tick()
    assert panel.mode.currentText() == "Scroll"
    assert panel.window_length.currentText() == "5 s"
    assert panel.display_filter.currentText() == DISPLAY_FILTERS[3].name
    assert panel.scale.text() == "300 µV"


def test_a_label_chooses_a_channel_and_the_wheel_scales_it(
    window: MainWindow, qtbot: QtBot
) -> None:
    run_demo(window, qtbot, 3.0)
    traces, model = window.trace_panel.traces, window.session.traces
    lane = traces.plot.height() / 32
    at = QPoint(20, round(traces.plot.top() + 2.5 * lane))
    qtbot.mouseClick(traces, Qt.MouseButton.LeftButton, pos=at)
    assert model.selected == 2
    wheel = QWheelEvent(
        *(QPointF(at), traces.mapToGlobal(QPointF(at)), QPoint(), QPoint(0, 120)),
        *(Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier),
        *(Qt.ScrollPhase.NoScrollPhase, False),
    )
    QApplication.sendEvent(traces, wheel)
    assert model.gains[2] == 2.0
    assert window.trace_panel.scale.text() == "F7 ×2"


def test_a_click_on_the_history_shows_what_is_behind(window: MainWindow, qtbot: QtBot) -> None:
    run_demo(window, qtbot, 14.0)
    strip = window.history
    shown = strip.visible()
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(strip.thumb + 6 + 10, 20))
    dialog = window.inspect
    assert dialog.isVisible()
    assert dialog.title.text().startswith(f"No. {shown[1].index + 1} ·")
    assert dialog.epoch.has_epoch
    assert dialog.seen.has_picture
    qtbot.keyClick(dialog, Qt.Key.Key_Left)
    assert dialog.title.text().startswith(f"No. {shown[0].index + 1} ·")
    assert not dialog.before.isEnabled()
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert not dialog.isVisible()
    assert window.session.history.selected is None


def test_the_history_is_reached_by_keyboard(window: MainWindow, qtbot: QtBot) -> None:
    run_demo(window, qtbot, 14.0)
    window.history.setFocus()
    qtbot.keyClick(window.history, Qt.Key.Key_Left)
    qtbot.keyClick(window.history, Qt.Key.Key_Return)
    assert window.inspect.isVisible()
    assert window.session.history.selected == window.session.history.pictures[-2].index


def test_failures_are_sentences_with_a_next_step(window: MainWindow, qtbot: QtBot) -> None:
    factory_of(window).error = "No stream in reach: switch the headset on, then refresh."
    qtbot.mouseClick(window.welcome.demo_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(window.banner.isVisible)
    assert window.banner.text.text() == factory_of(window).error
    assert window.pages.currentWidget() is window.welcome
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window.banner.isVisible()
    window.tick()
    window._show_texts()
    assert not window.banner.isVisible()


def test_a_finished_session_offers_its_report(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    session = run_demo(window, qtbot, 5.0)
    session.out = tmp_path
    (tmp_path / "report.html").write_text("<html></html>", encoding="utf-8")
    qtbot.mouseClick(window.top_bar.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(window.banner.isVisible)
    assert window.banner.report.isVisible()
    assert "saved" in window.banner.text.text()
    assert window.top_bar.start.text() == "Start"


def test_streams_are_listed_and_one_is_connected_to(window: MainWindow, qtbot: QtBot) -> None:
    view = window.sources_view
    assert not view.connect_button.isEnabled()
    qtbot.mouseClick(view.refresh_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: view.list.topLevelItemCount() == 2)
    assert [view.list.topLevelItem(0).text(c) for c in range(5)] == [
        *("actiCHamp-0", "EEG", "eeg-pc", "1000 Hz", "64"),
    ]
    assert view.markers.itemText(1) == "Markers: psychopy"
    view.list.topLevelItem(0).setSelected(True)
    view.markers.setCurrentIndex(1)
    qtbot.mouseClick(view.connect_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING)
    config = session_of(window).config
    assert config.source.source_id == "acti"
    assert config.markers.source_id == "pp"
    assert window.top_bar.source.text() == "actiCHamp-0"


def test_a_stream_without_labels_is_asked_about(qtbot: QtBot) -> None:
    dialog = MontageDialog(STREAMS[1])
    qtbot.addWidget(dialog)
    ok = dialog.buttons.button(QDialogButtonBox.StandardButton.Ok)
    assert not ok.isEnabled()
    assert "0 of 8 labels" in dialog.problem.text()
    dialog.board.setCurrentIndex(1)
    dialog.board.activated.emit(1)
    assert dialog.ch_names == ("Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2")
    assert "unit" in dialog.problem.text()
    dialog.unit_box.setCurrentIndex(1)
    assert ok.isEnabled()
    assert dialog.unit == "microvolts"
    dialog.names.setText("A, A, B, C, D, E, F, G")
    assert not ok.isEnabled()


def test_a_recording_is_opened(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.sources_view.choose_recording(tmp_path / "night.xdf")
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING)
    assert factory_of(window).asked == [("replay", tmp_path / "night.xdf")]
    assert window.sources.choice.kind is SourceKind.REPLAY


def test_a_hidden_window_is_up_to_date_when_it_is_shown_again(
    window: MainWindow, qtbot: QtBot
) -> None:
    session = run_demo(window, qtbot, 3.0)
    window.hide()
    session.now = 38.0
    window.show()
    window.tick()
    assert window.session.traces.next_sample == int(38.0 * session.sfreq)


def test_geometry_layout_and_theme_are_kept(qtbot: QtBot, tmp_path: Path) -> None:
    store = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    kept = tmp_path / "window.toml"
    first = MainWindow(FakeFactory(), STIMULI, settings=store, preferences=PreferencesStore(kept))
    qtbot.addWidget(first)
    first.resize(1100, 700)
    first.show()
    first.pages.setCurrentWidget(first.work)
    first.signals.open(1)
    first.work.left.setSizes([0, 200, 250])
    sizes = first.work.left.sizes()
    qtbot.keyClick(first, Qt.Key.Key_F9)
    first.end()
    kept_keys = {key.split("/")[0] for key in store.allKeys()}
    assert kept_keys == {"geometry", "layout", "recent", "preset", "source"}
    second = MainWindow(FakeFactory(), STIMULI, settings=store, preferences=PreferencesStore(kept))
    qtbot.addWidget(second)
    assert second.theme is LIGHT
    second.pages.setCurrentWidget(second.work)
    second.show()
    QApplication.processEvents()
    assert second.height() == 700  # The offscreen screen is narrower than the window.
    assert second.signals.current == 1
    assert second.work.left.sizes() == pytest.approx(sizes, abs=12)
    second.end()


# Charts


def test_charts_say_in_words_what_they_paint(qtbot: QtBot) -> None:
    accuracy, top, outcomes = AccuracyChart(), TopList(), OutcomeChart()
    for chart in (accuracy, top, outcomes):
        qtbot.addWidget(chart)
    assert "No picture" in accuracy.sentence
    accuracy.set_value(Accuracy(100, 12, 30, 0.005, 0.07, 0.2, 1e-12, 20.0, 192))
    assert accuracy.sentence == "12.0 % named exactly (12 of 100), chance 0.5 %, p < 0.0001"
    height = accuracy.height()
    accuracy.set_value(Accuracy(9, 8, 9, 0.4, 0.5, 0.9, 0.02, 20.0, 9), "2: 81 % · 4: 90 %")
    assert accuracy.sentence.endswith("; repetitions summed: 2: 81 % · 4: 90 %")
    assert accuracy.height() > height
    accuracy.set_value(Accuracy(4, 3, 3, 0.4, 0.131, 0.998, 1.0, 20.0, 227))
    few = "75.0 % named exactly (3 of 4): too few to say: a verdict takes 5 pictures"
    assert accuracy.sentence == few
    assert accuracy.grab().toImage() != AccuracyChart().grab().toImage()
    top.set_values((("a", 0.5), ("b", 0.1)), truth="b", chance=0.05)
    assert top.accessibleDescription() == "a 50.0 %, b 10.0 %"
    outcomes.set_values({"gap": 3, "decoded": 2, "late": 0}, n_markers=6, n_pending=1)
    assert outcomes.rows == [("decoded", 2), ("gap", 3)]
    for chart in (accuracy, top, outcomes):
        assert not chart.grab().isNull()


def _contrast(a: str, b: str) -> float:
    def luminance(name: str) -> float:
        parts = np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_text_can_be_read(theme: Theme) -> None:
    for back in (theme.window, theme.surface):
        for name in ("text", "muted", "good", "warn", "bad"):
            assert _contrast(getattr(theme, name), back) >= 4.5, name
        assert _contrast(theme.faint, back) >= 3.5
    assert _contrast(theme.accent_text, theme.accent) >= 4.5
    for trace in theme.traces:
        assert _contrast(trace, theme.plot) >= 3.0


# The command


def test_a_picture_of_the_window_is_saved_and_the_command_ends(
    qtbot: QtBot, tmp_path: Path, template: FakeSession
) -> None:
    factory = FakeFactory(template=template)
    code = gui.run_window(
        factory, STIMULI, autostart_demo=True, screenshot=tmp_path / "w.png", after=0.2
    )
    assert code == 0
    assert factory.session is not None
    assert factory.session.stopped == 1
    before = time.monotonic()  # An event loop still runs its full time.
    qtbot.wait(40)
    assert time.monotonic() - before > 0.03
    image = QImage(str(tmp_path / "w.png"))
    assert (image.width(), image.height()) == (1280, 800)
    assert threading.active_count() == 1 or all(
        t.name not in ("open", "stop", "discover") for t in threading.enumerate()
    )


def test_without_a_display_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.errors import AppError

    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(AppError, match="no display"):
        gui.run_window(FakeFactory(), STIMULI)


def test_the_raster_survives_the_widget_it_is_shared_with(qtbot: QtBot) -> None:
    """A QImage on an array of numpy's keeps no reference: resizing must not paint freed memory."""
    model = TraceModel()
    widget = TraceWidget(model)
    qtbot.addWidget(widget)
    widget.show()
    for width in range(400, 900, 50):
        widget.resize(width, 300)
        QApplication.processEvents()
        assert not widget.grab().isNull()
    assert widget.plot.width() == 850 - widget.gutter - widget.margin
