"""Notes, sessions of before, and closing while one runs, in the window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from app.port import Phase
from app.runtime.factory import RuntimeFactory
from app.view_models.session.past_sessions import PastSession
from app.view_models.settings.preferences import Preferences, PreferencesStore
from app.views.signals.signal_panel import TABS
from app.views.window.main_window import MainWindow
from configs import load_preset
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_recovery import crashed
from tests.app.test_views import STIMULI, run_demo, session_of

Make = Callable[..., MainWindow]


@pytest.fixture
def make(qtbot: QtBot) -> Iterator[Make]:
    made: list[MainWindow] = []

    def make(**options: object) -> MainWindow:
        window = MainWindow(FakeFactory(template=FakeSession()), STIMULI, **options)  # type: ignore[arg-type]
        qtbot.addWidget(window)
        window.show()
        made.append(window)
        return window

    yield make
    for window in made:
        window.end()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that the desktop was asked to open."""
    urls: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: urls.append(url.toLocalFile()))
    return urls


def test_notes_are_saved_with_their_session_and_not_with_the_next(make: Make, qtbot: QtBot) -> None:
    window = make()
    session = run_demo(window, qtbot, 3.0)
    window.signals.open(TABS.index("Notes"))
    QApplication.processEvents()
    qtbot.keyClicks(window.signals.notes, "electrode T7 dried out M 1")
    assert not session.manual, "typing is no marker"
    window.session.save_notes()
    assert session.notes == "electrode T7 dried out M 1"
    qtbot.keyClicks(window.signals.notes, "!")
    window.toggle()
    qtbot.waitUntil(lambda: not window.session.active)
    assert session.notes.endswith("!")
    window.start()
    qtbot.waitUntil(lambda: session_of(window) is not session)
    window._show_texts()
    assert window.signals.notes.toPlainText() == ""
    assert session_of(window).notes == ""


