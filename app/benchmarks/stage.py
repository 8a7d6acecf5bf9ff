"""`phosphene bench stage`: hours of the stage, accelerated, with a failure every ten minutes.

Owns the measurement. Window, keeper, sessions and files are the stage's own; a virtual brain sends
as fast as it is read, and the decoder answers at once, in a process that can be killed. In turn the
decoder is killed, the stream is lost, the disk is filled beyond its quota, the window is closed.
Times are the wall clock's: what an audience would wait. Here no second decoder stands by, as one
does in a live session: a killed one is started from nothing. With `-v` each failure's figures are
logged when they are there, so that a run that is cut has said what it saw.
"""

from __future__ import annotations

import gc
import itertools
import logging
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from app.benchmarks.idle import idle_decoder
from app.benchmarks.soak import memory_mb
from app.stage.disk import keep_quota, remove, size_of
from app.stage.keeper import Keeper, Patience, Who
from app.stage.memory import give_back, keep_one_arena
from devices.errors import SourceError
from pipeline.ports import Source
from pipeline.values import SourceItem

if TYPE_CHECKING:
    from app.runtime.session import Session
    from app.views.stage.window import StageWindow

_LOG = logging.getLogger(__name__)

HOURS = 8.0
EVERY = 600.0
"""Stream time between two failures, s; less in a run that would not have all of them."""
WARM = 0.25
"""Part of the hours after which memory is first read."""
QUOTA = 30_000_000
GOAL_SECONDS, GOAL_MB = 10.0, 20.0
STREAM = 3600.0
"""Length of one session's stream, s."""
KINDS = ("decoder killed", "stream lost", "disk beyond its quota", "window closed")


def run_stage_bench(*, minutes: float = 60 * HOURS, seed: int = 0) -> dict[str, Any]:
    """Run so many minutes of stream time.

    Parameters
    ----------
    minutes : float
    seed : int
        Of the virtual brain.
    """
    from app.benchmarks.gui import _application

    keep_one_arena()
    _app = _application()  # kept: Qt ends with its last reference
    from app.benchmarks.gui_live import run_loop
    from app.views.stage.window import StageWindow

    began = perf_counter()
    every = min(EVERY, 60 * minutes / (len(KINDS) + 1))
    with tempfile.TemporaryDirectory(prefix="phosphene-stage-") as folder:
        scene = _Scene(Path(folder), seed)
        window = StageWindow(scene.keeper)
        window.resize(640, 400)
        window.show()
        away: dict[str, list[float]] = {kind: [] for kind in KINDS}
        memory: list[tuple[float, float]] = []
        try:
            for kind in itertools.cycle(KINDS):
                start = scene.streamed
                while scene.streamed - start < every:
                    run_loop(0.1)
                memory.append((scene.streamed, memory_mb()))
                if scene.streamed >= 60 * minutes:
                    break
                away[kind].append(scene.fail(kind, window, run_loop))
                _LOG.info(
                    "after %.2f h: %s, the picture is back after %.1f s; memory %.1f MB, "
                    "largest folder %.1f MB",
                    memory[-1][0] / 3600,
                    kind,
                    away[kind][-1],
                    memory[-1][1],
                    scene.largest / 1e6,
                )
        finally:
            window.leave()
            scene.keeper.close()
        return _report(scene, away, memory, 60 * minutes, perf_counter() - began)


class _Lossy:
    """A source that is lost when it is told."""

    def __init__(self, source: Source) -> None:
        self._source, self.is_lost = source, False
        self.streams, self.is_live = source.streams, source.is_live

    def read(self, timeout: float) -> list[SourceItem]:
        """Give what comes; raise once it is lost."""
        if self.is_lost:
            raise SourceError("The stream is lost, as the benchmark wanted.")
        return self._source.read(timeout)

    def close(self) -> None:
        """End it."""
        self._source.close()


