"""Attending in its window: the warning comes first, then looks are decided and drawn."""

from __future__ import annotations

import argparse
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.attend.calibrating import Calibration
from app.attend.drawing import Known, Picture
from app.attend.live import LiveAttend, LiveSetup, LiveSnapshot
from app.attend.reading import LookOptions
from app.cli import main
from app.commands import attend
from app.view_models.attend.grid_frames import GridFrames
from app.view_models.attend.warning import Answered
from app.view_models.attend.words import HONEST, figure_lines, look_lines
from app.views.attend import tool
from app.views.attend.view import AttendView
from app.views.window.main_window import MainWindow
from app.views.window.tools import TOOLS
from configs import SessionConfig, load_preset
from devices.virtual.looker import Looker
from models.adapters import AdapterStore
from pipeline.gallery import SPACE
from pipeline.values import Uint8
from tests.app.fake_session import FakeFactory, FakeSession
from tests.waiting import wait_for

STIMULI = SessionConfig().model_copy(update={"subject": "sub-1"})


class Clock:
    now = 5000.0

    def __call__(self) -> float:
        return self.now


class Waiting:
    """A session that is ready and waits for an answer."""

    labels = ("a", "b")

    def clock(self) -> float:
        return 0.0

    def __init__(self) -> None:
        self.n_begun = 0
        self.is_closed = False

    def start(self) -> None:
        """Nothing is to be loaded."""

    def pixels(self) -> list[Uint8]:
        return [np.zeros((4, 4, 3), dtype=np.uint8)] * 2

    def begin(self, answered: Answered, *, refresh_hz: float) -> GridFrames:
        self.n_begun += 1
        raise AssertionError("it began")

    def snapshot(self) -> LiveSnapshot:
        return LiveSnapshot("ready", labels=self.labels)

    def stop(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        self.is_closed = True


def test_ready_is_not_begun_and_keys_answer_nothing(qtbot: QtBot) -> None:
    port = Waiting()
    view = AttendView(port, clock=Clock())
    qtbot.addWidget(view)
    view.show()
    for _ in range(5):
        for widget in (view, view.warning, view.warning.begin, view.warning.accept):
            for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_F11, Qt.Key.Key_Y):
                qtbot.keyClick(widget, key)
        view.refresh()
    view.warning.begin.click()
    view.refresh()
    assert (port.n_begun, view.grid) == (0, None)
    assert view.pages.currentIndex() == 0
    with qtbot.waitSignal(view.over):
        view.warning.leave.click()
    view.refresh()
    assert port.n_begun == 0
    view.shut_down()
    assert port.is_closed


def test_no_option_of_the_command_line_answers_the_warning() -> None:
    parser = argparse.ArgumentParser()
    attend.add_parser(parser.add_subparsers())
    action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    names = " ".join(action.choices["attend"]._option_string_actions)
    for word in ("yes", "accept", "warning", "force", "agree", "consent", "answer"):
        assert word not in names
    for given in ("--yes", "--force", "-y"):
        with pytest.raises(SystemExit):
            parser.parse_args(["attend", given])


def test_a_look_in_the_window_is_decided_and_drawn(qtbot: QtBot, tmp_path: Path) -> None:
    clock = Clock()
    setup = LiveSetup(
        load_preset("attend"),
        LookOptions(trial_seconds=2.1),
        n_targets=6,
        n_looks=1,
        cued=False,
        looker=Looker(number=5, snr=6.0),
        out=tmp_path / "session",
    )
    live = LiveAttend(setup, clock=clock)
    view = AttendView(live, clock=clock)
    qtbot.addWidget(view)
    view.show()
    wait_for(lambda: live.snapshot().phase != "loading")
    view.refresh()
    assert view.grid is None
    view.warning.accept.click()
    view.warning.understood.click()
    view.warning.begin.click()
    assert view.grid is not None
    grid = view.grid
    lines = set()

    def over() -> bool:
        clock.now += 1 / 60
        grid._timer.stop()
        grid._step()
        if grid.frame_clock.n_flips % 6 == 0:
            view.refresh()
            lines.add(view.said.text())
            threading.Event().wait(0.005)  # the session's thread reads what was shown
        return live.snapshot().phase in ("ended", "failed")

    grid.resize(320, 240)
    view.hide()
    while not over():
        pass
    view.refresh()
    found = live.snapshot()
    assert found.phase == "ended", found.message
    assert found.figures["accuracy"] == 1.0
    assert found.drawn is not None
    assert found.drawn.pixels.shape == (128, 128, 3)
    assert any("?" in line for line in lines), "what is known was not shown while it grew"
    assert "decided after 2.1 s" in view.said.text()
    assert "simulated" in view.state.text() or view.state.text().startswith("Ended")
    said = tomllib.loads((tmp_path / "session" / "session.toml").read_text("utf-8"))
    assert said["run"]["attend"]["warning_answered"] > "2020"
    assert (tmp_path / "session" / "images" / "000000.png").is_file()
    view.shut_down()


class Still:
    """Draws one grey picture, in the place of the decoder's process."""

    space, settled = SPACE, MappingProxyType({"device": "cpu"})
    newest = None

    def __init__(self, _config: SessionConfig) -> None:
        self.mixtures: list[str] = []

    def show(self, known: Known) -> None:
        """Nothing waits for it."""

    def draw(self, known: Known) -> Picture:
        self.mixtures += list(known.labels)[:1]
        return Picture(np.ones(4, np.float32), 1.0, np.full((8, 8, 3), 90, np.uint8))

    def draw_prompt(self, prompt: str, known: Known) -> Uint8 | None:
        """Draw the words darker."""
        return np.full((8, 8, 3), len(prompt) > 0, np.uint8)

    def close(self) -> None:
        """Nothing runs."""


