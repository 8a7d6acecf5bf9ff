"""`phosphene bench gui-start` and `gui-live`: the window as a person has it.

Owns two measurements. `gui-start` runs `phosphene gui` in a fresh process up to its first paint.
`gui-live` opens the window on a real session, virtual headset and decoder process included, lets
the sampler keep every core busy, and takes the time between paints; then it hides the window,
shows it again and looks how old the newest sample is that the first paint draws.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from app.port import Phase
from configs import SessionConfig

if TYPE_CHECKING:
    from app.views.window.main_window import MainWindow

START_GOAL = 2.0
"""Longest start to a painted window, s."""
GAP_GOAL = 100.0
"""Longest time between two paints, ms."""
HIDDEN_SECONDS = 5.0
BUSY_STEPS = 40
"""Steps of the sampler that keep it at work without a pause."""
START_TIMEOUT = 120.0
"""Longest wait for the first picture, s."""

_CHILD = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from app.views.window.main_window import MainWindow

painted = MainWindow.paintEvent


def paint(self, event):
    painted(self, event)
    MainWindow.paintEvent = painted
    QTimer.singleShot(0, say)


def say():
    print("torch" if "torch" in sys.modules else "painted", flush=True)
    QApplication.instance().quit()


MainWindow.paintEvent = paint
from app.cli import main
sys.exit(main(["gui"]))
"""


def run_gui_start_bench(*, n_starts: int = 5) -> dict[str, Any]:
    """Start `phosphene gui` again and again; seconds to the first paint."""
    seconds = []
    before = os.times()
    with tempfile.TemporaryDirectory(prefix="phosphene-gui-") as folder:
        environment = os.environ | {"XDG_CONFIG_HOME": folder}
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            environment["QT_QPA_PLATFORM"] = "offscreen"
        for _ in range(n_starts):
            seconds.append(_seconds_to_paint(folder, environment))
    after = os.times()
    cpu = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return {
        # Of the child up to its end, which follows the first paint: free of the machine's load.
        "cpu_seconds_mean": round(cpu / n_starts, 2),
        "seconds_min_median_max": [
            round(min(seconds), 2),
            round(median(seconds), 2),
            round(max(seconds), 2),
        ],
        "torch_imported": False,
        "rows": [
            {
                "what": "seconds from the command to the first paint (median)",
                "ours": round(median(seconds), 2),
                "goal": START_GOAL,
                "met": median(seconds) <= START_GOAL,
            }
        ],
    }


def _seconds_to_paint(folder: str, environment: dict[str, str]) -> float:
    from app.errors import AppError

    before = perf_counter()
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        said = child.stdout.readline().strip() if child.stdout is not None else ""
        seconds = perf_counter() - before
    if said != "painted":
        raise AppError(f"the window said {said!r} at its first paint, expected `painted`.")
    return seconds


def run_gui_live_bench(*, minutes: float = 1.0) -> dict[str, Any]:
    """Run a session in the window while the sampler is at work all the time.

    Parameters
    ----------
    minutes : float
        How long paints are timed.
    """
    from app.benchmarks.gui import _application
    from app.benchmarks.live import own_lsl

    own_lsl()
    _app = _application()  # kept: Qt ends with its last reference
    from app.runtime.factory import RuntimeFactory
    from app.views.window.main_window import FRAME_MS, MainWindow

    with tempfile.TemporaryDirectory(prefix="phosphene-gui-") as folder:
        out = Path(folder) / "session"
        window = MainWindow(RuntimeFactory(out=out), _busy_config())
        window.show()
        window.start_demo()
        try:
            _wait_for_picture(window)
            figures = _watch_paints(window, 60 * minutes)
            age = _age_after_hiding(window)
            snapshot = window.session.snapshot
        finally:
            window.close()
            window.shut_down(30.0)
    stages = dict(snapshot.stages)
    return {
        "seconds": round(60 * minutes, 1),
        "channels": len(snapshot.info.ch_names) if snapshot.info else 0,
        "outcomes": dict(snapshot.outcomes),
        "sample_ms_p50": stages["sample"][0] if "sample" in stages else None,
        **figures,
        "frame_ms": FRAME_MS,
        "rows": [
            {
                "what": "worst gap between paints, sampler on every core, ms",
                "ours": figures["gap_ms_max"],
                "goal": GAP_GOAL,
                "met": figures["gap_ms_max"] <= GAP_GOAL,
            },
            {
                "what": f"newest sample not drawn at the first paint after {HIDDEN_SECONDS:g} s "
                "hidden, ms",
                "ours": age,
                "goal": FRAME_MS,
                "met": age <= FRAME_MS,
            },
        ],
    }


