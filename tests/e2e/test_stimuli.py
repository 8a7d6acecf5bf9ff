"""The stimulus window on a real screen: what stands there, when it is stamped, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.screen import Screen, missing_parts, screen, until
from tests.e2e.stimulus_program import TIMING
from tests.waiting import PATIENCE, starved

pytestmark = pytest.mark.skipif(
    bool(missing_parts()),
    reason=f"not installed: {' '.join(missing_parts())}; .ci/run lists the packages",
)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@pytest.fixture
def display(tmp_path: Path) -> Iterator[Screen]:
    with screen(tmp_path) as display:
        yield display


@contextmanager
def program(display: Screen, surface: str) -> Iterator[subprocess.Popen[str]]:
    """Run the stimulus window on `display`."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.stimulus_program", surface],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | display.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def corner(display: Screen) -> tuple[int, ...]:
    """Colour of the photodiode's square."""
    return tuple(int(value) for value in display.pixels()[30, 30])


def said_by(running: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = running.communicate(timeout=PATIENCE)
    said: dict[str, Any] = json.loads(out.splitlines()[-1])
    return said


@pytest.mark.parametrize("surface", ["raster", "gl"])
def test_pictures_stand_on_the_screen_for_whole_frames_and_are_stamped(
    display: Screen, surface: str
) -> None:
    before_it = starved()
    with program(display, surface) as running:
        for colour in (WHITE, BLACK, WHITE):
            until(lambda: corner(display) == colour, f"a square of {colour}")  # noqa: B023
        said = said_by(running)
    assert said["complete"]
    assert [label for label, _ in said["stamps"]] == said["planned"]
    planned = (TIMING.fixation + TIMING.stimulus + TIMING.blank) / 60
    # A frame may be dropped and stretch a step; a stamp may be late and shorten the next distance.
    # How late is the promise of a machine that has a processor for us.
    late = 0.1 + starved() - before_it
    for (_, before), (_, after) in pairwise(said["stamps"]):
        assert after - before > planned - late
    # No graphics card here: a window that called this locked to the screen would lie.
    assert not said["figures"]["locked"]
    assert "timer" in said["figures"]["method"]


def test_escape_ends_the_presentation(display: Screen) -> None:
    with program(display, "raster") as running:
        until(lambda: display.focus("stimuli"), "the window")
        until(lambda: corner(display) == WHITE, "the first picture")
        display.press("Escape")
        said = said_by(running)
    assert not said["complete"]
    assert 1 <= len(said["stamps"]) < len(said["planned"])
