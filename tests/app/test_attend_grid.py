"""The flickering grid: what is shown is what is decoded, to the frame; nothing without a yes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.view_models.attend.grid_frames import (
    CUE_SECONDS,
    REST_SECONDS,
    GridFrames,
    Stage,
    grid_for,
    holds,
)
from app.view_models.attend.light import Flicker, dimmed
from app.view_models.attend.places import LARGEST, SMALLEST, place
from app.view_models.attend.warning import Answered, WarningModel, WarningNotAnsweredError
from app.view_models.stimuli.frame_clock import FrameClock
from app.views.attend.grid import GridWindow
from app.views.attend.warning import WarningPage
from pipeline.looks import Grid, Kind, ShownFrames, read_label

N = 6
LABELS = tuple("abcdef")


def answered() -> Answered:
    model = WarningModel()
    model.accepts = model.has_understood = True
    return model.accept()


def frames_of(
    markers: list[tuple[str, float]],
    *,
    hz: float = 60.0,
    n_targets: int = N,
    kind: Kind = "flicker",
) -> GridFrames:
    grid = grid_for(tuple(f"{n}" for n in range(n_targets)), hz, kind)
    return GridFrames(
        grid,
        hold=holds(hz, kind),
        push=lambda label, at: markers.append((label, at)),
        answered=answered(),
    )


def decoded(
    grid: Grid, markers: list[tuple[str, float]], until: float
) -> tuple[np.ndarray, np.ndarray]:
    """Read frames out of markers as the decoder does."""
    first = read_label(markers[0][0])
    assert first is not None
    assert first.frame == 0
    shown = ShownFrames(grid, markers[0][1])
    for label, at in markers[1:]:
        said = read_label(label)
        if said is not None and said.frame is not None:
            shown.mark(said.frame, at)
    return shown.until(until)


def assert_decoded_as_shown(
    grid: Grid,
    painted: list[tuple[float, np.ndarray]],
    markers: list[tuple[str, float]],
    period: float,
) -> None:
    """Compare what stood on the screen at each moment with what the markers say."""
    states, flips = decoded(grid, markers, painted[-1][0] + period / 2)
    at = np.array([flip for flip, _ in painted])
    for stamp, state in painted[:-4]:  # what came late at the very end has no marker yet
        middle = stamp + period / 2  # every frame stands at least so long
        which = int(np.searchsorted(flips, middle)) - 1
        assert (states[which] == state).all(), f"another code at {stamp - at[0]:.4f} s"
    changed = [
        0,
        *(k for k in range(1, len(painted)) if (painted[k][1] != painted[k - 1][1]).any()),
    ]
    for k in changed:
        assert np.abs(flips - at[k]).min() < 0.3 / grid.frame_rate, (
            "a change is decoded at another frame"
        )


@settings(max_examples=12)
@given(
    st.sampled_from((59.94, 60.0, 75.0, 119.88, 144.0)),
    st.sampled_from((0.0, 0.02, 0.2)),
    st.integers(0, 999),
)
def test_codes_shown_are_the_codes_decoded_to_the_frame(hz: float, drops: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    markers: list[tuple[str, float]] = []
    frames, clock = frames_of(markers, hz=round(hz)), FrameClock(round(hz))
    painted: list[tuple[float, np.ndarray]] = []
    frames.begin_look(3)
    refresh = 0
    while frames.look < 0 or frames.stage is not Stage.FLICKER or len(painted) < 300:
        frame = frames.advance(clock.index + 1)
        refresh += 1 + int(rng.random() < drops) + int(rng.random() < drops / 4)
        stamp = 50.0 + refresh / hz + float(rng.uniform(0, 0.04)) / hz
        clock.flip(stamp)
        if frame.marker is not None:
            frames.stamped(frame.marker, stamp)
        if frames.states is not None:
            painted.append((stamp, frames.states.copy()))
    assert markers[0][0] == "look 0 frame 0 cue 3"
    assert_decoded_as_shown(frames.grid, painted, markers, 1 / hz)
    if not drops:
        assert len(markers) == 1 + (len(painted) - 1) // (126 * frames.hold), "one a cycle"


def test_pictures_that_flash_in_turn_are_decoded_as_shown() -> None:
    rng = np.random.default_rng(0)
    markers: list[tuple[str, float]] = []
    frames = frames_of(markers, kind="flash")
    assert frames.grid.frame_rate * frames.hold == 60.0
    painted: list[tuple[float, np.ndarray]] = []
    frames.begin_look(3)
    refresh = 0
    for index in range(600):
        frame = frames.advance(index)
        refresh += 1 + int(rng.random() < 0.02)
        if frame.marker is not None:
            frames.stamped(frame.marker, 50.0 + refresh / 60)
        if frames.states is not None:
            painted.append((50.0 + refresh / 60, frames.states.copy()))
    assert {int(state.sum()) for _, state in painted} == {1}
    states, flips = decoded(frames.grid, markers, painted[-1][0])
    for at, state in painted[:-10]:
        assert (states[np.searchsorted(flips, at + 0.008) - 1] == state).all()
    assert 1 < len(markers) < 20, "what came late is told, and no more"


def test_a_look_has_its_cue_its_flicker_and_its_rest() -> None:
    markers: list[tuple[str, float]] = []
    frames = frames_of(markers)
    assert frames.wants_look
    frames.begin_look(None)
    stages = []
    for index in range(400):
        frame = frames.advance(index)
        if frame.marker is not None:
            frames.stamped(frame.marker, index / 60)
        stages.append(frames.stage)
        if index == 200:
            frames.end_look()
        if index == 210:
            frames.begin_look(None)
    assert stages.count(Stage.FLICKER) >= 140
    assert stages[: round(60 * CUE_SECONDS)] == [Stage.CUE] * 60
    rest = stages.index(Stage.REST)
    assert rest == 201
    assert stages[rest + round(60 * REST_SECONDS)] is Stage.CUE
    labels = [label for label, _ in markers]
    assert labels[:2] == ["look 0 frame 0", "look 0 frame 126"]
    assert "look 0 end" in labels
    assert "look 1 frame 0" in labels


@pytest.mark.parametrize("n", [6, 7, 20, 36, 64])
@pytest.mark.parametrize("size", [(1920, 1080), (800, 480), (600, 1000)])
def test_pictures_stand_apart_inside_the_screen(n: int, size: tuple[int, int]) -> None:
    found = place(n, *size, kept=60, pixels_per_cm=38, distance_cm=60)
    assert len(found.boxes) == n
    boxes = np.array([(b.x, b.y, b.side) for b in found.boxes])
    assert (boxes[:, 0] >= 0).all()
    assert (boxes[:, 1] >= 60).all()
    assert (boxes[:, 0] + boxes[:, 2] <= size[0]).all()
    assert (boxes[:, 1] + boxes[:, 2] <= size[1] - 60).all()
    for a in range(n):
        gap = np.abs(boxes[:, :2] - boxes[a, :2]).max(axis=1) - boxes[a, 2]
        assert (np.delete(gap, a) > 0.2 * boxes[a, 2]).all()
    assert found.degrees is not None
    assert found.degrees <= LARGEST + 0.01
    far = place(n, *size, pixels_per_cm=38, distance_cm=400)
    assert (far.degrees or 9) >= SMALLEST or "sit closer" in far.advice


def test_light_is_limited_and_goes_by_contrast() -> None:
    with pytest.raises(ValueError, match="contrast"):
        Flicker(contrast=0.95)
    with pytest.raises(ValueError, match="luminance"):
        Flicker(luminance=1.0)
    light = Flicker(contrast=0.6, luminance=0.7)
    assert (light.bright - light.dim) / (light.bright + light.dim) == pytest.approx(0.6)
    white = np.full((2, 2, 3), 255, dtype=np.uint8)
    assert dimmed(white, 1.0).max() == 255
    assert dimmed(white, 0.2140)[0, 0, 0] == pytest.approx(127.5, abs=1)  # sRGB's middle


# The warning


def test_nothing_flickers_without_an_answer() -> None:
    for accepts, understood in ((None, True), (False, True), (True, False), (None, False)):
        model = WarningModel()
        model.accepts, model.has_understood = accepts, understood
        with pytest.raises(WarningNotAnsweredError):
            model.accept()
    with pytest.raises(WarningNotAnsweredError):
        Answered("2026-01-01T00:00:00+00:00", object())
    grid = grid_for(LABELS, 60.0)
    with pytest.raises(TypeError, match="answer the warning"):
        GridFrames(grid, hold=1, push=lambda *_: None, answered=None)  # type: ignore[arg-type]


def test_the_warning_cannot_be_skipped_by_accident(qtbot: QtBot) -> None:
    page = WarningPage()
    qtbot.addWidget(page)
    page.show()
    found: list[object] = []
    page.answered.connect(found.append)
    assert not page.accept.isChecked()
    assert not page.refuse.isChecked()
    assert not page.understood.isChecked()
    for _ in range(3):
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            qtbot.keyClick(page, key)
    for widget in (page.begin, page.accept, page.understood, page.leave):
        qtbot.keyClick(widget, Qt.Key.Key_Return)
    qtbot.mouseClick(page.begin, Qt.MouseButton.LeftButton)
    page.begin.click()
    page.refuse.click()
    page.understood.click()
    page.begin.click()
    assert not found
    page.accept.click()
    assert not page.refuse.isChecked()
    page.begin.click()
    assert isinstance(found[0], Answered)
    page.reset()
    page.begin.click()
    assert len(found) == 1, "an answer holds for one session"
    with qtbot.waitSignal(page.refused):
        qtbot.keyClick(page, Qt.Key.Key_Escape)
    page.close()


# The window


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shown(qtbot: QtBot) -> Iterator[tuple[GridWindow, list[tuple[str, float]], Clock]]:
    markers: list[tuple[str, float]] = []
    clock = Clock()
    white = np.full((8, 8, 3), 255, dtype=np.uint8)
    window = GridWindow([white] * N, LABELS, frames_of(markers), clock=clock, surface="raster")
    qtbot.addWidget(window)
    window.show()
    yield window, markers, clock
    window.close()


def lights(window: GridWindow) -> list[int]:
    """Light of each picture's middle as it stands in the window."""
    assert window.places is not None
    image = window.grab().toImage()
    ratio = image.width() / window.width()
    middles = [(b.x + b.side // 2, b.y + b.side // 2) for b in window.places.boxes]
    return [image.pixelColor(round(x * ratio), round(y * ratio)).red() for x, y in middles]


def test_the_window_paints_the_codes_and_esc_stops_in_the_same_frame(
    shown: tuple[GridWindow, list[tuple[str, float]], Clock], qtbot: QtBot
) -> None:
    window, markers, clock = shown
    frames = window.grid_frames
    window.grab()
    calm = lights(window)
    assert len(set(calm)) == 1
    frames.begin_look(2)
    painted: list[tuple[float, np.ndarray]] = []
    for n in range(120):
        clock.now += (2 if n % 50 == 49 else 1) / 60
        window._step()
        if frames.states is not None:
            painted.append((clock.now, frames.states.copy()))
            if len(painted) % 10 == 1:
                seen = np.array(lights(window)) > calm[0]
                assert (seen == frames.states.astype(bool)).all()
    assert window.figures.n_dropped == 2
    assert_decoded_as_shown(frames.grid, painted, markers, 1 / 60)
    clock.now += 0.001
    at = clock.now
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert frames.states is None
    assert markers[-1] == ("look 0 end", at)
    assert not window.isVisible()
    frames.begin_look(1)
    window.show()
    for _ in range(90):
        clock.now += 1 / 60
        window._step()
    assert frames.states is None, "it went on after Esc"


def test_the_answer_and_the_growing_picture_stand_beside_the_grid(
    shown: tuple[GridWindow, list[tuple[str, float]], Clock],
) -> None:
    window, _, _ = shown
    window.grab()
    before = window.grab().toImage()
    window.grow(np.full((8, 8, 3), (255, 0, 0), dtype=np.uint8), "cat", "2.1 s")
    window.mark(4)
    after = window.grab().toImage()
    assert after.pixelColor(round(0.86 * after.width()), after.height() // 2).red() > 200
    assert before.pixelColor(round(0.86 * after.width()), after.height() // 2).red() < 200
    assert before != after
    assert window.chosen == 4


def test_what_a_real_timer_shows_is_what_is_decoded(qtbot: QtBot) -> None:
    markers: list[tuple[str, float]] = []
    painted: list[tuple[float, np.ndarray]] = []
    frames = GridFrames(
        grid_for(LABELS, 60.0),
        hold=1,
        push=lambda label, at: markers.append((label, at)),
        answered=answered(),
        shown=lambda at, states: None if states is None else painted.append((at, states.copy())),
    )
    pixels = [np.zeros((8, 8, 3), dtype=np.uint8)] * N
    window = GridWindow(pixels, LABELS, frames, clock=time.perf_counter, surface="raster")
    qtbot.addWidget(window)
    window.resize(200, 150)
    window.show()
    assert window.refresh_hz == pytest.approx(60.0)
    frames.begin_look(1)
    qtbot.waitUntil(lambda: len(painted) > 60)
    window.close()
    # Whatever the machine's load: late frames, long ones, never one that stands for a moment only.
    assert np.diff([at for at, _ in painted]).min() > 0.6 / 60
    assert_decoded_as_shown(frames.grid, painted, markers[:-1], 0.6 / 60)
