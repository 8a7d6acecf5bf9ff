"""The first ten minutes: streams appear by themselves, choices are kept, a start is tried twice."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QRectF, QSettings
from pytestqt.qtbot import QtBot

from app.errors import AppError
from app.runtime import launch
from app.runtime.launch import VirtualHeadset
from app.runtime.processes import start_module
from app.view_models.session.paint_times import PaintTimes
from app.view_models.settings.preferences import Preferences
from app.view_models.sources.last_source import source_of, source_text
from app.view_models.sources.model import SEARCH_EVERY, SourceChoice, SourceKind
from app.views.session.charts import free_of
from app.views.window.main_window import MainWindow
from configs import SessionConfig, list_presets, load_preset
from devices.lsl.inlet import LslSource
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_view_latency import RESULT
from tests.app.test_views import STIMULI, STREAMS, run_demo


def test_streams_appear_and_go_by_themselves_and_the_only_one_is_chosen(qtbot: QtBot) -> None:
    factory = FakeFactory(template=FakeSession())
    window = MainWindow(factory, STIMULI)
    now = [0.0]
    window.sources._clock = lambda: now[0]
    qtbot.addWidget(window)
    window.show()
    view = window.sources_view
    qtbot.waitUntil(lambda: window.sources.searched)
    window.tick()
    assert "appears here" in view.note.text()
    factory.streams = STREAMS[:1]
    now[0] += SEARCH_EVERY
    qtbot.waitUntil(lambda: view.list.topLevelItemCount() == 1)
    assert view.connect_button.isEnabled()
    assert view._selected_stream() == STREAMS[0]
    # A second one changes nothing of what is chosen.
    factory.streams = STREAMS
    now[0] += SEARCH_EVERY
    qtbot.waitUntil(lambda: view.list.topLevelItemCount() == 2)
    assert view._selected_stream() == STREAMS[0]
    factory.streams = ()
    now[0] += SEARCH_EVERY
    qtbot.waitUntil(lambda: view.list.topLevelItemCount() == 0)
    assert not view.connect_button.isEnabled()
    window.end()


def test_a_list_out_of_view_searches_nothing(qtbot: QtBot) -> None:
    factory = FakeFactory(template=FakeSession())
    window = MainWindow(factory, STIMULI)
    qtbot.addWidget(window)
    window.show()
    run_demo(window, qtbot, 2.0)
    qtbot.waitUntil(lambda: not window.sources.searching)
    window.sources._clock = lambda: 1e12
    for _ in range(5):
        window.tick()
    assert not window.sources.searching
    window.end()


def test_preset_and_source_of_last_time_are_taken_up(qtbot: QtBot, tmp_path: Path) -> None:
    store = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)

    def start(*, resume: bool = True) -> MainWindow:
        window = MainWindow(
            FakeFactory(template=FakeSession()),
            load_preset("default"),
            presets=list_presets(),
            load_preset=load_preset,
            settings=store,
            resume=resume,
        )
        qtbot.addWidget(window)
        window.show()
        return window

    first = start()
    assert first.settings.preset == "default"
    first.settings.choose_preset("free-running")
    stream = next(each for each in STREAMS if each.source_id)
    first.sources.choose(SourceChoice(SourceKind.LIVE, stream=stream, key=stream.source_id))
    first.end()
    second = start()
    second._show_texts()
    assert second.settings.preset == second.top_bar.preset.currentText() == "free-running"
    assert second.top_bar.source.text() == stream.name
    assert second.settings.build(second.sources.choice).source.source_id == stream.source_id
    second.end()
    # Settings that were given on the command line are not those of last time.
    third = start(resume=False)
    assert third.settings.preset == "default"
    assert third.sources.choice.kind is SourceKind.DEMO
    third.end()


def test_a_source_that_is_gone_or_nonsense_is_none(tmp_path: Path) -> None:
    recording = tmp_path / "a.xdf"
    choice = SourceChoice(SourceKind.REPLAY, path=recording)
    text = source_text(choice)
    assert source_of(text) is None
    recording.touch()
    assert source_of(text) == choice
    live = SourceChoice(
        SourceKind.LIVE, stream=replace(STREAMS[0], uid=""), ch_names=("Cz",), unit="volts"
    )
    again = source_of(source_text(live))
    assert again is not None
    assert again.stream is not None
    assert (again.stream.name, again.ch_names, again.unit) == (STREAMS[0].name, ("Cz",), "volts")
    for nonsense in ("", "{", "[]", '{"kind": "live"}', '{"kind": "moon"}'):
        assert source_of(nonsense) is None


def test_sessions_lie_where_documents_do_wherever_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DOCUMENTS_DIR", str(tmp_path / "Documents"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    documents = Preferences().sessions_path.parent
    assert documents.is_absolute()
    assert Preferences().sessions_path.name == "Phosphene"
    # What an earlier version kept, a folder below whatever was the current one.
    assert Preferences(sessions_folder="sessions").sessions_path == documents / "sessions"
    assert Preferences(sessions_folder="~/eeg").sessions_path == tmp_path / "eeg"
    assert Preferences(sessions_folder="/data/eeg").sessions_path == Path("/data/eeg")


def test_a_picture_that_came_while_nobody_could_see_it_is_not_late() -> None:
    now = [100.0]
    times = PaintTimes(clock=lambda: now[0])
    times.watch(False)
    now[0] = 400.0
    times.watch(True)
    times.painted(replace(RESULT, index=0, returned=101.0))
    assert times.of(0) is None
    times.painted(replace(RESULT, index=1, returned=399.99))
    assert times.of(1) is None
    now[0] = 400.02
    times.painted(replace(RESULT, index=2, returned=400.0))
    assert times.of(2) == pytest.approx(20.0)


def test_the_picture_of_another_session_does_not_stay(qtbot: QtBot) -> None:
    """A calibration that the window watches after a session: 316 s of "Paint" were seen."""
    window = MainWindow(FakeFactory(template=FakeSession()), STIMULI)
    qtbot.addWidget(window)
    window.show()
    run_demo(window, qtbot, 3.0)
    assert window.picture_panel.shown is not None
    window.session.stop()
    qtbot.waitUntil(lambda: not window.session.active)
    window.session.adopt(FakeSession())
    window.tick()
    assert window.picture_panel.shown is None
    assert not window.picture_panel.decoded.has_picture
    window.picture_panel.repaint()
    assert "paint" not in window.session.paint_times.stages({})
    window.end()


@pytest.mark.parametrize("at", [0.0, 60.0, 150.0, 290.0])
def test_a_low_rank_never_stands_on_the_word_chance(at: float) -> None:
    row, taken = QRectF(0, 100, 330, 16), QRectF(at, 100, 80, 16)
    room = free_of(row, taken)
    assert not room.intersects(taken)
    assert row.contains(room)
    assert room.width() >= (330 - 80) / 2 - 10
    assert free_of(row, None) == row


@pytest.mark.lsl
def test_a_virtual_headset_that_fails_once_is_started_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    started: list[subprocess.Popen[str]] = []

    def unlucky(module: str, *options: str) -> subprocess.Popen[str]:
        options = options if started else ("--board", "nosuch")
        started.append(start_module(module, *options))
        return started[-1]

    monkeypatch.setattr(launch, "start_module", unlucky)
    config = load_preset("demo")
    config = config.model_copy(
        update={"source": config.source.model_copy(update={"source_id": "again"})}
    )
    headset = VirtualHeadset(config, source_id="again", markers_source_id="nobody")
    source = headset.opener(config)(threading.Event())
    assert isinstance(source, LslSource)
    source.close()
    headset.close()
    assert [process.poll() is not None for process in started] == [True, True]
    assert "nosuch" in capfd.readouterr().err


def test_a_virtual_headset_that_always_fails_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tries: list[str] = []

    def broken(module: str, *_: str) -> subprocess.Popen[str]:
        tries.append(module)
        return start_module(module, "--board", "nosuch")

    monkeypatch.setattr(launch, "start_module", broken)
    headset = VirtualHeadset(SessionConfig(), source_id="x", markers_source_id="y")
    with pytest.raises(AppError, match="did not start"):
        headset.opener(SessionConfig())(threading.Event())
    assert len(tries) == 2
    capfd.readouterr()