def played(view: AttendView, live: LiveAttend, clock: Clock) -> list[tuple[str, ...]]:
    """Answer the warning and let every frame come; return the labels of the grids that were."""
    wait_for(lambda: live.snapshot().phase != "loading")
    view.refresh()
    for button in (view.warning.accept, view.warning.understood, view.warning.begin):
        button.click()
    grid = view.grid
    assert grid is not None
    view._timer.stop()
    seen = [live.labels]
    while live.snapshot().phase not in ("ended", "failed"):
        clock.now += 1 / 60
        grid._timer.stop()
        grid._step()
        if grid.frame_clock.n_flips % 12 == 0:
            view.refresh()
            seen += [] if tuple(grid._labels) == seen[-1] else [tuple(grid._labels)]
            threading.Event().wait(0.002)  # the session's thread reads what was shown
    return seen


@pytest.fixture
def window(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[AttendView, LiveAttend, Clock]]:
    """Make the view of a session of a virtual person, which draws nothing."""
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("app.attend.live.Apart", Still)

    def make(**setup: Any) -> tuple[AttendView, LiveAttend, Clock]:
        clock = Clock()
        config = load_preset("attend").model_copy(update={"subject": "kim"})
        looker = Looker(number=5, snr=6.0)
        live = LiveAttend(
            LiveSetup(config, LookOptions(trial_seconds=2.1), looker=looker, **setup), clock=clock
        )
        view = AttendView(live, clock=clock)
        qtbot.addWidget(view)
        return view, live, clock

    return make


def test_a_calibration_in_the_window_is_stored_and_said(
    window: Callable[..., tuple[AttendView, LiveAttend, Clock]], tmp_path: Path
) -> None:
    view, live, clock = window(
        n_targets=6, n_looks=10, cued=True, out=tmp_path / "out", calibration=Calibration()
    )
    played(view, live, clock)
    view.refresh()
    assert live.snapshot().phase == "ended", live.snapshot().message
    (record,) = AdapterStore().list()
    assert "10 looks" in view.said.text()
    assert f"--adapter {record.adapter_id}" in view.said.text()
    assert view.stop_button.isHidden()
    view.close_button.click()
    view.shut_down()


def test_each_choice_in_the_window_offers_another_grid(
    window: Callable[..., tuple[AttendView, LiveAttend, Clock]], tmp_path: Path
) -> None:
    view, live, clock = window(
        n_targets=12, n_looks=8, cued=False, out=tmp_path / "out", composes=True
    )
    grids = played(view, live, clock)
    assert live.snapshot().phase == "ended", live.snapshot().message
    assert live.summary is not None
    found = live.summary["attend"]["composition"]
    assert [step["kind"] for step in found["path"]][-1] == "done"
    assert len(grids) == len(found["path"]), "each choice but the last offers a grid"
    said = [trial["decided_words"] for trial in live.summary["attend"]["trials"]]
    assert [words for words in said if words] == [step["words"] for step in found["path"]]
    assert "undo" in grids[1]
    assert (tmp_path / "out" / found["image"]).is_file()
    assert (tmp_path / "out" / found["prompt_image"]).is_file()
    view.shut_down()


def test_words_claim_no_more_than_is_known() -> None:
    assert "does not read imagination" in HONEST
    assert figure_lines({}) == ("no look yet",)
    nothing = look_lines(("red-rose", "b"), seconds=0.1, best=0, probability=0.001)
    assert nothing == ("looking…", "0.1 s")
    assert look_lines(("red-rose", "b"), seconds=2.0, best=0, probability=0.5) == (
        "red rose?  50%",
        "2.0 s",
    )


def test_the_menu_leads_to_the_warning_each_time(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Waiting] = []
    setups: list[LiveSetup] = []

    def wait(setup: LiveSetup) -> Waiting:
        setups.append(setup)
        made.append(Waiting())
        return made[-1]

    monkeypatch.setattr(tool, "LiveAttend", wait)
    window = MainWindow(FakeFactory(template=FakeSession(length=4.0)), STIMULI, tools=TOOLS)
    qtbot.addWidget(window)
    window.show()
    qtbot.keyClick(window, Qt.Key.Key_F7)
    (view,) = window.tools._opened.values()
    assert isinstance(view, tool.AttendTool)
    assert "simulated" in view.source.text()
    view.mode.setCurrentIndex(1)
    view.contrast.setCurrentText("0.2")
    for n_opened in (1, 2):
        view.open_button.click()
        assert (len(made), view.pages.currentIndex()) == (n_opened, 1)
        session = view.session
        assert session is not None
        session.refresh()
        assert session.pages.currentIndex() == 0, "the warning was not asked anew"
        assert not session.warning.begin.isEnabled()
        session.warning.leave.click()
        assert (view.session, view.pages.currentIndex()) == (None, 0)
        assert made[-1].is_closed
        assert made[-1].n_begun == 0
    assert setups[0].composes
    assert setups[0].flicker.contrast == 0.2
    assert setups[0].looker is not None
    window.close()
    window.end()


@pytest.mark.parametrize("option", ["--contrast", "--light"])
def test_more_contrast_or_light_than_the_limit_is_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attend", option, "0.9"]) == 1
    assert "0.1 to 0.8" in capsys.readouterr().err
