"""The window's promises on time and memory, at the size of a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.benchmarks.gui_live import run_gui_start_bench
from app.benchmarks.gui_soak import run_gui_soak_bench
from app.view_models.sources.model import SourceChoice
from app.views.window.main_window import MainWindow
from configs import SessionConfig, StimuliConfig
from tests.app.fake_session import FakeFactory, FakeSession

ROOT = Path(__file__).resolve().parents[2]


def test_the_window_stands_without_torch_scipy_and_lsl() -> None:
    code = (
        "import sys\n"
        "from app.runtime.factory import RuntimeFactory\n"
        "from app.views.window.main_window import MainWindow\n"
        "heavy = ('torch', 'diffusers', 'scipy', 'pylsl', 'mne', 'pyqtgraph')\n"
        "sys.exit(' '.join(name for name in heavy if name in sys.modules) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_start_is_measured_up_to_the_first_paint() -> None:
    result = run_gui_start_bench(n_starts=1)
    assert result["torch_imported"] is False
    (row,) = result["rows"]
    assert 0 < row["ours"] < 60


def test_a_window_that_is_shown_again_draws_the_newest_sample_at_once(qtbot: QtBot) -> None:
    window = MainWindow(FakeFactory(), SessionConfig(stimuli=StimuliConfig(enabled=True)))
    qtbot.addWidget(window)
    window._timer.stop()
    window.show()
    window.session.open(SourceChoice())

    def runs() -> bool:
        window.tick()
        return window.session.traces.info is not None

    qtbot.waitUntil(runs)
    session = window.session.port
    assert isinstance(session, FakeSession)
    window.hide()
    before = window.session.traces.next_sample
    session.now += 5.0
    window.show()
    window._timer.stop()
    block = session.traces(window.session.traces.next_sample, 1 << 30)
    assert block is None or not block.data.shape[1]
    assert window.session.traces.next_sample >= before + 5 * session.sfreq
    window.close()
    window.shut_down()


@pytest.mark.slow
@pytest.mark.usefixtures("qapp")
def test_hours_in_the_window_are_measured_in_minutes() -> None:
    result = run_gui_soak_bench(minutes=0.1)
    assert result["pictures"] >= 3
    memory, warnings = result["rows"]
    assert memory["ours"] < 200
    assert warnings["ours"] == 0, result["qt_messages"]
