"""Nothing is shown before somebody sees it: the window opens, counts down, and then begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pytestqt.qtbot import QtBot

from app.runtime.session import Session
from app.runtime.stimuli import Presenter
from app.views.stimuli.leading import COUNTDOWN, Leading
from app.views.stimuli.window import StimulusWindow
from configs import SessionConfig


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_window_opens_counts_down_and_then_the_pictures_begin(qtbot: QtBot) -> None:
    window = StimulusWindow(lambda _label: np.zeros((8, 8, 3), np.uint8), surface="raster")
    qtbot.addWidget(window)
    clock, said, waiting = Clock(), list[bool](), [None]
    leading = Leading(window, waiting=lambda: waiting[0], seen=said.append, clock=clock)
    leading.poll()
    assert not window.isVisible()
    waiting[0] = object()  # type: ignore[call-overload]
    leading.poll()
    assert window.isVisible()
    assert window.isFullScreen()
    assert "begin in 5" in window.words
    clock.now += COUNTDOWN - 0.5
    leading.poll()
    assert "begin in 1" in window.words
    assert said == []
    clock.now += 1
    leading.poll()
    leading.poll()
    assert (window.words, said) == ("", [True])
    # Closed by the person: the pictures rest, and come back with a countdown.
    window.close()
    leading.poll()
    leading.poll()
    assert said == [True, False]
    window.show()
    leading.poll()
    assert "begin in 5" in window.words
    clock.now += COUNTDOWN + 1
    leading.poll()
    assert said == [True, False, True]
    waiting[0] = None
    leading.poll()
    assert said == [True, False, True]


def test_a_session_for_a_person_waits_until_it_is_seen(tmp_path: Path) -> None:
    def make() -> Presenter:
        raise AssertionError("nobody looks")

    options = {"open_source": lambda _stop: None, "clock": Clock(), "make_presenter": make}
    session = Session(SessionConfig(), out=tmp_path / "s", needs_viewer=True, **options)
    assert session.snapshot().awaits_viewer
    assert session._show is not None
    assert not session._show._may_present()
    session.set_seen(True)
    assert session._show._may_present()
    assert not session.snapshot().awaits_viewer
    session.set_seen(False)
    assert session.snapshot().awaits_viewer
    session.stop()
    headless = Session(SessionConfig(), out=tmp_path / "h", **options)
    assert not headless.snapshot().awaits_viewer
    headless.stop()
