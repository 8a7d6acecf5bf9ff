"""What the window shows while nothing streams, and the question about a session in doubt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.port import Phase
from app.runtime.lock import LOCK, this_process
from app.views.session.recent_view import IN_DOUBT
from app.views.window.main_window import MainWindow
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_recovery import crashed
from tests.app.test_view_sessions import answer
from tests.app.test_views import STIMULI, run_demo, session_of

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    window = MainWindow(
        FakeFactory(template=FakeSession()), STIMULI, sessions_root=tmp_path / "sessions"
    )
    qtbot.addWidget(window)
    window.show()
    yield window
    window.end()


def test_a_lost_stream_takes_the_picture_away_and_is_said(window: MainWindow, qtbot: QtBot) -> None:
    session = run_demo(window, qtbot, 8.0)
    panel, banner = window.picture_panel, window.banner
    assert panel.decoded.has_picture or panel.shown is not None
    old = panel.shown
    assert banner.isHidden()

    session.silent_for = 12.0
    window.tick()
    window._show_texts()
    assert panel.shown is None
    assert not panel.decoded.has_picture
    assert not panel.seen.has_picture
    assert panel.decoded._word == "no stream"
    assert panel.decoded_label.text() == "Decoded"
    assert panel.rank_note.text() == "no picture of now"
    assert not panel.save.isEnabled()
    assert window.status.phase.text() == "●  No stream"
    assert banner.isVisible()
    assert "No stream since " in banner.text.text()
    assert "(12 s)" in banner.text.text()
    assert "The stimuli are paused." in banner.text.text()

    session.silent_for = 13.0
    window.tick()
    window._show_texts()
    assert "(13 s)" in banner.text.text()

    session.silent_for = None
    window.tick()
    window._show_texts()
    assert banner.isHidden()
    assert window.status.phase.text() == "●  Running"
    assert panel.shown is None, "the picture from before is not shown as one of now"
    session.now = 12.0
    window.tick()
    assert panel.shown is not None
    assert old is not None
    assert panel.shown.index > old.index


def test_a_banner_that_was_closed_stays_closed_and_an_end_is_said(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    session = run_demo(window, qtbot, 8.0)
    session.out = tmp_path
    session.silent_for = 2.0
    window.tick()
    window._show_texts()
    window.dismiss()
    session.silent_for = 5.0
    window._show_texts()
    assert window.banner.isHidden()
    session.silent_for = None
    window.tick()
    window._show_texts()
    session.silent_for = 1.0
    window.tick()
    window._show_texts()
    assert window.banner.isVisible()
    window.session.stop()
    qtbot.waitUntil(lambda: window.session.phase is Phase.STOPPED)
    window.tick()
    window._show_texts()
    assert "finished and saved" in window.banner.text.text()


@pytest.mark.parametrize("finish", [False, True])
def test_a_session_that_may_run_elsewhere_is_finished_after_a_question(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, finish: bool
) -> None:
    folder = crashed(tmp_path / "sessions" / "a")
    elsewhere = asdict(replace(this_process(), host="labpc"))
    (folder / LOCK).write_text(json.dumps(elsewhere))
    window.past.refresh()
    qtbot.waitUntil(lambda: bool(window.past.sessions))
    window.tick()
    assert not window.past.abandoned
    (row,) = window.welcome.recent.rows
    assert row.about._whole == IN_DOUBT
    assert row.report.text() == "Build report…"
    answer(qtbot, "It runs nowhere: finish it" if finish else "Leave it alone", "Leave it alone")
    row.report.click()
    if finish:
        qtbot.waitUntil((folder / "report.html").is_file)
        qtbot.waitUntil(lambda: not window.past.busy)
    assert (folder / LOCK).exists() is not finish
    assert (folder / "summary.json").exists() is finish


def press(qtbot: QtBot, window: MainWindow, text: str) -> str:
    """Press a button of the open question; return its words."""
    box = window.host_question.box
    assert box is not None
    words = box.text()
    qtbot.mouseClick(next(b for b in box.buttons() if b.text() == text), LEFT)
    assert window.host_question.box is None
    return words


def test_a_namesake_on_another_host_is_asked_about(window: MainWindow, qtbot: QtBot) -> None:
    """Yes takes it; Enter and Esc keep waiting."""
    session = run_demo(window, qtbot, 8.0)
    session.silent_for = 12.0
    session.foreign_hosts = ("labpc\x1b[2J", "other")
    window.tick()
    box = window.host_question.box
    assert box is not None
    assert box.defaultButton().text() == box.escapeButton().text() == "Keep waiting"
    eeg = window.session.snapshot.eeg
    assert eeg is not None
    words = press(qtbot, window, "Take the one on labpc?[2J")
    assert session.admitted == ["labpc\x1b[2J"]
    assert f"“{eeg.name}” on {eeg.hostname or 'this machine'} is lost." in words
    assert "Go on with the one on labpc?[2J?" in words


def test_keep_waiting_is_asked_once_a_host_and_session(window: MainWindow, qtbot: QtBot) -> None:
    session = run_demo(window, qtbot, 8.0)
    session.foreign_hosts = ("labpc",)
    window.tick()
    press(qtbot, window, "Keep waiting")
    window.tick()
    assert window.host_question.box is None
    assert session.admitted == []
    session.foreign_hosts = ("labpc", "third")
    window.tick()
    assert "the one on third?" in press(qtbot, window, "Keep waiting")
    # Another session asks anew, and the question goes with its reason.
    session.stop()
    window.tick()
    session = run_demo_again(window, qtbot)
    session.foreign_hosts = ("labpc",)
    window.tick()
    assert window.host_question.box is not None
    session.foreign_hosts = ()
    window.tick()
    assert window.host_question.box is None
    assert session.admitted == []


def run_demo_again(window: MainWindow, qtbot: QtBot) -> FakeSession:
    """Start the demo once more, from the page of the finished one."""
    window.start_demo()
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING)
    return session_of(window)


def test_the_window_says_for_as_long_as_eeg_leaves_the_machine(
    window: MainWindow, qtbot: QtBot
) -> None:
    session = run_demo(window, qtbot, 1.0)
    assert not window.status.away.isVisible()
    session.decoded_by = "https://studio.local:7447"
    window.tick()
    window._show_texts()
    assert window.status.away.isVisible()
    assert window.status.away.text() == "EEG leaves this machine: studio.local:7447"
    session.decoded_by = ""
    window.tick()
    window._show_texts()
    assert not window.status.away.isVisible()


def test_the_feed_s_address_is_seen_without_its_token_and_copied_with_it(
    window: MainWindow, qtbot: QtBot
) -> None:
    session = run_demo(window, qtbot, 1.0)
    assert not window.status.feed.isVisible()
    session.feed = "http://127.0.0.1:8765/?token=secret"
    window.tick()
    window._show_texts()
    assert window.status.feed.isVisible()
    assert window.status.feed.text() == "Pictures at 127.0.0.1:8765"
    assert "secret" not in window.status.feed.toolTip() + window.status.feed.accessibleName()
    window.status.feed.click()
    assert QApplication.clipboard().text() == session.feed
    assert window.status.feed.text() == "Address copied"
    session.stop()
    window.tick()
    window._show_texts()
    assert not window.status.feed.isVisible()
