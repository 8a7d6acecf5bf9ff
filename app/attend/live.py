"""A session of looks behind a window: the grid's frames in, what was found out, pictures that grow.

Owns the threads and the drawing process of it; a window polls `snapshot` and shows the frames.
Nothing flickers before `begin`, which takes the answer to the warning. Knows nothing of Qt.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pylsl

from app.attend.calibrating import Calibration, keep
from app.attend.choosing import Pictures, choose_pictures, cues, upright_gallery
from app.attend.drawing import Apart, Drawn
from app.attend.reading import Ended, LookOptions, Stepped
from app.attend.session import SIMULATED_CHANGES, AttendSession, table_of
from app.attend.sources import open_live
from app.runtime.folder import SESSIONS, default_out
from app.view_models.attend.grid_frames import GridFrames, grid_for, holds
from app.view_models.attend.light import Flicker
from app.view_models.attend.warning import Answered
from configs import SessionConfig
from devices.lsl.outlet import MarkerOutlet, own_source_id
from devices.virtual.looker import Looker
from devices.virtual.watcher import WatcherSource
from models.adapters.looks import LooksAdapter
from pipeline.errors import PhospheneError
from pipeline.gallery import Gallery
from pipeline.looks import Kind
from pipeline.ports import Source
from pipeline.values import Float64, Uint8

_LOG = logging.getLogger(__name__)
STREAM = "phosphene-attend"
"""Name of the grid's marker stream."""


@dataclass(frozen=True, slots=True)
class LiveSetup:
    """What a session with a window of its own is set to.

    Attributes
    ----------
    config : SessionConfig
    options : LookOptions
    n_targets : int
    n_looks : int or None
        Looks after which it ends.
    cued : bool
        Whether somebody is asked for a picture; the virtual person always is.
    looker : Looker or None
        The virtual person; None: the headset that `config.source` names.
    out : Path or None
        None: a new folder below `root`, made when it begins.
    adapter : LooksAdapter or None
        The person's calibration.
    composes : bool
        Whether each choice is the start of the next.
    calibration : Calibration or None
        Takes the looks; None: nothing is fitted to them.
    flicker : Flicker
    kind : str
        `flicker`, or `flash`: the pictures light up in turn.
    root : Path
    """

    config: SessionConfig
    options: LookOptions
    n_targets: int
    n_looks: int | None
    cued: bool
    looker: Looker | None
    out: Path | None
    adapter: LooksAdapter | None = None
    calibration: Calibration | None = None
    composes: bool = False
    flicker: Flicker = field(default_factory=Flicker)
    kind: Kind = "flicker"
    root: Path = SESSIONS


@dataclass(frozen=True, slots=True, eq=False)
class LiveSnapshot:
    """What is known at a moment.

    `phase` is `loading`, `ready` (for the answer to the warning), `running`, `ended` or `failed`,
    whose reason is `message`; of a calibration that has ended it says what was found.
    `posterior` is of the look under way, or of the last one; `drawn` the newest picture, `redraws`
    of it a second. `grid` counts the grids: another number, other pictures.
    """

    phase: str
    message: str = ""
    labels: tuple[str, ...] = ()
    grid: int = 0
    look: int = -1
    seconds: float = 0.0
    posterior: Float64 | None = None
    ended: Ended | None = None
    drawn: Drawn | None = None
    redraws: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    is_simulated: bool = False