def _busy_config() -> SessionConfig:
    """Return the demo with a sampler that never rests, on as many threads as there are cores."""
    from configs import load_preset

    config = load_preset("demo")
    decoder = {"threads": os.cpu_count() or 1, "num_inference_steps": BUSY_STEPS, "queue_size": 2}
    stimuli = {"soa": 0.6, "duration": 0.3, "jitter": 0.0}
    return config.model_copy(
        update={
            "decoder": config.decoder.model_copy(update=decoder),
            "stimuli": config.stimuli.model_copy(update=stimuli),
        }
    )


def _wait_for_picture(window: MainWindow) -> None:
    from app.errors import AppError

    end = perf_counter() + START_TIMEOUT
    while not window.session.snapshot.outcomes.get("decoded"):
        run_loop(0.1)
        if window.session.phase is Phase.FAILED or perf_counter() > end:
            raise AppError(
                f"the session gave no picture within {START_TIMEOUT:g} s "
                f"({window.session.snapshot.message or window.session.error})."
            )


def run_loop(seconds: float) -> None:
    """Let Qt work for so long."""
    from PySide6.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


def _watch_paints(window: MainWindow, seconds: float) -> dict[str, Any]:
    """Time the paints of the traces, and what they and all else cost this thread."""
    from PySide6.QtCore import QEvent, QObject

    times: list[float] = []

    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  Qt's name
            """Note the time of a paint; let it pass."""
            _ = watched
            if event.type() == QEvent.Type.Paint:
                times.append(perf_counter())
            return False

    watch = Watch()
    traces = window.work.trace_panel.traces
    traces.installEventFilter(watch)
    thread, process, began = time.thread_time(), time.process_time(), perf_counter()
    run_loop(seconds)
    took = perf_counter() - began
    traces.removeEventFilter(watch)
    gaps = sorted(
        1000 * (after - before)
        for before, after in zip([began, *times], [*times, perf_counter()], strict=True)
    )
    return {
        "paints": len(times),
        "gap_ms_p50": round(median(gaps), 1),
        "gap_ms_p99": round(gaps[int(0.99 * len(gaps))], 1),
        "gap_ms_max": round(gaps[-1], 1),
        "gui_thread_cpu": round((time.thread_time() - thread) / took, 3),
        "process_cpu": round((time.process_time() - process) / took, 3),
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def _age_after_hiding(window: MainWindow) -> float:
    """Hide, wait, show: how much newer than the last drawn sample the session's newest is, ms."""
    from PySide6.QtCore import QEvent, QObject

    session = window.session
    found: list[float] = []

    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  Qt's name
            """At the first paint compare what is drawn with what there is."""
            _ = watched
            if event.type() == QEvent.Type.Paint and not found and session.port is not None:
                block = session.port.traces(session.traces.next_sample, 1 << 30)
                info = session.snapshot.info
                n_waiting = 0 if block is None else block.data.shape[1]
                found.append(1000 * n_waiting / (info.sfreq if info is not None else 1.0))
            return False

    watch = Watch()
    traces = window.work.trace_panel.traces
    window.hide()
    run_loop(HIDDEN_SECONDS)
    traces.installEventFilter(watch)
    window.show()
    run_loop(1.0)
    traces.removeEventFilter(watch)
    return round(found[0], 1) if found else float("inf")
