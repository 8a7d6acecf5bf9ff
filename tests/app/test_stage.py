"""The stage: what follows a failure, whose picture is shown, what stays on disk, how it moves."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.between import Between
from app.cli import main
from app.commands.stage import make_keeper, remove_abandoned, supervise
from app.errors import AppError
from app.port import Phase, Result, Snapshot, TraceBlock
from app.runtime import launch
from app.runtime.lock import remove_lock, this_process, write_lock
from app.stage.disk import claim, keep_quota, remove, size_of
from app.stage.keeper import Keeper, Patience, Shown, Who
from app.stage.motion import FADE, FOG_AFTER, LONGEST, Motion
from app.stage.watched import Watched
from app.views.stage.window import POLL_FRAMES, UNCALIBRATED, StageWindow
from configs import load_preset
from pipeline.errors import PhospheneError
from pipeline.values import Outcome

POLL = 0.1
GREY = np.full((8, 8, 3), 128, np.uint8)


class Fake:
    """A session that draws a picture a second from its third second on."""

    def __init__(self, stage: Stage, who: Who, out: Path) -> None:
        self.stage, self.who, self.out = stage, who, out
        self.began: float | None = None
        self.phase, self.silent_since = Phase.IDLE, float("inf")
        self.mute_since = float("inf")
        self.stopped = False

    def start(self) -> None:
        self.began, self.phase = self.stage.now, Phase.RUNNING

    def stop(self, timeout: float = 10.0, *, at_once: bool = False) -> None:
        self.stopped, self.phase = True, Phase.STOPPED

    def snapshot(self) -> Snapshot:
        now = self.stage.now
        silent = now - self.silent_since if now > self.silent_since else None
        return Snapshot(
            phase=self.phase, out=self.out, silent_for=silent, message="it broke", decoder="ready"
        )

    def results(self, since: int) -> Sequence[Result]:
        if self.began is None or self.phase is not Phase.RUNNING:
            return []
        until = min(self.stage.now, self.mute_since, self.silent_since) - self.began
        return [
            Result(k, 0.0, "", Outcome.DECODED, pixels=GREY + self.stage.made.index(self))
            for k in range(since, max(since, int(until) - 2))
        ]


class Stage:
    """A keeper under a clock of its own, whose threads run at once."""

    def __init__(self, tmp_path: Path, *, has_visitors: bool = True) -> None:
        self.now = 1000.0
        self.made: list[Fake] = []
        self.ended: list[tuple[str, Who]] = []
        self.refuses: set[Who] = set()
        self.root = tmp_path
        self.keeper = Keeper(
            self.make,  # type: ignore[arg-type]
            has_visitors=has_visitors,
            patience=Patience(),
            ended=lambda out, who: self.ended.append((out.name, who)),
            clock=lambda: self.now,
            spawn=self.spawn,
        )

    def spawn(self, work: Callable[[], None]) -> None:
        work()

    def make(self, who: Who) -> Fake:
        if who in self.refuses:
            raise PhospheneError("there is no headset")
        self.made.append(Fake(self, who, self.root / str(len(self.made))))
        return self.made[-1]

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> float:
        began = self.now
        while self.now - began < seconds and not until():
            self.keeper.poll()
            self.now += POLL
        return self.now - began

    @property
    def current(self) -> Fake:
        run = self.keeper._run
        assert run is not None
        return run.port  # type: ignore[return-value]

    def drew(self) -> bool:
        run = self.keeper._run
        return run is not None and run.drew_at is not None and run.port.phase is Phase.RUNNING  # type: ignore[attr-defined]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    stage.run(60.0, until=stage.drew)
    assert stage.keeper.shown.who is Who.ATTRACT
    assert stage.keeper.shown.is_simulated
    return stage


def fail(session: Fake) -> None:
    session.phase = Phase.FAILED


def go_silent(session: Fake) -> None:
    session.silent_since = session.stage.now


def go_mute(session: Fake) -> None:
    session.mute_since = session.stage.now


@pytest.mark.parametrize(("fault", "within"), [(fail, 4.0), (go_silent, 9.0), (go_mute, 13.0)])
def test_the_picture_is_back_after_any_failure(
    stage: Stage, fault: Callable[[Fake], None], within: float
) -> None:
    for _ in range(3):
        broken = stage.current
        fault(broken)
        took = stage.run(60.0, until=lambda b=broken: stage.drew() and stage.current is not b)  # type: ignore[misc]
        assert took < within
        assert broken.stopped
        stage.run(2.0)
    assert stage.keeper.n_restarts == 3


def test_a_session_is_followed_by_another_without_a_pause(stage: Stage) -> None:
    first = stage.current
    newest = [stage.keeper.shown.result]
    stage.run(Patience().rotate + 5.0, until=lambda: stage.current is not first)
    newest.append(stage.keeper.shown.result)
    assert all(result is not None for result in newest)
    assert first.stopped
    assert stage.keeper.n_restarts == 0
    stage.run(20.0)
    assert len(stage.made) == 2


def test_nothing_of_one_person_is_shown_as_the_next_ones(stage: Stage) -> None:
    attract = stage.current
    assert stage.keeper.next_visitor()
    assert attract.stopped
    assert stage.keeper.shown.result is None
    stage.run(60.0, until=stage.drew)
    first, shown = stage.current, stage.keeper.shown
    assert (shown.who, shown.is_simulated) == (Who.VISITOR, True) or not shown.is_simulated
    assert stage.keeper.next_visitor()
    assert first.stopped
    assert stage.keeper.shown.result is None
    stage.run(60.0, until=stage.drew)
    assert stage.current is not first
    assert stage.keeper.shown.run > shown.run
    # Nobody at the keyboard: the visit ends by itself, and the attract loop is back.
    stage.run(Patience().visit + 10.0, until=lambda: stage.keeper.shown.who is Who.ATTRACT)
    stage.run(60.0, until=stage.drew)
    assert stage.current.who is Who.ATTRACT
    assert [who for _, who in stage.ended].count(Who.VISITOR) == 2


def test_a_session_that_was_opened_for_one_person_is_not_the_next_ones(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    waiting: list[Callable[[], None]] = []
    stage.keeper._spawn = waiting.append  # type: ignore[assignment]
    stage.keeper.next_visitor()
    stage.keeper.poll()
    stage.keeper.next_visitor()  # while the first one's is being opened
    while waiting or len(stage.made) < 2:
        stage.keeper.poll()
        for work in waiting[:]:
            waiting.remove(work)
            work()
    stage.keeper.poll()
    assert [fake.stopped for fake in stage.made[:2]] == [True, False]
    assert stage.current is stage.made[1]


def test_a_headset_that_is_not_there_leaves_the_attract_loop(stage: Stage) -> None:
    stage.refuses = {Who.VISITOR}
    stage.keeper.next_visitor()
    stage.run(60.0, until=lambda: stage.drew() and stage.current.who is Who.ATTRACT)
    assert stage.drew()
    assert not Stage(stage.root, has_visitors=False).keeper.next_visitor()


def test_the_end_stops_every_session(stage: Stage) -> None:
    stage.keeper.close()
    stage.keeper.close()
    assert all(fake.stopped for fake in stage.made)
    stage.keeper.poll()
    assert len(stage.made) == 1


# -- the disk ------------------------------------------------------------------------------------


def session_folder(root: Path, name: str, size: int) -> Path:
    folder = root / name
    (folder / "images").mkdir(parents=True)
    (folder / "session.toml").write_text("")
    (folder / "images" / "0.png").write_bytes(b"x" * size)
    return folder


def test_the_oldest_sessions_go_first_and_nothing_else_does(tmp_path: Path) -> None:
    root = tmp_path / "stage"
    folders = [session_folder(root, f"2026-01-0{k}", 1000) for k in range(1, 6)]
    others = root / "2026-01-00-notes"
    others.mkdir()
    (others / "mine.txt").write_text("keep me")
    elsewhere = session_folder(tmp_path, "elsewhere", 1000)
    (root / "2026-01-00-link").symlink_to(elsewhere)
    left = keep_quota(root, 2500, in_use=[folders[0]])
    assert left <= 2500
    assert [folder.exists() for folder in folders] == [True, False, False, False, True]
    assert others.exists()
    assert elsewhere.exists()
    assert not remove(others)
    assert size_of(folders[4]) == 1000
    assert keep_quota(tmp_path / "nowhere", 1) == 0


def test_a_folder_that_goes_while_it_is_measured_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "images").mkdir(parents=True)
    (tmp_path / "a" / "events.jsonl").write_bytes(bytes(100))
    scandir = os.scandir

    def gone(path: Any = ".") -> Any:
        if Path(path).name == "images":
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", gone)
    assert size_of(tmp_path) == 100


def test_a_folder_of_somebody_elses_is_none_of_the_stages(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    session_folder(mine, "2026-01-01", 10)
    with pytest.raises(AppError, match=r"mine holds '2026-01-01', expected a folder of the stage"):
        claim(mine)
    assert main(["stage", "--out", str(mine)]) == 1
    new = tmp_path / "new"
    new.mkdir()
    claim(new)
    session_folder(new, "2026-01-01", 10)
    claim(new)


def test_what_a_killed_stage_left_is_deleted_and_what_was_kept_is_not(tmp_path: Path) -> None:
    killed, kept, running = (session_folder(tmp_path, name, 10) for name in "abc")
    write_lock(running)
    lock = next(path for path in running.iterdir() if "lock" in path.name)
    # Its process is gone: as if this one had begun at another time.
    (killed / lock.name).write_text(lock.read_text().replace(this_process().start_time, "1"))
    remove_abandoned(tmp_path)
    assert [folder.exists() for folder in (killed, kept, running)] == [False, True, True]
    remove_lock(running)


@pytest.mark.parametrize("kept", [False, True])
def test_no_report_is_made_of_what_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    args = argparse.Namespace(out=tmp_path, keep=kept, quota=1.0, visit=60.0)
    for name in ("demo_session", "live_session"):
        monkeypatch.setattr(launch, name, lambda *_, **more: SimpleNamespace(out=tmp_path, **more))
    keeper = make_keeper(args, load_preset("stage"))
    made = [keeper._make(who) for who in (Who.ATTRACT, Who.VISITOR)]
    assert [session.has_report for session in made] == [False, kept]  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform != "linux", reason="what is asked is glibc's")
def test_what_a_session_leaves_behind_goes_back_to_the_system() -> None:
    code = (
        "import psutil\n"
        "from app.stage.memory import give_back, keep_one_arena\n"
        "print(keep_one_arena())\n"
        "rss = psutil.Process().memory_info\n"
        "kept = []\n"
        "for _ in range(8):\n"
        "    many = [bytearray(60_000) for _ in range(700)]\n"
        "    kept.append(bytearray(60_000)); del many\n"
        "held = rss().rss; give_back(); print(held - rss().rss)\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    done, given = made.stdout.split()
    if done == "False":
        pytest.skip("the C library here is another")
    assert int(given) > 10_000_000


# -- how it moves --------------------------------------------------------------------------------


def test_pictures_move_into_one_another_without_a_jump() -> None:
    motion, now = Motion(), 0.0
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    levels = []
    for k in range(int(11 / 0.033)):
        now = 0.033 * k
        if k % 15 == 0 and now < 6.0:
            motion.show(white if (k // 15) % 2 else black, now)
        levels.append(float((motion.frame(now).astype(float).mean() / 255) ** 2.2))
    steps = np.abs(np.diff(levels))
    assert steps.max() < 0.12, "no jump, in light"
    moving = np.array(levels[30:180])
    assert len(np.unique(np.round(moving, 4))) >= 15, "each frame between two key frames is another"
    assert min(moving) < 0.05
    assert max(moving) > 0.95
    assert motion.is_fog, "nothing came for seconds"


def test_the_way_leads_through_pictures_that_were_drawn_between() -> None:
    motion = Motion()
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    red = black + np.array([255, 0, 0], np.uint8)
    motion.show(black, 0.0)
    motion.show(white, 2.0)  # reached after LONGEST
    early = motion.frame(2.2)
    motion.pass_by(red, 0.5, 2.2)
    np.testing.assert_array_equal(motion.frame(2.2), early)  # no jump
    middle = motion.frame(2.0 + LONGEST / 2).astype(int)
    assert (np.abs(middle - red) <= 2).all()
    assert (motion.frame(2.0 + LONGEST) == 255).all()
    motion.pass_by(red, 0.5, 2.0 + LONGEST)
    motion.pass_by(red[:8], 0.9, 2.3)
    assert (motion.frame(2.0 + LONGEST) == 255).all(), "too late, and of another size"


def test_fog_comes_when_nothing_is_known_and_has_no_form() -> None:
    motion = Motion()
    assert motion.is_fog
    first, later = motion.frame(0.0), motion.frame(5.0)
    assert first.std() < 12
    assert (first != later).any(), "it drifts"
    motion.show(np.full((96, 96, 3), 255, np.uint8), 0.0)
    assert not motion.is_fog
    motion.frame(LONGEST + 0.1)
    motion.forget(2.0)
    assert motion.frame(2.0).mean() > 250
    motion.frame(2.0 + FADE)
    assert motion.is_fog
    motion.show(np.full((96, 96, 3), 255, np.uint8), 10.0)
    motion.frame(10.0 + FOG_AFTER + FADE + 0.01)
    assert motion.is_fog


# -- the process ---------------------------------------------------------------------------------


def test_a_window_that_dies_is_started_anew_and_one_that_ends_is_not(tmp_path: Path) -> None:
    log = tmp_path / "starts"
    code = (
        "import os, sys; p = sys.argv[1]\n"
        "with open(p, 'a') as f: f.write('x')\n"
        "n = os.path.getsize(p)\n"
        "os._exit(0 if n == 3 else 9)\n"
    )
    assert supervise([sys.executable, "-c", code, str(log)], longest=0.01) == 0
    assert log.read_text() == "xxx"


# -- the window ----------------------------------------------------------------------------------


class OnStage:
    """What `StageWindow` shows and asks, by hand."""

    def __init__(self) -> None:
        self.shown = Shown(Who.ATTRACT, 1, None, True, "", Snapshot())
        self.asked: list[str] = []

    def poll(self) -> None:
        pass

    def traces(self, seconds: float) -> TraceBlock | None:
        t = np.arange(500)
        data = np.stack([np.sin(t / 20 + k) for k in range(4)]).astype(np.float32)
        return TraceBlock(data, t / 250.0, 0)

    def next_visitor(self) -> bool:
        self.asked.append("next")
        return True

    def attract(self) -> None:
        self.asked.append("attract")

    def draw(self, **more: Any) -> None:
        result = Result(0, 0.0, "", Outcome.DECODED, pixels=GREY, **more)
        self.shown = replace(self.shown, result=result)


def test_the_window_needs_no_click_and_stays(qtbot: QtBot, tmp_path: Path) -> None:
    staged, ended, now = OnStage(), list[bool](), [0.0]
    window = StageWindow(staged, words=True, ended=lambda: ended.append(True), clock=lambda: now[0])
    qtbot.addWidget(window)
    window._timer.stop()  # stepped by hand

    def step(seconds: float) -> None:
        now[0] += seconds
        for _ in range(POLL_FRAMES):
            window.step()

    window.resize(640, 400)
    window.show()
    step(0.1)
    assert window.motion.is_fog
    staged.draw(top=(("owl", 0.9),), confidence=0.59)
    step(0.1)
    assert not window.motion.is_fog
    assert window.name == "", "not known well enough"
    staged.draw(top=(("owl", 0.9),), confidence=0.6)
    step(0.1)
    assert window.name == "owl"
    staged.draw(top=(("owl", 0.9),))
    step(0.1)
    assert window.name == "", "no confidence is stated"
    led = []
    window.motion.pass_by = lambda _, at, __: led.append(at)  # type: ignore[method-assign]
    way = tuple(Between(index, at, GREY) for index, at in ((0, 0.25), (0, 0.5), (7, 0.75)))
    for n in (1, 3):
        staged.shown = replace(staged.shown, snapshot=Snapshot(between=way[:n]))
        step(0.1)
    assert led == [0.25, 0.5], "each once, and those of its own picture"
    window.close()
    window.hide()
    step(0.1)
    assert window.isVisible(), "it comes back"
    for key in (Qt.Key.Key_Space, Qt.Key.Key_Escape, Qt.Key.Key_T, Qt.Key.Key_W):
        qtbot.keyClick(window, key)
    assert (staged.asked, window.traces, window.words) == (["next", "attract"], True, False)
    simulated = window.grab().toImage()
    staged.shown = replace(staged.shown, who=Who.VISITOR, run=2, result=None, is_simulated=False)
    step(0.1)
    step(FADE + 0.1)
    assert window.motion.is_fog, "another person"
    window.words = True
    assert window.words_shown == "", "nothing is decoded yet"
    staged.draw(top=(("owl", 0.9),), confidence=0.1)
    step(0.1)
    assert window.words_shown == UNCALIBRATED
    staged.shown = replace(staged.shown, snapshot=Snapshot(adapter="theirs"))
    step(0.1)
    assert window.words_shown == ""
    assert window.grab().toImage() != simulated
    qtbot.keyClick(window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    assert ended == [True]
    assert not window.isVisible()


def test_the_windows_own_session_is_shown_and_esc_ends_that(qtbot: QtBot, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    session = stage.make(Who.VISITOR)
    session.start()
    stage.now += 10.0
    current: list[Any] = [None]
    watched = Watched(lambda: current[0])
    window = StageWindow(watched, stays=False)
    qtbot.addWidget(window)
    window.show()
    window.step()
    assert window.motion.is_fog
    current[0] = session
    for _ in range(POLL_FRAMES):
        window.step()
    assert not window.motion.is_fog
    assert not watched.next_visitor()
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window.isVisible()
    assert session.phase is Phase.RUNNING