class LiveAttend:
    """One session; `start`, then `begin` once somebody answered, then poll `snapshot`.

    Parameters
    ----------
    setup : LiveSetup
    clock : callable
        LSL's `local_clock`.
    """

    def __init__(self, setup: LiveSetup, *, clock: Callable[[], float] = pylsl.local_clock) -> None:
        self.setup, self.clock = setup, clock
        self._asked = threading.Event()
        self._phase, self._message = "loading", ""
        self._drawing: Apart | None = None
        self._gallery: Gallery | None = None
        self._pixels: list[Uint8] = []
        self._labels: tuple[str, ...] = ()
        self._n_grids = 0
        self._pictures: Pictures | None = None
        self._outlet: MarkerOutlet | None = None
        self._watcher: WatcherSource | None = None
        self._session: AttendSession | None = None
        self._frames: GridFrames | None = None
        self._step: Stepped | None = None
        self._ended: Ended | None = None
        self._redrawn: deque[float] = deque(maxlen=16)
        self._newest: Drawn | None = None
        self._threads: list[threading.Thread] = []
        self.summary: dict[str, Any] | None = None
        """The session's, once it has ended."""

    # For the window

    def start(self) -> None:
        """Load the gallery and the sampler; returns at once."""
        self._spawn(self._load, "attend-loading")

    def pixels(self) -> list[Uint8]:
        """Pictures of the grid."""
        return self._pixels

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the grid's pictures."""
        return self._need_pictures().labels

    def begin(self, answered: Answered, *, refresh_hz: float) -> GridFrames:
        """Open the streams and begin; the window shows the frames.

        Raises
        ------
        PhospheneError
            There is no outlet.
        """
        grid = grid_for(self.labels, refresh_hz, self.setup.kind)
        self._outlet = MarkerOutlet(
            name=STREAM, source_id=f"{own_source_id(STREAM)}-{time.time_ns()}", desc=grid.desc
        )
        if self.setup.looker is not None:
            self._watcher = WatcherSource(self.setup.looker, grid, clock=self.clock)
        frames = GridFrames(
            grid,
            hold=holds(refresh_hz, self.setup.kind),
            push=self._push,
            answered=answered,
            shown=self._see,
        )
        self._frames = frames
        self._phase = "running"
        self._spawn(self._run, "attend")
        return frames

    def snapshot(self) -> LiveSnapshot:
        """Everything visible, frozen."""
        step, session, drawing = self._step, self._session, self._drawing
        newest = None if drawing is None else drawing.newest
        if newest is not None and newest is not self._newest:
            self._newest = newest
            self._redrawn.append(newest.at)
        return LiveSnapshot(
            phase=self._phase,
            message=self._message,
            labels=self._labels,
            grid=self._n_grids,
            look=-1 if step is None else step.look,
            seconds=0.0 if step is None else step.step.seconds,
            posterior=None if step is None else step.step.posterior,
            ended=self._ended,
            drawn=newest,
            redraws=_rate(self._redrawn),
            figures={} if session is None else session.tally.figures(),
            is_simulated=self.setup.looker is not None,
        )

    def stop(self) -> None:
        """End the looks and finish the files; returns at once."""
        self._asked.set()

    def close(self) -> None:
        """End everything, and wait for it; safe to call twice."""
        self._asked.set()
        if self._frames is not None:
            self._frames.is_held_back = False
        for thread in self._threads:
            thread.join()
        if self._drawing is not None:
            self._drawing.close()
        if self._outlet is not None:
            self._outlet.close()

    # The threads

    def _spawn(self, work: Any, name: str) -> None:
        thread = threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except PhospheneError as error:
            self._phase, self._message = "failed", str(error)
        except Exception as error:  # noqa: BLE001 - the thread's top: every failure is told
            _LOG.exception("A session of looks failed.")
            self._phase, self._message = "failed", f"{type(error).__name__}: {error}"

    def _load(self) -> None:
        drawing = self._drawing = Apart(self.setup.config)
        config, setup = self.setup.config, self.setup
        pictures = choose_pictures(config, drawing, setup.n_targets, composes=setup.composes)
        self._gallery = upright_gallery(config, drawing.space)
        self._pixels = pictures.pixels(self._gallery)
        self._labels, self._pictures = pictures.labels, pictures
        self._phase = "ready"

    def _need_pictures(self) -> Pictures:
        if self._pictures is None:
            raise RuntimeError("The pictures are not loaded: wait for the phase `ready`.")
        return self._pictures

    def _open(self) -> Source:
        if self._watcher is not None:
            return self._watcher
        config = self.setup.config
        outlet = self._outlet
        if outlet is None:
            raise RuntimeError("There is no marker stream.")
        markers = config.markers.model_copy(
            update={"source_id": outlet.info.source_id, "name": None}
        )
        return open_live(config.model_copy(update={"markers": markers}), self._asked)

    def _run(self) -> None:
        setup, pictures, frames = self.setup, self._need_pictures(), self._frames
        if frames is None:
            raise RuntimeError("Nothing shows the grid.")
        is_cued = setup.cued or setup.looker is not None
        n_targets = len(pictures.labels)
        source = self._open()
        try:
            session = self._session = AttendSession(
                setup.config,
                source,
                setup.options,
                out=setup.out or default_out(setup.root, suffix="-attend"),
                pictures=lambda _n: pictures,
                cues=cues(setup.config.seed, n_targets) if is_cued else itertools.repeat(None),
                n_looks=setup.n_looks,
                screen=frames,
                adapter=setup.adapter,
                calibration=setup.calibration,
                n_changes=SIMULATED_CHANGES if setup.looker is not None else None,
                on_grid=self._offer,
                run=table_of(setup.options, setup.adapter, composes=setup.composes)
                | setup.flicker.model_dump()
                | frames.answered.record,
            )
            summary = session.play(is_asked_to_end=self._is_over, on_event=self._take)
            if setup.calibration is not None and not self._is_over():
                kept = keep(session.fitted(), setup.config, recordings={})
                summary["calibration"] = kept
                self._message = kept["sentence"]
            self.summary = summary
        finally:
            source.close()
        self._phase = "ended"

    def _offer(self) -> None:
        """Have the pictures of the next grid drawn; nothing flickers until they are shown."""
        frames, gallery = self._frames, self._gallery
        if frames is None or gallery is None:
            return
        frames.is_held_back = True
        self._pixels = self._need_pictures().pixels(gallery)
        self._n_grids += 1

    def _is_over(self) -> bool:
        return self._asked.is_set() or (self._frames is not None and self._frames.finished)

    def _take(self, event: Stepped | Ended) -> None:
        self._labels = self._need_pictures().labels
        if isinstance(event, Ended):
            self._ended = event
            return
        self._step = event
        pictures, drawing = self._need_pictures(), self._drawing
        if drawing is not None:
            drawing.show(pictures.known(event.step.posterior, number=event.look, t_onset=0.0))

    def _push(self, label: str, at: float) -> None:
        if self._outlet is not None:
            self._outlet.push(label, at)
        if self._watcher is not None:
            self._watcher.mark(label, at)

    def _see(self, at: float, states: Uint8 | None) -> None:
        if self._watcher is None or self._frames is None:
            return
        target = self._frames.target
        self._watcher.see(at, states is not None and target is not None and bool(states[target]))


def _rate(times: deque[float]) -> float:
    """How many a second, of the newest ones that came without a pause."""
    run = list(times)
    gaps = [later - earlier for earlier, later in itertools.pairwise(run)]
    near = [gap for gap in gaps if gap < 1.0]
    return len(near) / sum(near) if near and sum(near) > 0 else 0.0
