"""A signal ends the window at once: also while it asks something, and without asking anybody."""

from __future__ import annotations

import signal
import sys

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMessageBox

from app.commands import gui
from app.ending import caught
from app.port import Phase
from app.views.window.main_window import MainWindow
from configs import SessionConfig
from tests.app.fake_session import FakeFactory, FakeSession


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.usefixtures("qtbot")
def test_a_signal_ends_a_window_that_waits_for_an_answer(name: str) -> None:
    factory = FakeFactory(template=FakeSession(length=6.0))
    questions: list[str] = []
    # Two, since Qt fires none anew whose call has not returned.
    close, send = QTimer(), QTimer()

    def close_by_hand() -> None:
        shown = [w for w in QApplication.topLevelWidgets() if w.isVisible()]
        for window in [w for w in shown if isinstance(w, MainWindow)]:
            if window.session.phase is Phase.RUNNING:
                close.stop()
                window.close()

    def send_signal() -> None:
        if QApplication.activeModalWidget() is not None:
            send.stop()
            questions.append("asked")
            signal.raise_signal(signal.Signals[name])
            signal.raise_signal(signal.SIGINT)

    close.timeout.connect(close_by_hand)
    send.timeout.connect(send_signal)
    close.start(20)
    send.start(20)
    with caught(for_good=False):
        code = gui.run_window(factory, SessionConfig(), autostart_demo=True)
    assert code == 128 + signal.Signals[name]
    assert questions == ["asked"]
    assert factory.session is not None
    assert (factory.session.stopped, factory.session.phase) == (1, Phase.STOPPED)
    shown = [w for w in QApplication.topLevelWidgets() if w.isVisible()]
    assert not [w for w in shown if isinstance(w, MainWindow | QMessageBox)]
