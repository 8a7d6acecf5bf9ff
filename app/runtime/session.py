"""One session: streams in, pictures and a session folder out.

Owns the acquisition thread and the order in which things start and end. What becomes of the
items is `Acquisition`'s, what is decoded `Decoding`'s, what is counted `Ledger`'s, what is written
`SessionFolder`'s and `SessionRecorder`'s, what is published `Publisher`'s, what is shown `Show`'s.
Watchers see it through `app.port.SessionPort`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.foreign import other_place, other_weights
from app.port import (
    AdaptCommand,
    EpochEvent,
    Phase,
    Playback,
    Result,
    Snapshot,
    TraceBlock,
    TraceMarker,
    kind_of,
)
from app.recordings import file_sha256
from app.runtime.acquisition import Acquisition, stream_fields
from app.runtime.closing import describe_run, settled, summarize
from app.runtime.decoder import Decoder
from app.runtime.decoding import Conclusion, Decoding, Past
from app.runtime.folder import SessionFolder, unfinished
from app.runtime.ledger import Ledger
from app.runtime.pacing import in_words, pace_sentence
from app.runtime.phases import PhaseMachine
from app.runtime.publishing import Publisher, open_publisher
from app.runtime.results import result_event
from app.runtime.session_recorder import SessionRecorder
from app.runtime.show import GIVE_UP, Show
from app.runtime.stimuli import Presenter, candidate_labels
from app.runtime.summary import rate_warning
from app.runtime.writing import write_atomically
from configs import SessionConfig
from devices.errors import SourceError
from devices.recorder import Recorder
from models.retrieval.store import VectorStore
from pipeline.errors import PhospheneError
from pipeline.gallery import load_gallery
from pipeline.ports import Admitting, Source, StatesWarnings, TakesMarkers
from pipeline.signal_quality import ChannelQuality
from pipeline.values import Marker, StreamRole, Verdict

_LOG = logging.getLogger(__name__)

NO_LATENCY = (
    "The stream's time stamps jumped, or are of another clock than this machine's: the latencies "
    "of pictures meanwhile are not known and not given."
)
DRAIN_TIMEOUT = 15.0
"""Longest wait for pictures under way when a live session ends, s; longer where pictures take
longer (`DRAIN_SLACK`)."""
DRAIN_SLACK = 2.0
"""The same, times what the pictures under way take as it was measured."""
REPLAY_DRAIN_TIMEOUT = 600.0
"""The same of a replay, which refuses no epoch for want of time, s."""
BEGINNING = 60.0
"""Up to which length what was recorded of a session that could not decode is not kept, s."""
AT_ONCE = 1.0
"""The same of any session that is to end at once, s."""


class Session:
    """A live or replayed session; satisfies `app.port.SessionPort`.

    Parameters
    ----------
    config : SessionConfig
    out : Path
        Folder to write; must be new or empty (`FolderError`).
    open_source : callable
        Opens the streams; called in the acquisition thread with the event that asks to give up.
    clock : callable
        `local_clock`, s.
    make_presenter : callable or None
        Makes the app's own stimuli once source and decoder are ready.
    needs_viewer : bool
        Show nothing of our own before, and while, somebody says that a person sees it (`set_seen`).
    may_present : callable
        Whether stimuli would be seen by now (the virtual headset has found their markers).
    tend : callable
        Called in every turn; looks after a source of our own and says what it did (else "").
    make_decoder : callable
        `Decoder` but for tests.
    duration : float or None
        Length of the session from its first sample, s; None: until stopped (with own stimuli:
        until the last one is decoded).
    is_live : bool
        Whether samples arrive in the present. When not, the source waits for the decoder: no epoch
        is ever refused for want of time, nothing has an arrival, and nothing is published.
    replay_of : Path or None
        The recording that is replayed.
    recorded : mapping or None
        The `run` table of the session that is replayed: other weights than its are a warning.
    say : callable
        Called with such a warning at once, in the acquisition thread.
    playback : Playback or None
        What lets a person pause the replay.
    past : Past
        What the recorded run decided, where it depends on the wall clock or on a person.
    on_epoch : callable or None
        Called with every marker's end at the cut and its epoch, before anything is decoded;
        in the acquisition thread, so it must return at once.
    on_end : callable or None
        Called last, whatever happened (ends the virtual headset).
    has_report : bool
        Whether `report.html` is written at the end; idle where the folder is deleted then.
    monotonic : callable
        `time.monotonic` but for tests: a live session's length.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        out: Path,
        open_source: Callable[[threading.Event], Source],
        clock: Callable[[], float],
        make_presenter: Callable[[], Presenter] | None = None,
        may_present: Callable[[], bool] = lambda: True,
        needs_viewer: bool = False,
        tend: Callable[[], str] = lambda: "",
        make_decoder: Callable[..., Decoder] = Decoder,
        duration: float | None = None,
        is_live: bool = True,
        replay_of: Path | None = None,
        recorded: Mapping[str, Any] | None = None,
        say: Callable[[str], None] = lambda _sentence: None,
        playback: Playback | None = None,
        past: Past | None = None,
        on_epoch: Callable[[EpochEvent], None] | None = None,
        on_end: Callable[[], None] | None = None,
        has_report: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._open_source = open_source
        self._clock = clock
        self._monotonic = monotonic
        self._tend = tend
        self._duration = duration
        self._is_live = is_live
        self._replay_of = replay_of
        self._sha256: str | None = None
        self._recorded = dict(recorded or {})
        self._say = say
        self._playback = playback
        self._on_epoch = on_epoch
        self._on_end = on_end
        self._has_report = has_report
        self._gallery = load_gallery(config.gallery)
        # The stimuli that a picture is identified among.
        self._labels = candidate_labels(self._gallery, config.stimuli)
        candidates = self._gallery.subset(labels=self._labels)
        # Before the folder: a store that is refused leaves none.
        store = None if config.retrieval is None else VectorStore(Path(config.retrieval))
        self._token = uuid.uuid4().hex[:8]
        fallback = config.recording.fallback
        self._folder = SessionFolder(out, fallback=None if fallback is None else Path(fallback))
        self._ledger = Ledger(len(candidates))
        self._session_recorder = SessionRecorder(
            config.recording, self._folder, clock=clock, session=self._token
        )
        self._decoding = Decoding(
            config,
            folder=self._folder,
            candidates=candidates,
            store=store,
            clock=clock,
            is_live=is_live,
            past=past or Past(),
            conclude=self._conclude,
            note=self._session_recorder.note,
            warn=self._warn,
            recording_sha256=self._recording_sha256,
            make_decoder=make_decoder,
        )
        self._phases = PhaseMachine()
        self._stop = threading.Event()
        self._drain = DRAIN_TIMEOUT if is_live else REPLAY_DRAIN_TIMEOUT
        # Waited for instead of the thread: `Thread.join` that an exception leaves (Ctrl-C in
        # somebody's script) takes the thread for ended on Python 3.11 and 3.12.
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="acquisition", daemon=True)
        # The lock guards what more than one thread writes; the rest has one writer.
        self._lock = threading.Lock()
        self._notes_lock = threading.Lock()
        self._warnings: dict[str, str] = {}
        self._alarm_kind = ""
        self._told_pace = False
        self._is_refused = False
        """Whether it could not begin, so that nothing of it is kept."""
        self._acquisition: Acquisition | None = None
        self._publisher: Publisher | None = None
        self._show: Show | None = None
        self._seen = threading.Event()
        if not needs_viewer:
            self._seen.set()
        if make_presenter is not None:
            self._show = Show(make_presenter, may_present=self._seen_and(may_present))

    # -- what watchers call -------------------------------------------------------------------

    @property
    def config(self) -> SessionConfig:
        """The resolved settings."""
        return self._config

    @property
    def playback(self) -> Playback | None:
        """What plays a recording; None where the source sets the pace."""
        return self._playback

    @property
    def stimuli(self) -> Presenter | None:
        """The session's own stimuli, for a window that shows them."""
        return None if self._show is None else self._show.presenter

    @property
    def out(self) -> Path:
        """The session folder; in the end the one that was finished."""
        return self._folder.finished_in

    def start(self) -> None:
        """Start the threads; phase becomes STARTING, then RUNNING or FAILED."""
        self._phases.move(Phase.STARTING, "Looking for the stream and loading the decoder.")
        self._decoding.start()
        self._thread.start()

    def request_stop(self, *, at_once: bool = False) -> None:
        """Ask the session to end; returns at once.

        With `at_once` pictures under way are waited for `AT_ONCE` s only; also when it is ending
        already.
        """
        if at_once:
            self._drain = AT_ONCE
        self._phases.try_move(Phase.STOPPING, "Finishing the files.")
        self._stop.set()

    def stop(self, timeout: float = 30.0, *, at_once: bool = False) -> None:
        """End the session and finish its files; see `request_stop`."""
        if self._phases.try_move(Phase.STOPPED, "Never started."):
            self._folder.discard()
            if self._on_end is not None:
                self._on_end()
            self._over.set()
            return
        self.request_stop(at_once=at_once)
        self._over.wait(timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False when time is up."""
        return self._over.wait(timeout)

    def snapshot(self) -> Snapshot:
        """Everything visible, frozen."""
        phase, message = self._phases.read()
        acquisition, presenter = self._acquisition, self.stimuli
        ledger, decoding = self._ledger, self._decoding
        alignment, drift = decoding.alignment
        fields = {} if acquisition is None else stream_fields(acquisition)
        return Snapshot(
            phase=phase,
            message=message,
            n_markers=ledger.n_markers,
            outcomes=ledger.outcomes(),
            n_pending=max(0, ledger.n_markers - ledger.n_concluded),
            accuracy=ledger.accuracy(),
            repetitions=ledger.repetitions(),
            stages=ledger.recent_stages(),
            between=decoding.between,
            decoder=decoding.state,
            decoded_by=decoding.place,
            adapter=decoding.adapter,
            adapter_loading=decoding.adapter_loading,
            alignment=alignment,
            alignment_drift=drift,
            warnings=self._standing_warnings(),
            stimulus=presenter.current if presenter is not None else None,
            awaits_viewer=self._show is not None and not self._seen.is_set(),
            out=self._folder.finished_in,
            outputs=() if self._publisher is None else self._publisher.about,
            feed="" if self._publisher is None else self._publisher.feed,
            **fields,
            **self._session_recorder.fields(),
        )

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        """Raw samples from number `since` on, at most the newest `limit`."""
        acquisition = self._acquisition
        return None if acquisition is None else acquisition.traces(since, limit)

    def trace_markers(self, since: int) -> Sequence[TraceMarker]:
        """Markers with index >= `since`, as they arrived."""
        return self._ledger.markers_since(since)

    def results(self, since: int) -> Sequence[Result]:
        """Results in order of completion from the `since`-th on."""
        return self._ledger.results_since(since)

    def set_recording(self, on: bool) -> None:
        """Start or stop the recorder; a recording that was stopped is finished, never reopened."""
        if self._acquisition is not None:
            self._session_recorder.switch(on=on)

    def add_marker(self, label: str) -> None:
        """Stamp a manual marker now; one that the stream cannot carry is a warning."""
        acquisition = self._acquisition
        if acquisition is None or not isinstance(acquisition.source, TakesMarkers):
            return
        try:
            acquisition.source.inject_marker(label)
        except SourceError as error:
            # A stream of numbers has no place for a word: said, and the session goes on.
            self._warn(str(error))

    def set_seen(self, on: bool) -> None:
        """Say whether a person sees the stimuli: without one those that need one rest."""
        (self._seen.set if on else self._seen.clear)()

    def _seen_and(self, may_present: Callable[[], bool]) -> Callable[[], bool]:
        return lambda: self._seen.is_set() and may_present()

    def admit_host(self, host: str) -> None:
        """Take a lost stream's namesake on `host` for it, from now on."""
        acquisition = self._acquisition
        if acquisition is not None and isinstance(acquisition.source, Admitting):
            acquisition.source.admit(host)

    def swap_adapter(self, folder: Path | None) -> None:
        """Decode with another adapter from a coming epoch on; None: without one."""
        self._decoding.swap_adapter(folder)

    def adapt(self, command: AdaptCommand) -> None:
        """Freeze, resume or reset online alignment from the next epoch on."""
        self._decoding.adapt(command)

    def set_control(self, on: bool) -> None:
        """Draw a noise control beside the pictures from the next epoch on, or no longer."""
        self._decoding.control = on

    def set_notes(self, text: str) -> None:
        """Write `notes.txt`, also after the end."""
        with self._notes_lock:
            self._folder.write_notes(text)

    # -- the acquisition thread ---------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._acquire()
        except PhospheneError as error:
            self._phases.try_move(Phase.FAILED, str(error))
        except OSError as error:
            _LOG.debug("the session failed", exc_info=True)
            where = self._folder.path if error.filename is None else error.filename
            sentence = f"The session failed: {where}: {error.strerror or error}."
            self._phases.try_move(Phase.FAILED, sentence)
        except Exception as error:  # noqa: BLE001 - the thread's top loop: nothing ends unsaid
            _LOG.exception("the session failed")
            sentence = f"The session failed ({type(error).__name__}: {error}); see the log."
            self._phases.try_move(Phase.FAILED, sentence)
        finally:
            try:
                self._finish()
            finally:
                self._over.set()

    def _acquire(self) -> None:
        if not self._is_live:
            # A replay must not refuse what the live run decoded while its models were loaded.
            with self._refusing():
                self._decoding.require(self._stop)
            if self._stop.is_set():
                return
        self._compare_weights()
        try:
            with self._refusing():
                acquisition = self._open()
        except PhospheneError:
            if self._stop.is_set():
                return  # the search was given up, as it was asked to be
            raise
        self._write_session()
        self._phases.try_move(Phase.RUNNING, self._running_sentence())
        timeout = self._config.source.chunk_ms / 1000.0
        while not self._stop.is_set():
            if acquisition.turn(timeout) or self._is_over(acquisition):
                break
            self._watch(acquisition)

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Within, a failure means that the session could not begin, unless it went on for long.

        Not where it was asked to end meanwhile: what is given up is no failure.
        """
        try:
            yield
        except PhospheneError:
            acquisition = self._acquisition
            is_young = acquisition is None or acquisition.elapsed < BEGINNING
            self._is_refused = is_young and not self._stop.is_set()
            raise

    def _open(self) -> Acquisition:
        source = self._open_source(self._stop)
        try:
            acquisition = Acquisition(
                self._config,
                source,
                session_recorder=self._session_recorder,
                clock=self._clock,
                running=self._running_sentence(),
                say=self._phases.say,
                on_verdict=self._take_verdict,
                on_marker=self._take_marker,
                on_quality=self._take_quality,
                on_sought=self._decoding.forget_past,
                monotonic=self._monotonic,
            )
        except BaseException:
            source.close()
            raise
        self._acquisition = acquisition
        self._decoding.know_channels(acquisition.path.info.ch_names)
        self._session_recorder.switch(on=self._config.recording.enabled)
        if self._is_live:
            eeg = source.streams.get(StreamRole.EEG)
            self._publisher = open_publisher(
                self._config,
                acquisition.path.display_names,
                labels=self._labels,
                session=self._token,
                out=self._folder.path,
                is_simulated=eeg is not None and eeg.is_simulated,
                warn=self._warn,
            )
        return acquisition

    def _take_verdict(
        self, verdict: Verdict, arrival: float | None, pulled: float, filtered: float
    ) -> None:
        if arrival is None and self._is_live and verdict.epoch is not None:
            self._warn(NO_LATENCY)
        if self._on_epoch is not None:
            self._on_epoch(EpochEvent.of(verdict))
        self._decoding.take(verdict, arrival=arrival, pulled=pulled, filtered=filtered)

    def _take_marker(self, marker: Marker) -> None:
        self._ledger.add_marker(marker)
        if self._publisher is not None:
            self._publisher.send_marker(marker)

    def _take_quality(self, newest: Sequence[ChannelQuality], at: float) -> None:
        if self._publisher is not None:
            self._publisher.send_quality(newest, at)

    def _take_news(self, acquisition: Acquisition) -> None:
        for sentence in acquisition.take_news():
            self._warn(sentence)

    def _watch(self, acquisition: Acquisition) -> None:
        self._take_news(acquisition)
        ready = self._decoding.ready
        if self._decoding.refusal:
            with contextlib.nullcontext() if ready else self._refusing():
                raise PhospheneError(self._decoding.refusal)
        self._folder.retry()
        self._note_alarms(self._session_recorder.recorder)
        for remark in () if ready is None else ready.remarks:
            self._warn(remark)
        if ready is not None and not self._told_pace:
            self._told_pace = True
            if sentence := pace_sentence(ready, self._config, is_live=self._is_live):
                self._warn(sentence)
        tended = self._tend()
        if tended:
            self._warn(tended)
        if ready is not None:
            with self._refusing():
                if misfit := ready.spec.input.misfit(acquisition.path.info):
                    raise PhospheneError(f"{ready.spec.name} {misfit}")
                if misfit := self._decoding.misfit:
                    raise PhospheneError(misfit)
        if self._publisher is not None and ready is not None:
            self._publisher.expect(ready.spec.n_features)
        if self._show is not None:
            self._show.begin(acquisition, self._decoding)

    def _is_over(self, acquisition: Acquisition) -> bool:
        if self._show is None:
            return self._duration is not None and acquisition.waited >= self._duration
        give_up_at = self._clock() - self._config.epochs.tmax - GIVE_UP
        return self._show.is_over(self._ledger, self._decoding, give_up_at=give_up_at)

    # -- results (acquisition thread and decoder thread) --------------------------------------

    def _conclude(self, conclusion: Conclusion) -> None:
        result = conclusion.result
        self._ledger.conclude(result)
        self._folder.add_event(result)
        if conclusion.vector is not None:
            self._session_recorder.put_vector(
                StreamRole.EMBEDDING, conclusion.vector, result.t_onset
            )
        self._session_recorder.note(
            result_event(
                result,
                observed=conclusion.observed,
                overrides=conclusion.overrides,
                batch=conclusion.batch,
            )
        )
        if self._publisher is not None:
            self._publisher.send_result(result, conclusion.vector)

    # -- the end ------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._show is not None:
            self._show.stop()
        phase, message = self._phases.read()
        failure = message if phase is Phase.FAILED else ""
        self._phases.try_move(Phase.STOPPING, "Finishing the files.")
        try:
            self._end(failure)
        except OSError as error:
            _LOG.debug("finishing the session folder failed", exc_info=True)
            self._phases.try_move(Phase.FAILED, unfinished(self._folder.path, error))
        except PhospheneError as error:
            self._phases.try_move(Phase.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - the thread's top loop: nothing ends unsaid
            _LOG.exception("finishing the session folder failed")
            sentence = f"The session folder could not be finished ({error}); see the log."
            self._phases.try_move(Phase.FAILED, sentence)
        self._phases.try_move(Phase.STOPPED, f"Saved in {self._folder.finished_in}.")

    def _end(self, failure: str) -> None:
        """Conclude what is under way and write the files; whatever fails, all is closed."""
        acquisition = self._acquisition
        with contextlib.ExitStack() as closing:
            if self._on_end is not None:
                closing.callback(self._on_end)
            closing.callback(self._folder.close)
            if self._publisher is not None:
                closing.callback(self._publisher.close)
            closing.callback(self._decoding.close)
            if acquisition is not None:
                closing.callback(acquisition.source.close)
                acquisition.finish()
            self._await_pictures()
            self._decoding.close()
            if self._decoding.refusal and not failure:
                failure = self._decoding.refusal  # it broke over the last epochs
                self._phases.try_move(Phase.FAILED, failure)
            if acquisition is not None:
                acquisition.source.close()
            if not (self._is_refused and self._take_back()):
                self._finish_files(failure)

    def _await_pictures(self) -> None:
        """Wait for the pictures under way, and say so where that takes long."""
        left = self._decoding.time_left
        if left > DRAIN_TIMEOUT / DRAIN_SLACK and self._drain > AT_ONCE:
            n = self._decoding.n_under_way
            pictures = "1 picture" if n == 1 else f"{n} pictures"
            self._phases.say(f"Waiting for {pictures} under way, about {in_words(left)}.")

        def longest() -> float:
            if self._drain <= AT_ONCE:
                return self._drain
            return max(self._drain, DRAIN_SLACK * self._decoding.time_left)

        self._decoding.drain(longest)

    def _take_back(self) -> bool:
        """Leave nothing of a session that could not begin; False where somebody has made notes."""
        if self._folder.has_notes:
            return False
        recorder = self._session_recorder.close()
        with contextlib.suppress(OSError):
            if recorder is not None:
                recorder.path.unlink(missing_ok=True)
        self._folder.discard()
        return True

    def _finish_files(self, failure: str) -> None:
        acquisition = self._acquisition
        if acquisition is not None:
            self._take_news(acquisition)
        if acquisition is not None:
            if isinstance(acquisition.source, StatesWarnings):
                # A damaged recording is replayed as far as it goes, and said to be damaged.
                for sentence in acquisition.source.warnings:
                    self._warn(sentence)
            for sentence in acquisition.path.notes:
                self._warn(sentence)
            if not self._ledger.n_markers and acquisition.path.n_received:
                self._warn(
                    "Not one marker came: there was nothing to decode. "
                    "The preset free-running decodes without markers."
                )
            if reason := self._ledger.shared_failure():
                self._warn(f"Not one epoch could be decoded: {reason}")
        recorder = self._session_recorder.close()
        self._write_session()
        missing = self._folder.settle()
        self._note_alarms(recorder)
        if recorder is not None and recorder.alarm:
            self._warn(recorder.alarm, about="recording")  # with its last numbers
            n_lost = recorder.samples_pending(StreamRole.EEG)
            if n_lost:
                self._warn(f"{n_lost} samples of the EEG are missing in {recorder.path}.")
        if any(missing.values()):
            self._warn(
                f"{missing['events']} events and {missing['pictures']} pictures are missing in "
                f"{self._folder.path}: its disk had no room for them."
            )
        summary = summarize(
            self._config,
            ledger=self._ledger,
            acquisition=acquisition,
            decoding=self._decoding,
            recorder=recorder,
            n_recorded=self._session_recorder.n_samples,
            failure=failure,
            is_live=self._is_live,
            replay_of=self._replay_of,
            warnings=list(self._warnings.values()),
        )
        summary["missing"] = missing
        if self._publisher is not None and self._publisher.codes:
            summary["marker_codes"] = self._publisher.codes
        if self.stimuli is not None:
            summary["stimuli"] = self.stimuli.figures()
        self._folder.finish(summary)
        if self._has_report:
            self._finish_report()

    def _finish_report(self) -> None:
        """Write the report; without pictures where there is no room for them."""
        from app.report import GRID, grid_of, report_page

        where = self._folder.finished_in
        try:
            grid = grid_of(where)
            if grid is not None:
                write_atomically(where / GRID, grid)
            self._folder.finish_report(report_page(where))
        except OSError:
            self._folder.finish_report(report_page(where, with_pictures=False))

    def _recording_sha256(self) -> str:
        """Hash of what is replayed; empty where nothing is."""
        if self._sha256 is None:
            self._sha256 = "" if self._replay_of is None else file_sha256(self._replay_of)
        return self._sha256

    def _compare_weights(self) -> None:
        """Say whether the session that is repeated had other weights."""
        now = self._run_table()
        for sentence in (other_weights(self._recorded, now), other_place(self._recorded, now)):
            if sentence:
                self._warn(sentence)
                self._say(sentence)

    def _run_table(self) -> dict[str, Any]:
        return describe_run(
            self._config,
            ready=self._decoding.ready,
            server=self._decoding.server,
            gallery=self._gallery,
            replay_of=self._replay_of,
        )

    def _write_session(self) -> None:
        run = self._run_table()
        acquisition = self._acquisition
        streams = {} if acquisition is None else acquisition.source.streams
        config = settled(self._config, self._decoding.ready)
        self._folder.write_session(config, run=run, streams=streams)

    def _warn(self, sentence: str, *, about: str = "") -> None:
        """Say a sentence; the newest `about` one thing takes the place of what was said of it."""
        with self._lock:
            self._warnings[about or sentence] = sentence

    def _note_alarms(self, recorder: Recorder | None) -> None:
        """Say what the disk refuses; not anew when a sentence changes in its numbers only."""
        if self._folder.alarm:
            self._warn(self._folder.alarm, about="files")
        alarm = "" if recorder is None else recorder.alarm
        kind = kind_of(alarm)
        if kind != self._alarm_kind:
            passed = f"{self._warnings.get('recording', '')} That has passed: nothing is missing."
            self._warn(alarm or passed, about="recording")
        self._alarm_kind = kind

    def _standing_warnings(self) -> tuple[str, ...]:
        """What was said, and what holds now and may pass again."""
        acquisition = self._acquisition
        off = "" if acquisition is None else rate_warning(acquisition.rates())
        with self._lock:
            said = tuple(self._warnings.values())
        notes = () if acquisition is None else acquisition.path.notes
        return (*dict.fromkeys((*said, *notes)), *([off] if off else []))

    def _running_sentence(self) -> str:
        return "Streaming." if self._replay_of is None else "Replaying."
