"""The stimulus window offscreen: frames stepped by hand under a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from app.port import Cue, DisplayFigures
from app.presentation import CATCH_LABEL, Show, Step, Timing, plan_presentation
from app.view_models.stimuli.frame_clock import N_FOR_ESTIMATE, FrameClock, in_words
from app.view_models.stimuli.session_frames import TOO_LATE, SessionFrames
from app.views.stimuli.canvas import BACKGROUND, CATCH_COLOUR
from app.views.stimuli.window import StimulusWindow
from app.views.window.main_window import MainWindow
from configs import SessionConfig, StimuliConfig
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.plan_player import Player

PERIOD = 1 / 60
RED = np.full((16, 16, 3), (200, 0, 0), dtype=np.uint8)


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Feed:
    """A session's stimuli, one cue at a time."""

    def __init__(self, clock: Clock) -> None:
        self.cue: Cue | None = None
        self.clock = clock
        self.attached = 0
        self.flips: list[tuple[int, float]] = []
        self.figures: DisplayFigures | None = None

    def attach(self) -> None:
        self.attached += 1

    def detach(self) -> None:
        self.attached = 0

    def flipped(self, number: int, stamp: float) -> None:
        self.flips.append((number, stamp))

    def report(self, figures: DisplayFigures) -> None:
        self.figures = figures


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[StimulusWindow]:
    window = StimulusWindow(lambda label: RED if label == "red" else None)
    qtbot.addWidget(window)
    window.show()
    yield window
    window.close()


def play(
    window: StimulusWindow,
    clock: Clock,
    player: Player,
    *,
    hold: Callable[[int], int] = lambda _: 1,
) -> list[tuple[str, float]]:
    """Step `player` to its end; `hold` says how many refreshes pass before the next frame."""
    stamps: list[tuple[str, float]] = []
    window.play(player, clock=clock, on_marker=lambda label, at: stamps.append((label, at)))
    number = 0
    while window.playing:
        clock.now += hold(number) * PERIOD
        number += 1
        window._step()
    return stamps


