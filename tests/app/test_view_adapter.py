"""The person's adapter and its drift in the window, and impedances on the head."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app import formatting
from app.port import Phase, Snapshot
from app.view_models.signals.head import HeadModel
from app.views.session.adapter_bar import HIGH_DRIFT
from app.views.signals.head_plot import HeadPlot
from app.views.window.main_window import MainWindow
from pipeline.signal_quality import Grade
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, grabbed, run_demo


def _window(qtbot: QtBot, **state: object) -> MainWindow:
    window = MainWindow(FakeFactory(template=FakeSession(**state)), STIMULI)  # type: ignore[arg-type]
    qtbot.addWidget(window)
    window.show()
    run_demo(window, qtbot, 3.0)
    return window


def test_without_an_adapter_there_is_no_row_until_alignment_runs(qtbot: QtBot) -> None:
    window = _window(qtbot, alignment="frozen", drift=0.4)
    session, bar = window.session._factory.session, window.picture_panel.adapter  # type: ignore[attr-defined]
    assert not bar.isVisible()
    session.alignment = "running"
    window.tick()
    assert bar.isVisible()
    qtbot.mouseClick(bar.freeze, Qt.MouseButton.LeftButton)
    window.tick()
    assert bar.isVisible(), "it could not be taken back"
    assert session.alignment == "frozen"
    window.picture_panel.clear()
    window.tick()
    assert not bar.isVisible()
    window.end()


def test_a_key_follows_the_person_without_an_adapter(qtbot: QtBot) -> None:
    window = _window(qtbot, alignment="frozen", drift=0.1)
    session = window.session._factory.session  # type: ignore[attr-defined]
    for _ in range(2):
        qtbot.keyClick(window, Qt.Key.Key_A)
        window.tick()
    assert session.adaptations == ["resume", "freeze"]
    assert window.picture_panel.adapter.isVisible()
    window.end()
    other = _window(qtbot)
    qtbot.keyClick(other, Qt.Key.Key_A)
    assert other.session._factory.session.adaptations == []  # type: ignore[attr-defined]
    other.end()


def test_an_adapter_is_named_and_its_alignment_frozen_and_reset(qtbot: QtBot) -> None:
    window = _window(qtbot, adapter="/home/x/adapters/S01-a3", alignment="running", drift=1.4)
    session, bar = window.session._factory.session, window.picture_panel.adapter  # type: ignore[attr-defined]
    assert bar.isVisible()
    assert bar.words.text() == "Adapter S01-a3"
    assert bar.alignment.text() == "alignment running · drift 1.40", "cut off"
    assert bar.alignment.property("tone") == "warn", f"above {HIGH_DRIFT}"
    qtbot.mouseClick(bar.freeze, Qt.MouseButton.LeftButton)
    window.tick()
    assert bar.freeze.text() == "Resume"
    qtbot.mouseClick(bar.freeze, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(bar.reset, Qt.MouseButton.LeftButton)
    assert session.adaptations == ["freeze", "resume", "reset"]
    window.tick()
    assert bar.alignment.property("tone") == ""
    session.phase = Phase.STOPPED
    window.tick()
    assert not bar.freeze.isEnabled()
    window.end()


def test_an_adapter_that_does_not_align_has_no_buttons(qtbot: QtBot) -> None:
    window = _window(qtbot, adapter="/a/S02")
    assert window.picture_panel.adapter.words.text() == "Adapter S02"
    assert not window.picture_panel.adapter.alignment.isVisible()
    assert not window.picture_panel.adapter.freeze.isVisible()
    window.end()


def test_words_of_an_adapter() -> None:
    assert formatting.adapter(Snapshot()) == ("", "")
    assert formatting.adapter(Snapshot(alignment="running")) == ("No adapter", "alignment running")
    swapping = Snapshot(adapter="/x/A", adapter_loading="/x/B", alignment_drift=0.5)
    assert formatting.adapter(swapping) == ("Adapter A · loading B…", "drift 0.50")


# Impedance


@pytest.mark.parametrize(
    ("signal", "kohm", "grade", "reason"),
    [
        ((Grade.GOOD, ""), 12.0, Grade.GOOD, ""),
        ((Grade.GOOD, ""), 900.0, Grade.DOUBTFUL, "impedance 900 kΩ"),
        ((Grade.GOOD, ""), 3000.0, Grade.BAD, "impedance 3000 kΩ"),
        ((Grade.BAD, "flat"), 900.0, Grade.BAD, "impedance 900 kΩ; flat"),
        ((Grade.DOUBTFUL, "pops"), None, Grade.DOUBTFUL, "pops"),
    ],
)
def test_the_worse_of_signal_and_impedance_counts(
    signal: tuple[Grade, str], kohm: float | None, grade: Grade, reason: str
) -> None:
    session = FakeSession(faults={"T7": signal}, impedance={"T7": kohm, "Cz": 5.0})
    session.start()
    session.now = 2.0
    model = HeadModel()
    snapshot = session.snapshot()
    assert model.update(session.ch_names, snapshot.quality, snapshot.impedance)
    assert not model.update(session.ch_names, snapshot.quality, snapshot.impedance)
    found = next(e for e in model.electrodes if e.ch_name == "T7")
    assert (found.grade, found.reason, found.kohm) == (grade, reason, kohm)
    top = max(5.0, kohm or 0.0)
    assert model.sentence.endswith(f"5.0 kΩ to {formatting.kiloohm(top)}")


def test_impedances_are_painted(qtbot: QtBot) -> None:
    pictures = []
    for impedance in ({}, {"Cz": 12.0}):
        session = FakeSession(impedance=impedance)
        session.start()
        session.now = 2.0
        model = HeadModel()
        model.update(session.ch_names, session.snapshot().quality, session.snapshot().impedance)
        plot = HeadPlot(model)
        qtbot.addWidget(plot)
        plot.resize(700, 320)
        cz = next(e for e in model.electrodes if e.ch_name == "Cz")
        place = plot.place(cz)
        assert place is not None
        x, y = round(place.x()), round(place.y())
        pictures.append(grabbed(plot)[y : y + 12, x - 12 : x + 12])
    assert (pictures[0] != pictures[1]).any()