def test_a_crashed_session_is_offered_at_the_next_start(
    make: Make, qtbot: QtBot, tmp_path: Path, opened: list[str]
) -> None:
    folder = crashed(tmp_path / "sessions" / "20260101-120000")
    window = make(sessions_root=tmp_path / "sessions")
    qtbot.waitUntil(window.welcome.recent.isVisible)
    assert "without being finished" in window.banner.text.text()
    (row,) = window.welcome.recent.rows
    assert row.report.text() == "Build report"
    qtbot.mouseClick(row.folder, Qt.MouseButton.LeftButton)
    assert opened == [str(folder)]
    qtbot.mouseClick(row.report, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(window.banner.report.isVisible)
    assert (folder / "report.html").is_file()
    qtbot.keyClick(window, Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
    assert opened[-1] == str(folder / "report.html")
    (row,) = window.welcome.recent.rows
    assert row.report.text() == "Open report"
    qtbot.mouseClick(row.report, Qt.MouseButton.LeftButton)
    assert opened[-1] == str(folder / "report.html")


def test_recent_folders_are_kept(make: Make, tmp_path: Path) -> None:
    store = QSettings(str(tmp_path / "kept.ini"), QSettings.Format.IniFormat)
    window = make(settings=store)
    window.past.remember(tmp_path / "one")
    window.past.remember(tmp_path / "two")
    window.close()
    assert make(settings=store).past.extra == [tmp_path / "two", tmp_path / "one"]


def test_a_finished_session_is_listed(make: Make, qtbot: QtBot, tmp_path: Path) -> None:
    window = make()
    session = run_demo(window, qtbot, 2.0)
    session.out = tmp_path
    (tmp_path / "events.jsonl").touch()
    window.toggle()
    qtbot.waitUntil(lambda: bool(window.past.sessions))
    assert window.past.sessions == [
        PastSession(tmp_path, (tmp_path / "events.jsonl").stat().st_mtime)
    ]


@pytest.mark.parametrize("answer", ["Keep running", "Stop and close"])
def test_closing_while_a_session_runs_asks_first(make: Make, qtbot: QtBot, answer: str) -> None:
    window = make(preferences=PreferencesStore(None))
    run_demo(window, qtbot, 2.0)

    def reply() -> None:
        box = QApplication.activeModalWidget()
        assert isinstance(box, QMessageBox)
        assert box.defaultButton().text() == "Keep running"
        button = next(b for b in box.buttons() if b.text() == answer)
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    QTimer.singleShot(0, reply)
    closed = window.close()
    window._quiet = True  # before anything can fail: pytest-qt closes windows, too
    assert closed is (answer == "Stop and close")
    assert window.isVisible() is not closed


def answer(qtbot: QtBot, text: str, default: str) -> None:
    """Answer the next question with the button `text`; Enter would have been `default`."""

    def reply() -> None:
        box = QApplication.activeModalWidget()
        assert isinstance(box, QMessageBox)
        try:
            assert box.defaultButton().text() == default
            assert box.escapeButton().text() == default
        finally:
            button = next(b for b in box.buttons() if b.text() == text)
            qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    QTimer.singleShot(0, reply)


@pytest.mark.parametrize("key", [Qt.Key.Key_Space, Qt.Key.Key_R])
def test_ending_a_recording_asks_first(make: Make, qtbot: QtBot, key: Qt.Key) -> None:
    window = make(preferences=PreferencesStore(None, Preferences(open_report=False)))
    session = run_demo(window, qtbot, 2.0)
    do = "Stop and save" if key is Qt.Key.Key_Space else "End the recording"
    answer(qtbot, "Keep recording", "Keep recording")
    qtbot.keyClick(window, key)
    assert session.recording
    assert window.session.phase is Phase.RUNNING
    assert not session.stopped
    answer(qtbot, do, "Keep recording")
    qtbot.keyClick(window, key)
    if key is Qt.Key.Key_R:
        assert not session.recording
        window.tick()
        qtbot.keyClick(window, Qt.Key.Key_Space)  # nothing is recorded: nothing is asked
    qtbot.waitUntil(lambda: session.stopped == 1)
    window.preferences.change(confirm=False)


def test_a_report_opens_by_itself_unless_that_is_switched_off(
    make: Make, qtbot: QtBot, tmp_path: Path, opened: list[str]
) -> None:
    (tmp_path / "report.html").write_text("<html></html>", encoding="utf-8")
    for wanted in (True, False):
        liked = Preferences(open_report=wanted, confirm=False)
        window = make(preferences=PreferencesStore(None, liked))
        session = run_demo(window, qtbot, 2.0)
        session.out = tmp_path
        window.toggle()
        qtbot.waitUntil(window.banner.report.isVisible)
        assert opened == ([str(tmp_path / "report.html")] if wanted else [])
        window.end()
        opened.clear()


def test_a_session_is_moved_to_the_trash_after_a_question(
    make: Make, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folders = []
    for name in ("one", "two"):
        folders.append(tmp_path / "sessions" / name)
        folders[-1].mkdir(parents=True)
        (folders[-1] / "events.jsonl").touch()
        (folders[-1] / "summary.json").write_text("{}", encoding="utf-8")
    window = make(sessions_root=tmp_path / "sessions")
    recent = window.welcome.recent
    qtbot.waitUntil(lambda: len(recent.rows) == 2)
    row = next(row for row in recent.rows if row.session.path == folders[0])
    answer(qtbot, "Keep it", "Keep it")
    qtbot.mouseClick(row.delete, Qt.MouseButton.LeftButton)
    assert folders[0].is_dir()
    answer(qtbot, "Move to trash", "Keep it")
    qtbot.mouseClick(row.delete, Qt.MouseButton.LeftButton)
    assert not folders[0].exists(), window.banner.text.text()
    assert [row.session.path for row in recent.rows] == [folders[1]]
    assert list((tmp_path / "data").rglob("events.jsonl")), "it can be taken back"
    folders[1].rename(tmp_path / "elsewhere")
    answer(qtbot, "Move to trash", "Keep it")
    qtbot.mouseClick(recent.rows[0].delete, Qt.MouseButton.LeftButton)
    assert "could not be moved" in window.banner.text.text()


def test_closing_an_idle_window_asks_nothing(make: Make) -> None:
    window = make(preferences=PreferencesStore(None))
    assert window.close()


def test_sessions_are_looked_for_where_they_are_kept(
    make: Make, qtbot: QtBot, tmp_path: Path
) -> None:
    for place in ("here", "there"):
        folder = tmp_path / place / "20260101-120000"
        folder.mkdir(parents=True)
        (folder / "events.jsonl").touch()
        (folder / "summary.json").write_text("{}", encoding="utf-8")
    liked = PreferencesStore(None, Preferences(sessions_folder=str(tmp_path / "here")))
    window = make(preferences=liked, sessions_root=tmp_path / "here")
    qtbot.waitUntil(lambda: bool(window.past.sessions))
    assert [s.path.parent.name for s in window.past.sessions] == ["here"]
    window.past.look_in(tmp_path / "there")
    qtbot.waitUntil(lambda: [s.path.parent.name for s in window.past.sessions] == ["there"])


def test_the_runtime_makes_folders_where_it_is_told(tmp_path: Path) -> None:
    factory = RuntimeFactory(out=tmp_path / "first")
    factory.keep_in(tmp_path / "eeg")
    assert factory._take_out() == tmp_path / "first"
    assert factory._take_out() is None
    session = factory.demo(load_preset("demo"))
    assert session.out.parent == tmp_path / "eeg"
    session.stop()
