"""`phosphene bench gui-soak`: hours of a session in the window, accelerated; memory must not grow.

Owns the measurement. The whole of a session runs, from the virtual brain to the files, but for the
decoder, which answers with a picture at once; nothing waits for the clock. The window polls and
paints at its own pace meanwhile, with every signal view opened in turn.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from app.benchmarks.idle import idle_decoder
from app.benchmarks.soak import memory_mb
from app.port import Phase
from app.source_options import NO_OPTIONS, SourceOptions
from configs import SessionConfig

if TYPE_CHECKING:
    from app.runtime.session import Session
    from app.views.window.main_window import MainWindow

HOURS = 8.0
WARM = 0.125
"""Part of the hours after which memory is first read: rings and tables are full by then."""
GOAL_MB = 20.0
VIEW_SECONDS = 5.0
"""How long each signal view stays open."""


def run_gui_soak_bench(*, minutes: float = 60 * HOURS, seed: int = 0) -> dict[str, Any]:
    """Run so many minutes of stream time; `rows` has the growth of memory.

    Parameters
    ----------
    minutes : float
        Stream time.
    seed : int
        Of the stimuli and the virtual brain.
    """
    from app.benchmarks.gui import _application

    _app = _application()  # kept: Qt ends with its last reference
    from PySide6.QtCore import qInstallMessageHandler

    from app.view_models.sources.model import SourceChoice
    from app.views.window.main_window import MainWindow

    messages: Counter[str] = Counter()
    first: list[float] = []

    def note(_kind: object, _context: object, message: str) -> None:
        if "propagateSizeHints" not in message:  # the offscreen plugin's own
            messages[message] += 1
            if not first:
                first.append(session.snapshot().duration / 3600)

    began = perf_counter()
    before = qInstallMessageHandler(note)
    with tempfile.TemporaryDirectory(prefix="phosphene-gui-") as folder:
        session = _session(Path(folder) / "session", 60 * minutes, seed)
        window = MainWindow(_Only(session), SessionConfig())
        window.show()
        window.session.open(SourceChoice())
        try:
            readings = _watch(window, session, 60 * minutes)
        finally:
            window.close()
            window.shut_down(60.0)
            qInstallMessageHandler(before)
    snapshot = window.session.snapshot
    # The last reading is taken after the end: it holds the report, which is built once, whole.
    *running, ended = readings
    warm = [mb for at, mb in running if at >= WARM * 60 * minutes]
    if not warm:  # a short one on a busy machine ends between two readings
        warm = [running[0][1], ended[1]]
    growth = warm[-1] - warm[0]
    return {
        "hours": round(snapshot.duration / 3600, 2),
        "took_s": round(perf_counter() - began, 1),
        "pictures": snapshot.outcomes.get("decoded", 0),
        "memory_mb_by_hour": [[round(at / 3600, 2), round(mb, 1)] for at, mb in running],
        "memory_mb_after_the_report": round(ended[1], 1),
        "descriptors": _n_descriptors(),
        "qt_messages": dict(messages.most_common(5)),
        "first_qt_message_at_hour": [round(at, 2) for at in first],
        "rows": [
            {
                "what": f"growth of memory from {WARM:.1%} of the time to the end, MB",
                "ours": round(growth, 1),
                "goal": GOAL_MB,
                "met": growth <= GOAL_MB and snapshot.phase is not Phase.FAILED,
            },
            {
                "what": "warnings of Qt",
                "ours": messages.total(),
                "goal": 0,
                "met": not messages,
            },
        ],
    }


def _session(out: Path, seconds: float, seed: int) -> Session:
    """Make a session on a virtual Cyton that nothing waits for, with pictures from an idle one."""
    from pylsl import local_clock

    from app.runtime.decoder import Decoder
    from app.runtime.launch import accelerated_source
    from app.runtime.session import Session
    from app.runtime.stimuli import candidate_labels, plan
    from configs import load_preset
    from pipeline.gallery import load_gallery

    config = load_preset("demo")
    simulation = config.simulation.model_copy(update={"board": "cyton"})
    config = config.model_copy(update={"seed": seed, "simulation": simulation})
    labels = candidate_labels(load_gallery(), config.stimuli)
    shown = itertools.takewhile(
        lambda item: item.at <= seconds, plan(config.stimuli, labels, seed=seed)
    )
    source = accelerated_source(config, ((item.at, item.label) for item in shown), duration=seconds)
    return Session(
        config,
        out=out,
        open_source=lambda _stop: source,
        clock=local_clock,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=False,
        on_end=source.close,
    )


class _Only:
    """A factory with one session, whatever is asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def keep_in(self, folder: Path) -> None:
        """Nothing is kept."""

    def discover(self) -> list[Any]:
        """Nothing is in reach."""
        return []

    def demo(self, config: SessionConfig) -> Session:
        """Return the session."""
        _ = config
        return self._session

    live = demo

    def replay(
        self, path: Path, config: SessionConfig, options: SourceOptions = NO_OPTIONS
    ) -> Session:
        """Return the session."""
        _ = path, config, options
        return self._session


def _watch(window: MainWindow, session: Session, seconds: float) -> list[tuple[float, float]]:
    """Let the window work until the session ends; memory over the session's time, s and MB.

    One reading at every 32nd of the time, and one after the end.
    """
    from app.benchmarks.gui_live import run_loop

    readings: list[tuple[float, float]] = []
    step, due, view = seconds / 32, 0.0, perf_counter()
    while True:
        run_loop(0.1)
        at = session.snapshot().duration
        if at >= due:
            readings.append((at, memory_mb()))
            due = at + step
        if perf_counter() - view > VIEW_SECONDS:
            view = perf_counter()
            window.work.signals.step()
        ended = session.wait(0.0)
        if ended:
            readings.append((session.snapshot().duration, memory_mb()))
            return readings


def _n_descriptors() -> int | None:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else None
