"""Ways to start a session: the demo, a live stream, a recording.

Owns the wiring of sources, stimuli and the virtual headset's process; knows nothing of Qt and of
how a command prints. Everything that can be refused at once is refused here, in one line.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pylsl import local_clock

from app.errors import AppError
from app.port import EpochEvent
from app.runtime.decoding import read_past
from app.runtime.folder import SESSIONS, default_out
from app.runtime.playback import PlaybackClock
from app.runtime.processes import end_command, start_module
from app.runtime.session import Session
from app.runtime.stimuli import Presenter, candidate_labels, plan
from app.source_options import SourceOptions
from configs import SessionConfig
from devices.choosing import StreamChoice
from devices.errors import StreamNotFoundError
from devices.lsl.discovery import resolve
from devices.lsl.inlet import LslSource
from devices.lsl.outlet import MarkerOutlet
from devices.replay import RecordedSource
from devices.virtual.accelerated import AcceleratedSource
from devices.virtual.boards import board_of
from devices.virtual.headset import HeadsetSettings
from devices.virtual.service import gallery_embeddings
from pipeline.errors import PhospheneError
from pipeline.gallery import load_gallery
from pipeline.ports import Source
from pipeline.values import StreamInfo

_LOG = logging.getLogger(__name__)

OWN_HEADSET = "phosphene-virtual-"
"""How the source_id of a virtual headset that we started begins."""
HEADSET_TIMEOUT = 30.0
"""Longest start of the virtual headset, s."""
MAX_RESTARTS = 3
"""A virtual headset that has ended more often than this is not started again."""
FOLLOWING_TIMEOUT = 60.0
"""Longest wait until the virtual headset has found our stimulus markers, s; it takes about two."""
SETTLE_SECONDS = 5.0
"""Accelerated session: EEG before the first stimulus, for the filter to settle, s."""


class VirtualHeadset:
    """The virtual headset's process; speaks LSL only. `open` starts it."""

    def __init__(
        self,
        config: SessionConfig,
        *,
        source_id: str,
        markers_source_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        simulation = config.simulation
        self._options = [
            *("--board", simulation.board),
            *("--subject", str(simulation.subject_number)),
            *("--snr", str(simulation.snr)),
            *("--seed", str(config.seed)),
            *("--source-id", source_id),
            *("--markers-source-id", markers_source_id),
        ]
        if simulation.sfreq is not None:
            self._options += ["--sfreq", str(simulation.sfreq)]
        if config.gallery is not None:
            self._options += ["--gallery", config.gallery]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._clock = clock
        self._asked_at: float | None = None
        self._spoke = threading.Event()
        self._is_ready = self._is_following = self._is_closed = False
        self.n_restarts = 0

    def open(self, stop: threading.Event) -> None:
        """Start it and wait until it streams, or until `stop`.

        Raises
        ------
        AppError
            It ends, or takes longer than `HEADSET_TIMEOUT`.
        """
        self._is_closed = False
        self._start()
        until = time.monotonic() + HEADSET_TIMEOUT
        while not (self._spoke.wait(0.1) or stop.is_set() or time.monotonic() > until):
            pass
        if not (self._is_ready or stop.is_set()):
            self.close()
            raise AppError(
                "The virtual headset did not start (its own message stands above): "
                "try `phosphene simulate` and `phosphene doctor`."
            )

    def _start(self) -> None:
        self._spoke.clear()
        self._is_ready = self._is_following = False
        self._asked_at = None
        process = self._process = start_module("devices.virtual", *self._options)
        self._reader = threading.Thread(
            target=self._read, args=(process,), name="headset-output", daemon=True
        )
        self._reader.start()

    def tend(self) -> str:
        """Start it anew where it ended unasked, at once; say so, else "". Call it in every turn.

        Raises
        ------
        AppError
            It has ended more than `MAX_RESTARTS` times.
        """
        process = self._process
        if process is None or self._is_closed or process.poll() is None:
            return ""
        self._reap()
        if self.n_restarts >= MAX_RESTARTS:
            raise AppError(
                f"The virtual headset has ended {self.n_restarts + 1} times and is not started "
                "again (its own message stands above): try `phosphene simulate` and `phosphene "
                "doctor`."
            )
        self.n_restarts += 1
        self._start()
        return (
            f"The virtual headset ended unasked (exit code {process.returncode}) and was started "
            f"anew ({self.n_restarts} of {MAX_RESTARTS} times)."
        )

    def opener(self, config: SessionConfig) -> Callable[[threading.Event], Source]:
        """Return what starts it and opens its stream; for a session's own thread.

        What fails is tried once more from the start: a port that was just taken, or a stream that
        was not heard on a busy machine, is no reason to bother a person.
        """

        def open_once(stop: threading.Event) -> Source:
            try:
                self.open(stop)
                return opener(config)(stop)
            except PhospheneError:
                self.close()
                raise

        def open_source(stop: threading.Event) -> Source:
            try:
                return open_once(stop)
            except PhospheneError as error:
                if stop.is_set():
                    raise
                _LOG.info("starting the virtual headset once more: %s", error)
            return open_once(stop)

        return open_source

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                _LOG.info("virtual headset: %s", said)
                self._is_ready |= "ready" in said
                self._is_following |= "following" in said
                self._spoke.set()
        self._spoke.set()

    def is_following(self) -> bool:
        """Whether it has found the stimulus markers: before that it answers none.

        Raises
        ------
        AppError
            It has ended, or was first asked `FOLLOWING_TIMEOUT` ago.
        """
        if self._is_following:
            return True
        if self._process is None or self._is_closed:
            raise AppError(
                "The virtual headset has ended before the first stimulus (its own message stands "
                "above): try `phosphene simulate` and `phosphene doctor`."
            )
        now = self._clock()
        if self._asked_at is None:
            self._asked_at = now
        if now - self._asked_at > FOLLOWING_TIMEOUT:
            raise AppError(
                f"The virtual headset has not found the stimulus markers in {FOLLOWING_TIMEOUT:g} "
                "s, expected our own stream in its reach: check LSL with `phosphene doctor`, or do "
                "without it: `phosphene demo --fast`."
            )
        return False

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._is_closed = True
        self._reap()

    def _reap(self) -> None:
        process, reader = self._process, self._reader
        if process is None or reader is None:
            return
        end_command(process, patience=0.0)  # it has nothing to lose
        reader.join(2.0)
        if process.stdout is not None:
            process.stdout.close()


def demo_session(
    config: SessionConfig,
    *,
    out: Path | None = None,
    root: Path = SESSIONS,
    duration: float | None = None,
    has_report: bool = True,
) -> Session:
    """Make the session that starts a virtual headset and decodes it (not yet started).

    As everywhere here, a session without `out` gets a new folder below `root`.
    """
    # What is wrong is said before anything is started.
    board_of(config.simulation.board)
    gallery_embeddings(config.gallery)
    token = uuid.uuid4().hex[:8]
    markers_id = f"phosphene-stimuli-{token}"
    headset_id = f"{OWN_HEADSET}{token}"
    config = config.model_copy(
        update={
            "source": config.source.model_copy(update={"source_id": headset_id}),
            "markers": config.markers.model_copy(update={"source_id": markers_id, "name": None}),
            "stimuli": config.stimuli.model_copy(update={"enabled": True}),
        }
    )
    outlet = MarkerOutlet(name="phosphene-stimuli", source_id=markers_id)
    headset = VirtualHeadset(config, source_id=headset_id, markers_source_id=markers_id)

    def close() -> None:
        headset.close()
        outlet.close()

    try:
        return _live(
            config,
            out=out,
            root=root,
            outlet=outlet,
            open_source=headset.opener(config),
            duration=duration,
            may_present=headset.is_following,
            tend=headset.tend,
            on_end=close,
            has_report=has_report,
        )
    except BaseException:
        close()
        raise


def accelerated_session(
    config: SessionConfig,
    *,
    out: Path | None = None,
    root: Path = SESSIONS,
    duration: float = 60.0,
) -> Session:
    """Make the demo's session without LSL and without waiting: same brain, same path."""
    source = simulated_source(config, duration=duration)
    return Session(
        config,
        out=out or default_out(root),
        open_source=lambda _stop: source,
        clock=local_clock,
        is_live=False,
        on_end=source.close,
    )


def simulated_source(config: SessionConfig, *, duration: float) -> AcceleratedSource:
    """Make the virtual person who is shown the settings' stimuli for `duration` s."""
    labels = candidate_labels(load_gallery(config.gallery), config.stimuli)
    shown = itertools.takewhile(
        lambda item: item.at <= duration, plan(config.stimuli, labels, seed=config.seed)
    )
    onsets = ((item.at, item.label) for item in shown)
    return accelerated_source(config, onsets, duration=duration)


def accelerated_source(
    config: SessionConfig, shown: Iterable[tuple[float, str]], *, duration: float
) -> AcceleratedSource:
    """Make the virtual person of `config.simulation`, without LSL and without waiting.

    `shown` are onset (s from the first) and label of each stimulus, the last one before
    `duration` (s).
    """
    simulation = config.simulation
    settings = HeadsetSettings(
        board=board_of(simulation.board),
        subject_number=simulation.subject_number,
        sfreq=simulation.sfreq,
        snr=simulation.snr,
        seed=config.seed,
        duration=SETTLE_SECONDS + duration + config.epochs.tmax + 0.5,
    )
    onsets = ((SETTLE_SECONDS + at, label) for at, label in shown)
    return AcceleratedSource(settings, gallery_embeddings(config.gallery), onsets)


def live_session(
    config: SessionConfig,
    *,
    out: Path | None = None,
    root: Path = SESSIONS,
    duration: float | None = None,
    needs_viewer: bool = False,
    has_report: bool = True,
) -> Session:
    """Make a session on a stream in reach; with own stimuli when the settings say so.

    `needs_viewer`: those are shown only while somebody says that a person sees them.
    """
    if not config.stimuli.enabled:
        return Session(
            config,
            out=out or default_out(root),
            open_source=opener(config),
            clock=local_clock,
            duration=duration,
            has_report=has_report,
        )
    markers_id = config.markers.source_id or f"phosphene-stimuli-{uuid.uuid4().hex[:8]}"
    config = config.model_copy(
        update={"markers": config.markers.model_copy(update={"source_id": markers_id})}
    )
    outlet = MarkerOutlet(name="phosphene-stimuli", source_id=markers_id)
    try:
        return _live(
            config,
            out=out,
            root=root,
            outlet=outlet,
            open_source=opener(config),
            duration=duration,
            may_present=lambda: True,
            needs_viewer=needs_viewer,
            on_end=outlet.close,
            has_report=has_report,
        )
    except BaseException:
        outlet.close()
        raise


def opener(config: SessionConfig) -> Callable[[threading.Event], Source]:
    """Return what opens the streams in reach that `config` names; for a session's own thread."""

    def open_source(stop: threading.Event) -> Source:
        interval = config.recording.clock_offset_interval
        try:
            return LslSource(
                config.source, config.markers, clock_offset_interval=interval, stop=stop
            )
        except StreamNotFoundError:
            if not (config.source.source_id or "").startswith(OWN_HEADSET):
                raise
            raise AppError(
                f"The virtual headset was started, but LSL did not find its stream in "
                f"{config.source.resolve_timeout:g} s: see what `phosphene doctor` says of LSL, "
                "or do without it (--fast)."
            ) from None

    return open_source


def _live(
    config: SessionConfig,
    *,
    out: Path | None,
    root: Path,
    outlet: MarkerOutlet,
    open_source: Callable[[threading.Event], Source],
    duration: float | None,
    may_present: Callable[[], bool],
    on_end: Callable[[], None],
    has_report: bool,
    needs_viewer: bool = False,
    tend: Callable[[], str] = lambda: "",
) -> Session:
    labels = candidate_labels(load_gallery(config.gallery), config.stimuli)

    def make_presenter() -> Presenter:
        return Presenter(
            plan(config.stimuli, labels, seed=config.seed),
            push=outlet.push,
            clock=local_clock,
            duration=duration,
        )

    return Session(
        config,
        out=out or default_out(root),
        open_source=open_source,
        clock=local_clock,
        make_presenter=make_presenter,
        may_present=may_present,
        needs_viewer=needs_viewer,
        tend=tend,
        on_end=on_end,
        has_report=has_report,
    )


def replay_session(
    config: SessionConfig,
    recording: Path,
    *,
    out: Path | None = None,
    root: Path = SESSIONS,
    speed: float | None = None,
    duration: float | None = None,
    board: str | None = None,
    choice: StreamChoice | None = None,
    recorded: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _sentence: None,
    on_epoch: Callable[[EpochEvent], None] | None = None,
) -> Session:
    """Make a session that decodes a recording as it was recorded; `speed` None: at full speed.

    `board` is the BrainFlow board of a CSV file that fits several; `choice` says which of several
    streams are meant (None: those of the settings, where the file has them). `recorded` is the
    `run` table of the session that is repeated: `say` is called when its weights were others.
    `on_epoch` as `Session`'s.
    """
    choice = choice or StreamChoice(config.source, config.markers)
    # A paced replay may be paused and hurried: the clock it follows is ours to bend.
    playback = None if speed is None else PlaybackClock(speed)
    if playback is None:
        source = RecordedSource(recording, board=board, choice=choice)
    else:
        source = RecordedSource(
            recording,
            speed=1.0,
            board=board,
            choice=choice,
            clock=playback.now,
            wait=playback.wait,
        )
        playback.attach(source)

    def open_source(stop: threading.Event) -> Source:
        if playback is not None:
            playback.follow(stop)
        return source

    past = read_past(source.recorded_events())
    return Session(
        config,
        out=out or default_out(root),
        open_source=open_source,
        clock=local_clock,
        duration=duration,
        is_live=False,
        replay_of=recording,
        recorded=recorded,
        say=say,
        playback=playback,
        past=past,
        on_epoch=on_epoch,
        on_end=source.close,
    )


def choice_of(config: SessionConfig, options: SourceOptions) -> StreamChoice:
    """Which streams of a recording are meant, where `options` are already in `config`."""
    return StreamChoice(
        config.source,
        config.markers,
        must_fit=bool(options.eeg),
        markers_must_fit=bool(options.markers),
    )


def discover(timeout: float = 1.0) -> Sequence[StreamInfo]:
    """Streams in reach, EEG and markers, for a chooser.

    Where none is found it looks on for longer: on a busy machine they answer late.
    """
    return resolve(timeout) or resolve(3 * timeout)