class _Scene:
    """The keeper and its sessions, and what is done to them."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self._seed = root, seed
        self._numbers = itertools.count()
        self._sources: dict[Session, _Lossy] = {}
        self._in_use: set[Path] = set()
        self._past = 0.0
        self.largest = 0
        self.keeper = Keeper(
            self._make,
            has_visitors=False,
            patience=Patience(tidy=0.5, rotate=1e9),
            ended=self._ended,
            tidy=self._tidy,
        )

    @property
    def streamed(self) -> float:
        """Stream time of all sessions so far, s."""
        now = [session.snapshot().duration for session in list(self._sources)]
        return self._past + sum(now)

    @property
    def session(self) -> Session | None:
        """The session on show."""
        current = self.keeper.current
        return next((one for one in self._sources if one is current), None)

    def fail(self, kind: str, window: StageWindow, run_loop: Callable[[float], None]) -> float:
        """Do it, and wait until the picture moves again; how long that took, s."""
        session, began = self.session, perf_counter()
        while session is None:
            run_loop(0.05)
            session = self.session
        shown = self.keeper.shown.result
        filled, drawn_after = None, 0.0
        if kind == KINDS[0]:
            killed = _kill_decoders()
            # What it had drawn before is on its way yet: only another process' pictures count.
            while not _decoders() - killed and perf_counter() - began < 60.0:
                run_loop(0.02)
            drawn_after = time.monotonic()
        elif kind == KINDS[1]:
            self._sources[session].is_lost = True
        elif kind == KINDS[2]:
            filled = self.root / "00000000-old"
            filled.mkdir()
            (filled / "session.toml").write_bytes(b"x" * (QUOTA + 1))
        else:
            window.close()
            window.hide()

        def is_back() -> bool:
            new = self.keeper.shown.result
            if new is None or new is shown or (new.returned or 0.0) < drawn_after:
                return False
            return (
                not window.motion.is_fog
                and window.isVisible()
                and (filled is None or not filled.exists())
            )

        while not is_back() and perf_counter() - began < 60.0:
            run_loop(0.02)
        return perf_counter() - began

    def _make(self, who: Who) -> Session:
        _ = who
        from pylsl import local_clock

        from app.runtime.decoder import Decoder
        from app.runtime.launch import accelerated_source
        from app.runtime.session import Session
        from app.runtime.stimuli import candidate_labels, plan
        from configs import load_preset
        from pipeline.gallery import load_gallery

        number = next(self._numbers)
        config = load_preset("demo")
        config = config.model_copy(
            update={
                "seed": self._seed + number,
                "simulation": config.simulation.model_copy(update={"board": "cyton"}),
                "recording": config.recording.model_copy(update={"enabled": False}),
            }
        )
        labels = candidate_labels(load_gallery(), config.stimuli)
        shown = itertools.takewhile(
            lambda item: item.at <= STREAM, plan(config.stimuli, labels, seed=config.seed)
        )
        onsets = ((item.at, item.label) for item in shown)
        source = _Lossy(accelerated_source(config, onsets, duration=STREAM))
        session = Session(
            config,
            out=self.root / f"{number + 1:08d}",
            open_source=lambda _stop: source,
            clock=local_clock,
            make_decoder=partial(Decoder, target=idle_decoder),
            is_live=False,
            on_end=source.close,
            has_report=False,  # as the stage's, which are deleted
        )
        self._sources[session] = source
        self._in_use.add(session.out)
        return session

    def _ended(self, out: Path, who: Who) -> None:
        _ = who
        for session in [one for one in self._sources if one.out == out]:
            self._past += session.snapshot().duration
            del self._sources[session]
        remove(out)
        self._in_use.discard(out)
        gc.collect()  # as the stage does
        give_back()

    def _tidy(self) -> None:
        keep_quota(self.root, QUOTA, in_use=set(self._in_use))
        give_back()
        self.largest = max(self.largest, size_of(self.root))


def _decoders() -> set[int | None]:
    """Processes that decode now."""
    children = multiprocessing.active_children()
    return {child.pid for child in children if child.name == "phosphene-decoder"}


def _kill_decoders() -> set[int | None]:
    """Kill them; which they were."""
    killed = _decoders()
    for child in multiprocessing.active_children():
        if child.pid in killed:
            child.kill()
    return killed


def _report(
    scene: _Scene,
    away: dict[str, list[float]],
    memory: Sequence[tuple[float, float]],
    seconds: float,
    took: float,
) -> dict[str, Any]:
    warm = [mb for at, mb in memory if at >= WARM * seconds] or [mb for _, mb in memory]
    growth = warm[-1] - warm[0]
    rows: list[dict[str, Any]] = [
        {
            "what": f"{kind}: longest time until the picture is back, s",
            "ours": round(max(times), 2),
            "median": round(statistics.median(times), 2),
            "n": len(times),
            "goal": GOAL_SECONDS,
            "met": max(times) <= GOAL_SECONDS,
        }
        for kind, times in away.items()
        if times
    ]
    rows.append(
        {
            "what": "largest size of the stage's folder after tidying, MB",
            "ours": round(scene.largest / 1e6, 1),
            "goal": QUOTA / 1e6,
            "met": scene.largest <= QUOTA,
        }
    )
    rows.append(
        {
            "what": f"growth of memory from {WARM:.0%} of the time on, MB",
            "ours": round(growth, 1),
            "goal": GOAL_MB,
            "met": abs(growth) <= GOAL_MB,
        }
    )
    return {
        "hours": round(scene.streamed / 3600, 2),
        "took_s": round(took, 1),
        "sessions": scene.keeper.n_runs,
        "restarts": scene.keeper.n_restarts,
        "memory_mb_by_hour": [[round(at / 3600, 2), round(mb, 1)] for at, mb in memory],
        "rows": rows,
    }