# The screen's time


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=300),
    st.sampled_from((59.94, 60.0, 75.0, 143.9)),
    st.integers(0, 99),
)
def test_the_clock_tells_each_refresh_and_every_drop(
    steps: list[int], hz: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    clock = FrameClock(round(hz))
    refresh = 0
    assert clock.flip(10.0) == 0
    for step in steps:
        refresh += step
        jitter = float(rng.uniform(-0.1, 0.1)) / hz
        assert clock.flip(10.0 + refresh / hz + jitter) == refresh
    assert clock.n_dropped == refresh - len(steps)
    assert clock.n_flips == len(steps) + 1


def test_the_refresh_rate_is_measured_and_compared() -> None:
    clock = FrameClock(60.0)
    for n in range(200):
        clock.flip(n / 59.8)
    assert clock.refresh_hz == pytest.approx(59.8, abs=0.01)
    assert clock.in_step
    assert clock.is_held
    words = in_words(clock.figures("by hand", locked=True))
    assert words == "59.80 Hz measured (60 Hz stated) · 0 of 200 frames dropped · by hand"


def test_a_swap_that_waits_for_nothing_is_found_out() -> None:
    clock = FrameClock(60.0)
    for n in range(N_FOR_ESTIMATE + 1):
        clock.flip(n / 900)
    assert not clock.is_held
    assert not clock.in_step
    assert clock.refresh_hz is None


def test_a_swap_that_takes_as_long_as_it_takes_is_found_out_too() -> None:
    rng = np.random.default_rng(0)
    clock, now = FrameClock(60.0), 0.0
    for _ in range(40):
        now += float(rng.uniform(0.008, 0.04))
        clock.flip(now)
    assert not clock.is_held


def test_drops_do_not_hide_that_a_screen_holds_the_swap() -> None:
    clock = FrameClock(60.0)
    for n in range(40):
        clock.flip((n + n // 5) / 60)
    assert clock.is_held
    assert clock.n_dropped == 7


def test_a_late_stamp_followed_by_one_in_time_is_no_drop() -> None:
    clock = FrameClock(60.0, follows_screen=False)
    for n in range(300):
        late = 0.7 if n % 3 == 2 else 0.0
        assert clock.flip((n + late) / 60) - n <= 1
    assert clock.index in (299, 300)
    assert clock.refresh_hz is None
    words = in_words(clock.figures("timer", locked=False))
    assert words.startswith("refresh not measured (60 Hz stated)")


def test_a_pause_is_no_dropped_frame() -> None:
    clock = FrameClock(60.0)
    clock.flip(0.0)
    clock.pause()
    assert clock.flip(100.0) == 1
    assert (clock.n_dropped, clock.worst_gap) == (0, 0.0)


# A session's stimuli as frames


@given(st.floats(0, 1), st.floats(0.02, 1.0))
def test_a_cue_begins_at_the_nearest_flip_and_lasts_whole_frames(
    phase: float, duration: float
) -> None:
    clock = Clock()
    feed = Feed(clock)
    frames = SessionFrames(feed, refresh_hz=60.0)
    at = 1000.0 + (5 + phase) * PERIOD
    feed.cue = Cue(0, "red", at, duration)
    shown, markers = [], []
    for index in range(100):
        due = 1000.0 + index * PERIOD
        frame = frames.advance(index, due)
        if frame.marker:
            markers.append(due)
            frames.stamped(frame.marker, due)
        if frame.show is Show.STIMULUS:
            shown.append(index)
    (onset,) = markers
    assert abs(onset - at) <= PERIOD / 2 + 1e-9
    assert feed.flips == [(0, onset)]
    assert len(shown) == max(1, round(60 * duration))


def test_a_catch_trial_of_a_session_is_a_cross_and_no_picture() -> None:
    clock = Clock()
    feed = Feed(clock)
    frames = SessionFrames(feed, refresh_hz=60.0)
    feed.cue = Cue(0, CATCH_LABEL, 1000.0, 0.5)
    assert frames.upcoming is None
    frame = frames.advance(0, 1000.0)
    assert (frame.show, frame.marker) == (Show.CATCH, CATCH_LABEL)


def test_a_cue_that_is_long_over_is_not_begun() -> None:
    feed = Feed(Clock())
    frames = SessionFrames(feed, refresh_hz=60.0)
    feed.cue = Cue(0, "red", 1000.0, 0.5)
    assert frames.advance(0, 1000.1 + TOO_LATE).show is Show.FIXATION
    feed.cue = Cue(1, "red", 1001.0, 0.5)
    assert frames.advance(1, 1001.0).marker == "red"


# The window


def test_markers_are_stamped_at_the_flip_of_their_picture(
    window: StimulusWindow, clock: Clock
) -> None:
    timing = Timing(fixation=3, stimulus=4, blank=2)
    player = Player(plan_presentation(("red", "blue"), repetitions=3, timing=timing))
    stamps = play(window, clock, player)
    assert [label for label, _ in stamps] == list(player.plan.labels)
    frames = [round((at - 1000.0) * 60) for _, at in stamps]
    assert frames == [3 + 9 * n for n in range(6)]
    figures = window.figures
    assert (figures.n_dropped, figures.locked) == (0, False)
    assert "timer" in figures.method


def test_dropped_frames_are_counted_and_cost_no_picture(
    window: StimulusWindow, clock: Clock
) -> None:
    timing = Timing(fixation=3, stimulus=4, blank=2)
    player = Player(plan_presentation(("red", "blue"), repetitions=5, timing=timing))
    stamps = play(window, clock, player, hold=lambda n: 3 if n % 10 == 9 else 1)
    assert len(stamps) == 10
    assert window.figures.n_dropped == 2 * (window.figures.n_frames // 10)
    assert window.figures.worst_gap_ms == pytest.approx(50.0, abs=0.1)


def _grab(window: StimulusWindow) -> QImage:
    return window.grab().toImage()


def test_what_stands_on_the_screen(window: StimulusWindow, clock: Clock) -> None:
    timing = Timing(fixation=2, stimulus=2, blank=2)
    window.use(StimuliConfig(photodiode="top-right", photodiode_px=40))
    player = Player(plan_presentation(("red",), repetitions=1, timing=timing, n_catch=1, seed=1))
    window.play(player, clock=clock, on_marker=lambda *_: None)
    seen: dict[Show, tuple[QColor, QColor]] = {}
    while window.playing:
        image = _grab(window)
        centre, corner = image.rect().center(), image.rect().topRight()
        seen[window._frame.show] = (image.pixelColor(centre), image.pixelColor(corner))
        clock.now += PERIOD
        window._step()
    black, white = QColor("black"), QColor("white")
    assert seen[Show.FIXATION][0].lightness() < 40
    assert seen[Show.FIXATION][1] == black
    assert seen[Show.STIMULUS] == (QColor(200, 0, 0), white)
    assert seen[Show.CATCH] == (CATCH_COLOUR, white)
    assert seen[Show.BLANK] == (BACKGROUND, black)


def test_escape_ends_and_no_marker_follows(
    window: StimulusWindow, clock: Clock, qtbot: QtBot
) -> None:
    player = Player(plan_presentation(("red", "blue"), repetitions=9))
    stamps: list[str] = []
    ended: list[bool] = []
    window.ended.connect(ended.append)
    window.play(player, clock=clock, on_marker=lambda label, _: stamps.append(label))
    for _ in range(40):
        clock.now += PERIOD
        window._step()
    assert len(stamps) == 1
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert ended == [False]
    assert not window.isVisible()
    assert player.finished
    window._step()
    assert len(stamps) == 1


def test_a_whole_plan_ends_as_complete_and_the_space_bar_answers(
    window: StimulusWindow, clock: Clock, qtbot: QtBot
) -> None:
    ended: list[bool] = []
    window.ended.connect(ended.append)
    timing = Timing(fixation=1, stimulus=1, blank=1)
    plan = plan_presentation(("red",), timing=timing)
    player = Player(replace(plan, steps=(Step(Show.BREAK, None), *plan.steps)))
    window.play(player, clock=clock, on_marker=lambda *_: None)
    for _ in range(20):
        clock.now += PERIOD
        window._step()
    assert player.on_break
    qtbot.keyClick(window, Qt.Key.Key_Space)
    for _ in range(5):
        clock.now += PERIOD
        window._step()
    assert ended == [True]
    assert not window.playing


def test_hidden_and_shown_again_it_goes_on_where_it_stood(
    window: StimulusWindow, clock: Clock
) -> None:
    player = Player(plan_presentation(("red", "blue"), repetitions=2))
    stamps: list[str] = []
    window.play(player, clock=clock, on_marker=lambda label, _: stamps.append(label))
    for _ in range(10):
        clock.now += PERIOD
        window._step()
    window.hide()
    clock.now += 60.0
    window.show()
    while window.playing:
        clock.now += PERIOD
        window._step()
    assert stamps == list(player.plan.labels)
    assert window.figures.n_dropped == 0


def test_a_sessions_own_stimuli_go_through_the_window(
    window: StimulusWindow, clock: Clock, tmp_path: Path
) -> None:
    feed = Feed(clock)
    stimuli = StimuliConfig(enabled=True, photodiode="bottom-left")
    session = FakeSession(SessionConfig(stimuli=stimuli), stimuli=feed)
    window.follow(session)
    assert (window.square.corner, feed.attached) == ("bottom-left", 1)
    feed.cue = Cue(0, "red", 1000.1, 0.1)
    labels = []
    for _ in range(80):
        clock.now += PERIOD
        window._step()
        labels.append(window.label)
        window.show_stimulus("blue")  # the poll of the main window must not interfere
    assert [label for label in labels if label] == ["red"] * 6
    ((number, stamp),) = feed.flips
    assert number == 0
    assert abs(stamp - 1000.1) <= PERIOD / 2 + 1e-9
    assert feed.figures is not None
    assert feed.figures.n_frames >= 60
    window.hide()
    assert feed.attached == 0
    window.show()
    assert feed.attached == 1
    window.follow(None)
    assert feed.attached == 0
    assert not window.playing
    window.show_stimulus("blue")
    assert window.label == "blue"


def test_the_figures_stand_on_the_screen_at_a_key(
    window: StimulusWindow, clock: Clock, qtbot: QtBot
) -> None:
    player = Player(plan_presentation(("red",)))
    window.play(player, clock=clock, on_marker=lambda *_: None)
    before = _grab(window)
    qtbot.keyClick(window, Qt.Key.Key_I)
    assert _grab(window) != before


def test_the_main_window_hands_its_session_over(clock: Clock, qtbot: QtBot, tmp_path: Path) -> None:
    feed = Feed(clock)

    class Factory(FakeFactory):
        def demo(self, config: SessionConfig) -> FakeSession:
            session = super().demo(config)
            session.stimuli = feed
            return session

    window = MainWindow(Factory(), SessionConfig(stimuli=StimuliConfig(enabled=True)))
    qtbot.addWidget(window)
    window._timer.stop()
    window.show_stimuli()
    window.start_demo()

    def attached() -> bool:
        window.tick()
        return feed.attached == 1

    qtbot.waitUntil(attached)
    window.toggle()
    qtbot.waitUntil(lambda: window.tick() or feed.attached == 0)
    window.close()
    window.shut_down()
