"""The signal views: what they compute, and that the window shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.port import Result, Snapshot
from app.view_models.signals.evoked import EvokedModel
from app.view_models.signals.head import HeadModel, project
from app.view_models.signals.spectrum import SpectrumModel, estimate
from app.view_models.signals.stream_health import StreamHealthModel
from app.views.signals.head_plot import HeadPlot
from app.views.signals.signal_panel import TABS
from app.views.window.main_window import MainWindow
from pipeline.signal_quality import Grade
from pipeline.values import Outcome
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, grabbed, run_demo

FAULTS = {"T7": (Grade.BAD, "flat: swings 0.1 µV in a second"), "Fp1": (Grade.DOUBTFUL, "pops")}


def _noise(n_channels: int = 4, seconds: float = 8.0, sfreq: float = 250.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 5, (n_channels, round(seconds * sfreq)))


@pytest.mark.parametrize("line", [50.0, 60.0])
def test_mains_are_flagged_and_their_size_is_right(line: float) -> None:
    t = np.arange(2000) / 250.0
    found = estimate(_noise() + 20 * np.sin(2 * np.pi * line * t), 250.0)
    assert found is not None
    assert [hertz for hertz, _ in found.lines] == [line]
    assert estimate(_noise(), 250.0).lines == ()  # type: ignore[union-attr]
    # A white signal of 5 uV has 25 uV^2 over 125 Hz: -7 dB everywhere.
    assert estimate(_noise(), 250.0).median.mean() == pytest.approx(-7, abs=0.5)  # type: ignore[union-attr]


def test_mains_are_not_judged_where_the_rate_does_not_reach() -> None:
    t = np.arange(800) / 100.0
    found = estimate(_noise(2, 8.0, 100.0) + 20 * np.sin(2 * np.pi * 40 * t), 100.0)
    assert found is not None
    assert found.lines == ()
    assert estimate(_noise(2, 1.0), 250.0) is None


def test_the_spectrum_is_made_of_what_came_after_the_last_gap() -> None:
    session = FakeSession(gap_at=(12.0, 0.4))
    session.eeg[:, 6000:] = 0.0
    session.start()
    session.now = 19.0
    model = SpectrumModel()
    assert model.poll(session, session.sfreq)
    assert model.spectrum is not None
    assert model.spectrum.median.max() < -50
    assert not model.poll(session, session.sfreq), "nothing new yet"
    session.now += 0.6
    assert model.poll(session, session.sfreq)


def test_electrodes_sit_where_they_are() -> None:
    fz, cz, t7, t8, oz, other = project(["Fz", "Cz", "T7", "EEG T8-REF", "Oz", "ECG"])
    assert other is None
    assert cz == pytest.approx((0, 0), abs=0.1)
    assert fz[1] > 0.3  # type: ignore[index]
    assert t7[0] < -0.8 < 0.8 < t8[0]  # type: ignore[index]
    assert oz[1] < -0.8  # type: ignore[index]


def test_the_head_says_which_electrodes_are_not_good() -> None:
    session = FakeSession(faults=FAULTS)
    session.start()
    model = HeadModel()
    model.update(session.ch_names, session.snapshot().quality)
    assert "first verdict" in model.sentence
    session.now = 2.0
    assert model.update(session.ch_names, session.snapshot().quality)
    assert not model.update(session.ch_names, session.snapshot().quality)
    assert model.sentence == "32 electrodes: 30 good, 1 doubtful, 1 bad"
    assert [e.ch_name for e in model.doubtful] == ["T7", "Fp1"]


def _result(index: int, label: str, level: float, **more: object) -> Result:
    data = np.full((2, 5), level, dtype=np.float32)
    return Result(index, 0.0, label, Outcome.DECODED, epoch_data=data, **more)  # type: ignore[arg-type]


def test_averages_build_up_by_category() -> None:
    model = EvokedModel(lambda label: label.split("-")[0])
    model.reset(["Cz", "P8"])
    assert model.channel == 1
    assert not model.extend([replace(_result(0, "a-1", 1), outcome=Outcome.ARTIFACT)])
    assert model.extend([_result(0, "a-1", 1), _result(1, "a-2", 3), _result(2, "b-1", 7)])
    assert [(e.category, e.n, float(e.average.mean())) for e in model.evoked] == [
        ("a", 2, 2.0),
        ("b", 1, 7.0),
    ]
    model.reset()
    assert not model.evoked


def test_loss_and_rate_are_counted_by_second() -> None:
    model = StreamHealthModel()
    for second in range(1, 121):
        lost = 50 if second >= 100 else 0
        model.update(Snapshot(duration=second, n_received=250 * second - lost, n_lost=lost))
    assert len(model.points) == 119
    assert [point.at for point in model.points if point.lost] == [100.0]
    assert model.points[98].lost == pytest.approx(50 / 250)
    assert model.last_minute == pytest.approx(50 / (60 * 250))
    assert model.points[-1].rate == pytest.approx(250)
    assert model.points[98].rate < 250  # type: ignore[operator]


def test_a_window_that_was_hidden_for_long_goes_on() -> None:
    model = StreamHealthModel()
    for second in (1, 2, 200):
        model.update(Snapshot(duration=second, n_received=100 * second))
    assert model.points[-1].rate == pytest.approx(100)
    assert model.last_minute == 0


def test_tabs_open_by_click_and_by_key(qtbot: QtBot) -> None:
    template = FakeSession(faults=FAULTS)
    window = MainWindow(FakeFactory(template=template), STIMULI)
    qtbot.addWidget(window)
    window.show()
    run_demo(window, qtbot, 9.0)
    panel = window.signals
    assert panel.current is None
    for at, name in enumerate(TABS):
        qtbot.keyClick(window, Qt.Key.Key_F3)
        assert panel.current == at
        assert panel.tabs[at].isChecked()
        QApplication.processEvents()
        assert panel.stack.currentWidget().height() > 140, name
        window._show_texts()
        assert len(np.unique(grabbed(panel.stack.currentWidget()).reshape(-1, 3), axis=0)) > 10
        if name == "Stream":
            assert "samples/s" in panel.note.text()
    qtbot.keyClick(window, Qt.Key.Key_F3)
    assert panel.current is None
    qtbot.mouseClick(panel.tabs[2], Qt.MouseButton.LeftButton)
    assert panel.current == 2
    panel.channel.setCurrentText("Oz")
    panel.channel.activated.emit(panel.channel.findText("O2"))
    assert window.session.evoked.channel == template.ch_names.index("O2")
    qtbot.mouseClick(panel.tabs[2], Qt.MouseButton.LeftButton)
    assert panel.current is None
    QApplication.processEvents()
    assert panel.height() < 60, "closed, only its tabs stand"
    traces = window.trace_panel
    assert panel.y() - traces.geometry().bottom() < 20, "and the traces have its room"
    window.close()
    window.shut_down()


def test_the_pointer_finds_an_electrode(qtbot: QtBot) -> None:
    session = FakeSession(faults=FAULTS)
    session.start()
    session.now = 2.0
    model = HeadModel()
    model.update(session.ch_names, session.snapshot().quality)
    plot = HeadPlot(model)
    qtbot.addWidget(plot)
    plot.resize(700, 240)
    for electrode in model.electrodes:
        place = plot.place(electrode)
        assert place is not None
        assert plot.rect().contains(place.toPoint())
        assert plot.electrode_at(place) is electrode
