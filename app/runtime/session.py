"""One session: streams in, pictures and a session folder out.

Owns the acquisition thread and the order in which things start and end. What is computed lives
in `pipeline`, what is drawn in the decoder's process, what is counted in `Ledger`, what is
written in `SessionFolder` and the recorder. Watchers see it through `app.port.SessionPort`.

The acquisition thread hands every item first to the recorder, then to the pure live path: the
recording holds exactly the sequence that the path saw, and so a replay repeats it. The only
facts that depend on the wall clock (`overload`, `failed`) are recorded as events and obeyed by a
replay.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from app.port import AdaptCommand, Phase, Playback, Result, Snapshot, TraceBlock, TraceMarker
from app.runtime.decoder import Decoder
from app.runtime.folder import SessionFolder
from app.runtime.ledger import Ledger
from app.runtime.phases import PhaseMachine
from app.runtime.results import (
    Cut,
    decoded,
    event_packet,
    quality_packet,
    refusal,
    seed_of,
    stages_of,
)
from app.runtime.stimuli import Presenter, candidate_labels
from app.runtime.summary import StreamFigures, summary_of
from app.runtime.worker import Answer, Job, job_of
from configs import SessionConfig
from devices.errors import SourceError
from devices.recorder import Recorder
from pipeline.errors import PhospheneError
from pipeline.gallery import Gallery, load_gallery
from pipeline.live import LivePath
from pipeline.ports import Source
from pipeline.values import (
    Marker,
    Outcome,
    Packet,
    SourceItem,
    StateChange,
    StreamRole,
    StreamState,
    Verdict,
)

_LOG = logging.getLogger(__name__)

WALL_CLOCK_OUTCOMES = frozenset({Outcome.OVERLOAD, Outcome.FAILED})
"""Outcomes that depend on how fast this machine was; a replay takes them from the recording."""
MARKERS_TIMEOUT = 30.0
"""Longest wait for our own stimulus markers to come back over LSL, s."""
NEWS_SECONDS = 6.0
"""How long the sentence about a stream's return stands, s."""
DRAIN_TIMEOUT = 15.0
"""Longest wait for pictures under way when a live session ends, s."""


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
    may_present : callable
        Whether stimuli would be seen by now (the virtual headset has found their markers).
    make_decoder : callable
        `Decoder` but for tests.
    duration : float or None
        Length of the session from its first sample, s; None: until stopped (with own stimuli:
        until the last one is decoded).
    is_live : bool
        Whether samples arrive in the present. When not, the source waits for the decoder: no epoch
        is ever refused for want of time, and nothing has an arrival.
    replay_of : Path or None
        The recording that is replayed.
    playback : Playback or None
        What lets a person pause the replay.
    decisions : mapping
        The recorded run's event lines by marker index; those with an outcome that depends on the
        wall clock are obeyed.
    on_end : callable or None
        Called last, whatever happened (ends the virtual headset).
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
        make_decoder: Callable[..., Decoder] = Decoder,
        duration: float | None = None,
        is_live: bool = True,
        replay_of: Path | None = None,
        playback: Playback | None = None,
        decisions: Mapping[int, Mapping[str, Any]] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._config = config
        self._open_source = open_source
        self._clock = clock
        self._make_presenter = make_presenter
        self._may_present = may_present
        self._duration = duration
        self._is_live = is_live
        self._replay_of = replay_of
        self._playback = playback
        self._decisions = {i: d.get("outcome") for i, d in (decisions or {}).items()}
        self._on_end = on_end
        self._gallery = load_gallery()
        self._candidates = _candidates(self._gallery, config)
        self._folder = SessionFolder(out)
        self._ledger = Ledger(len(self._candidates))
        self._decoder = make_decoder(config.decoder, on_answer=self._take_answer)
        self._phases = PhaseMachine()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="acquisition", daemon=True)
        # The lock guards what more than one thread writes; the rest has one writer.
        self._lock = threading.Lock()
        self._notes_lock = threading.Lock()
        self._cuts: dict[int, Cut] = {}
        self._warnings: dict[str, None] = {}
        self._source: Source | None = None
        self._path: LivePath | None = None
        self._recorder: Recorder | None = None
        self._presenter: Presenter | None = None
        self._stream_state = StreamState.CONNECTING
        self._n_reconnects = 0
        self._news_until: float | None = None
        self._n_recorded = self._n_packets = self._n_judged = 0
        self._declared: set[StreamRole] = set()
        self._first_at: float | None = None
        self._newest_at: float | None = None

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
        return self._presenter

    @property
    def out(self) -> Path:
        """The session folder."""
        return self._folder.path

    def start(self) -> None:
        """Start the threads; phase becomes STARTING, then RUNNING or FAILED."""
        self._phases.move(Phase.STARTING, "Looking for the stream and loading the decoder.")
        self._decoder.start()
        self._thread.start()

    def request_stop(self) -> None:
        """Ask the session to end; returns at once."""
        self._phases.try_move(Phase.STOPPING, "Finishing the files.")
        self._stop.set()

    def stop(self, timeout: float = 30.0) -> None:
        """End the session and finish its files."""
        if self._phases.try_move(Phase.STOPPED, "Never started."):
            self._folder.close()
            if self._on_end is not None:
                self._on_end()
            return
        self.request_stop()
        self._thread.join(timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False when time is up."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def snapshot(self) -> Snapshot:
        """Everything visible, frozen."""
        phase, message = self._phases.read()
        path, source, recorder = self._path, self._source, self._recorder
        presenter, ledger = self._presenter, self._ledger
        snapshot = Snapshot(
            phase=phase,
            message=message,
            stream_state=self._stream_state,
            duration=self._elapsed(),
            n_reconnects=self._n_reconnects,
            n_markers=ledger.n_markers,
            outcomes=ledger.outcomes(),
            n_pending=max(0, ledger.n_markers - ledger.n_concluded),
            accuracy=ledger.accuracy(),
            stages=ledger.recent_stages(),
            decoder=self._decoder.state,
            warnings=tuple(self._warnings),
            stimulus=presenter.current if presenter is not None else None,
            out=self._folder.path,
        )
        if path is not None and source is not None:
            snapshot = replace(
                snapshot,
                eeg=source.streams.get(StreamRole.EEG),
                markers=source.streams.get(StreamRole.MARKERS),
                info=path.info,
                newest_age=self._newest_age(path, source),
                n_received=path.n_received,
                n_lost=path.n_lost,
                n_gaps=path.n_gaps,
                effective_sfreq=path.effective_sfreq,
                quality=path.signal_quality.newest,
                clock_offset=path.clock_offset,
                filter_delay=path.filter.group_delay(10.0),
            )
        if recorder is not None:
            snapshot = replace(
                snapshot,
                recording=recorder.path,
                recording_bytes=recorder.bytes_written,
                disk_free=recorder.disk_free,
            )
        return snapshot

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        """Raw samples from number `since` on, at most the newest `limit`."""
        path = self._path
        if path is None:
            return None
        ring = path.raw_ring
        stop = ring.n_written
        # Half the ring stays between reader and writer, so that no window is overwritten meanwhile.
        start = max(since, stop - limit, stop - ring.capacity // 2, 0)
        block = ring.read(start, stop) if start < stop else None
        if block is None:
            return None
        breaks = tuple(b.sample for b in path.breaks if start <= b.sample < stop)
        return TraceBlock(data=block[0], timestamps=block[1], start=start, breaks=breaks)

    def trace_markers(self, since: int) -> Sequence[TraceMarker]:
        """Markers with index >= `since`, as they arrived."""
        return self._ledger.markers_since(since)

    def results(self, since: int) -> Sequence[Result]:
        """Results in order of completion from the `since`-th on."""
        return self._ledger.results_since(since)

    def set_recording(self, on: bool) -> None:
        """Start or stop the recorder; a recording that was stopped is finished, never reopened."""
        with self._lock:
            recorder, source = self._recorder, self._source
            if on == (recorder is not None) or source is None:
                return
            self._recorder = self._open_recorder(source) if on else None
        if recorder is not None:
            recorder.close()

    def add_marker(self, label: str) -> None:
        """Stamp a manual marker now; one that the stream cannot carry is a warning."""
        inject = getattr(self._source, "inject_marker", None)
        if inject is None:
            return
        try:
            inject(label)
        except SourceError as error:
            # A stream of numbers has no place for a word: said, and the session goes on.
            self._warn(str(error))

    def swap_adapter(self, folder: Path | None) -> None:
        """Decode with another adapter from a coming epoch on; None: without one."""
        self._warn("Adapters cannot be swapped yet.")

    def adapt(self, command: AdaptCommand) -> None:
        """Freeze, resume or reset online alignment from the next epoch on."""
        self._warn(f"Alignment cannot be told to {command} yet.")

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
        except Exception as error:  # noqa: BLE001 - the thread's top loop: nothing ends unsaid
            _LOG.exception("the session failed")
            sentence = f"The session failed ({type(error).__name__}: {error}); see the log."
            self._phases.try_move(Phase.FAILED, sentence)
        finally:
            self._finish()

    def _acquire(self) -> None:
        if not self._is_live:
            # A replay must not refuse what the live run decoded while its models were loaded.
            self._require_decoder()
        source = self._source = self._open_source(self._stop)
        self._declared = set(source.streams)
        path = self._path = LivePath(self._config, source.streams, clock=time.monotonic)
        with self._lock:
            if self._config.recording.enabled:
                self._recorder = self._open_recorder(source)
        self._write_session()
        self._phases.try_move(Phase.RUNNING, self._running_sentence())
        while not self._stop.is_set():
            items = source.read(self._config.source.chunk_ms / 1000.0)
            if self._take(items, path):
                source.read(0.0)  # raises the reason when the stream could not go on
                break
            if self._is_over():
                break
            self._watch(path)

    def _require_decoder(self) -> None:
        while not self._stop.is_set() and not self._decoder.wait_ready(0.2):
            if self._decoder.refusal:
                raise PhospheneError(self._decoder.refusal)

    def _open_recorder(self, source: Source) -> Recorder:
        target, number = self._folder.recording, 1
        while target.exists():
            number += 1
            target = self._folder.path / f"recording-{number}.xdf"
        return Recorder(target, dict(source.streams), self._config.recording)

    def _take(self, items: Sequence[SourceItem], path: LivePath) -> bool:
        """Record and feed items; say whether the source has ended."""
        pulled, arrival = time.monotonic(), self._clock()
        ended = False
        for item in items:
            if isinstance(item, Packet) and item.role is StreamRole.EVENTS:
                continue  # a recording's own decisions: read beforehand, made anew here
            self._welcome(item.role, path)
            self._record(item)
            if isinstance(item, StateChange):
                ended |= self._note_state(item)
            elif isinstance(item, Packet) and item.role is StreamRole.EEG:
                self._note_data(item)
            verdicts = path.feed(item)
            filtered = path.filtered_at
            self._note_new_markers(path)
            for verdict in verdicts:
                self._take_verdict(verdict, arrival, pulled, max(pulled, filtered))
        self._record_quality(path)
        return ended

    def _welcome(self, role: StreamRole, path: LivePath) -> None:
        """Declare a marker stream that joins late, before its first item is used."""
        if role in self._declared or self._source is None:
            return
        info = self._source.streams.get(role)
        if info is not None:
            self._declared.add(role)
            path.add_stream(role, info)
            if self._recorder is not None:
                self._recorder.add_stream(role, info)

    def _record(self, item: SourceItem) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        written = recorder.put(item)
        if written and isinstance(item, Packet) and item.role is StreamRole.EEG:
            self._n_recorded += len(item.timestamps)

    def _record_quality(self, path: LivePath) -> None:
        """Put each new second's verdict on the electrodes beside what they sent."""
        quality, recorder = path.signal_quality, self._recorder
        if recorder is not None and quality.n_seconds != self._n_judged:
            self._n_judged = quality.n_seconds
            recorder.put(quality_packet(quality.newest, self._clock()))

    def _note_state(self, item: StateChange) -> bool:
        if item.role is not StreamRole.EEG:
            return False
        self._stream_state = item.state
        if item.state is StreamState.RETURNED:
            self._n_reconnects += 1
            self._stream_state = StreamState.STREAMING
        if item.state in (StreamState.STALLED, StreamState.LOST):
            self._phases.say(item.reason or f"The stream is {item.state}; waiting for it.")
        elif self._stream_state is StreamState.STREAMING:
            self._phases.say(item.reason or self._running_sentence())
            self._news_until = time.monotonic() + NEWS_SECONDS
        return item.state is StreamState.ENDED

    def _note_data(self, packet: Packet) -> None:
        if self._stream_state is StreamState.CONNECTING:
            self._stream_state = StreamState.STREAMING
        if len(packet.timestamps):
            self._n_packets += 1
            # The stream's own time, so that a replay at any speed is as long as what it replays.
            if self._first_at is None:
                self._first_at = float(packet.timestamps[0])
            self._newest_at = float(packet.timestamps[-1])

    def _note_new_markers(self, path: LivePath) -> None:
        for marker in path.take_new_markers():
            self._ledger.add_marker(marker)

    def _take_verdict(
        self, verdict: Verdict, arrival: float, pulled: float, filtered: float
    ) -> None:
        marker, epoch = verdict.marker, verdict.epoch
        if epoch is None or verdict.outcome is not Outcome.DECODED:
            self._conclude(refusal(marker, verdict.outcome, verdict.reason, epoch))
            return
        decided = self._decisions.get(marker.index)
        if decided in WALL_CLOCK_OUTCOMES:
            outcome = Outcome(str(decided))
            self._conclude(refusal(marker, outcome, "as in the recorded run", epoch))
            return
        job = job_of(epoch, seed=seed_of(self._config.seed, epoch))
        with self._lock:
            self._cuts[marker.index] = Cut(epoch, arrival, pulled, filtered, time.monotonic())
        if not self._submit(job):
            with self._lock:
                del self._cuts[marker.index]
            waiting = f"{self._config.decoder.queue_size} epochs were waiting already"
            reason = waiting if self._decoder.ready else f"the decoder was {self._decoder.state}"
            self._conclude(refusal(marker, Outcome.OVERLOAD, reason, epoch))

    def _submit(self, job: Job) -> bool:
        if not self._is_live:
            return self._decoder.submit(job, policy="wait")
        if self._decoder.ready is None:
            return False
        if self._decoder.submit(job):
            return True
        # Continuous windows: the newest wins, and the one given up is counted.
        old = self._decoder.take_oldest() if self._config.epochs.mode == "free" else None
        if old is None:
            return False
        with self._lock:
            cut = self._cuts.pop(old.index)
        marker = Marker(old.index, old.t_onset, old.event)
        reason = "a newer window took its place"
        self._conclude(refusal(marker, Outcome.OVERLOAD, reason, cut.epoch))
        return self._decoder.submit(job)

    def _watch(self, path: LivePath) -> None:
        if self._decoder.refusal:
            raise PhospheneError(self._decoder.refusal)
        if self._news_until is not None and time.monotonic() > self._news_until:
            self._news_until = None
            self._phases.say(self._running_sentence())
        recorder = self._recorder
        if recorder is not None and recorder.alarm:
            self._warn(recorder.alarm)
        settled = self._elapsed() > path.filter.settling_time - self._config.epochs.tmin
        if (
            self._make_presenter is not None
            and self._presenter is None
            and settled
            and self._decoder.ready is not None
            and self._hears_markers()
            and self._may_present()
        ):
            self._presenter = self._make_presenter()
            self._presenter.start()

    def _hears_markers(self) -> bool:
        """Whether our own inlet follows the marker stream, so that no stimulus goes unrecorded."""
        source = self._source
        if source is not None and StreamRole.MARKERS in source.streams:
            return True
        if self._elapsed() > MARKERS_TIMEOUT:
            raise PhospheneError(
                f"The stimulus markers were not found within {MARKERS_TIMEOUT:g} s, expected our "
                "own stream in reach: check LSL with `phosphene doctor`."
            )
        return False

    def _is_over(self) -> bool:
        if self._make_presenter is None:
            return self._duration is not None and self._elapsed() >= self._duration
        presenter, ledger = self._presenter, self._ledger
        if presenter is None or not presenter.finished:
            return False
        # All shown: wait until every epoch is cut, or can no longer come.
        with self._lock:
            n_under_way = len(self._cuts)
        complete = (
            ledger.n_markers >= presenter.n_shown
            and ledger.n_markers <= ledger.n_concluded + n_under_way
        )
        last = ledger.last_onset or 0.0
        return complete or self._clock() - last > self._config.epochs.tmax + 3.0

    # -- the end ------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._presenter is not None:
            self._presenter.stop()
        phase, message = self._phases.read()
        failure = message if phase is Phase.FAILED else ""
        self._phases.try_move(Phase.STOPPING, "Finishing the files.")
        try:
            self._settle_open_markers()
            self._decoder.drain(timeout=DRAIN_TIMEOUT if self._is_live else 600.0)
            self._decoder.close()
            if self._source is not None:
                self._source.close()
            self._finish_files(failure)
        except Exception as error:  # noqa: BLE001 - the thread's top loop: nothing ends unsaid
            _LOG.exception("finishing the session folder failed")
            sentence = f"The session folder could not be finished ({error}); see the log."
            self._phases.try_move(Phase.FAILED, sentence)
        finally:
            self._decoder.close()
            self._folder.close()
            if self._on_end is not None:
                self._on_end()
        self._phases.try_move(Phase.STOPPED, f"Saved in {self._folder.path}.")

    def _settle_open_markers(self) -> None:
        path = self._path
        if path is None:
            return
        now, arrival = time.monotonic(), self._clock()
        verdicts = path.finish()
        self._note_new_markers(path)
        for verdict in verdicts:
            self._take_verdict(verdict, arrival, now, now)

    def _finish_files(self, failure: str) -> None:
        # A damaged recording is replayed as far as it goes, and said to be damaged.
        for sentence in getattr(self._source, "warnings", ()):
            self._warn(sentence)
        with self._lock:
            recorder, self._recorder = self._recorder, None
        recording: dict[str, Any] | None = None
        if recorder is not None:
            recorder.close()
            if recorder.alarm:
                self._warn(recorder.alarm)
            recording = {
                "path": recorder.path.name,
                "bytes": recorder.bytes_written,
                "samples": self._n_recorded,
                "dropped": recorder.n_dropped,
            }
        self._write_session()
        ready = self._decoder.ready
        summary = summary_of(
            self._ledger,
            self._stream_figures(),
            config=self._config,
            duration=self._elapsed(),
            failure=failure,
            decoder={
                "system": self._config.decoder.system,
                "restarts": self._decoder.n_restarts,
                "encoder_sha256": ready.spec.sha256 if ready else None,
                "sampler_sha256": ready.sampler_sha256 if ready else None,
            },
            recording=recording,
            is_live=self._is_live,
            replay_of=None if self._replay_of is None else str(self._replay_of),
            warnings=list(self._warnings),
        )
        if self._presenter is not None:
            summary["stimuli"] = self._presenter.figures()
        self._folder.finish(summary)
        from app.report import build_report

        build_report(self._folder.path)

    # -- results (acquisition thread and decoder thread) --------------------------------------

    def _take_answer(self, job: Job, answer: Answer, returned: float) -> None:
        now = self._clock()
        with self._lock:
            cut = self._cuts.pop(job.index)
        if answer.vector is None or answer.pixels is None:
            marker = Marker(job.index, job.t_onset, job.event)
            self._conclude(refusal(marker, Outcome.FAILED, answer.error, cut.epoch))
            return
        stages = stages_of(cut, answer, now=now, returned=returned, is_live=self._is_live)
        try:
            result = decoded(
                answer.vector,
                answer.pixels,
                cut,
                answer.control_pixels,
                config=self._config,
                candidates=self._candidates,
                folder=self._folder,
                ready=self._decoder.ready,
            )
        except (OSError, PhospheneError) as error:
            # A full disk, or an encoder of another gallery, costs this picture; not the thread
            # that answers all the others.
            marker = Marker(job.index, job.t_onset, job.event)
            self._conclude(refusal(marker, Outcome.FAILED, str(error), cut.epoch))
            return
        self._conclude(replace(result, stages=stages))

    def _conclude(self, result: Result) -> None:
        self._ledger.conclude(result)
        with self._lock:
            self._folder.add_event(result)
            recorder = self._recorder
        if recorder is not None:
            recorder.put(event_packet(result, self._clock()))

    # -- figures ------------------------------------------------------------------------------

    def _warn(self, sentence: str) -> None:
        self._warnings[sentence] = None

    def _running_sentence(self) -> str:
        return "Streaming." if self._replay_of is None else "Replaying."

    def _elapsed(self) -> float:
        if self._first_at is None or self._newest_at is None:
            return 0.0
        return self._newest_at - self._first_at

    def _newest_age(self, path: LivePath, source: Source) -> float | None:
        newest = path.newest
        return None if newest is None or not source.is_live else max(0.0, self._clock() - newest)

    def _stream_figures(self) -> StreamFigures:
        path = self._path
        if path is None:
            return StreamFigures()
        return StreamFigures(
            n_received=path.n_received,
            n_lost=path.n_lost,
            n_gaps=path.n_gaps,
            n_reconnects=self._n_reconnects,
            sfreq=path.info.sfreq,
            effective_sfreq=path.effective_sfreq,
            quality=path.signal_quality.shares(),
            packet_ms=1000 * path.n_received / max(1, self._n_packets) / path.info.sfreq,
        )

    def _write_session(self) -> None:
        ready, source = self._decoder.ready, self._source
        run: dict[str, Any] = {
            "phosphene": version("phosphene"),
            "numpy": np.__version__,
            "scipy": version("scipy"),
            "seed": self._config.seed,
            "replay_of": None if self._replay_of is None else str(self._replay_of),
            "gallery_sha256": self._gallery.sha256,
        }
        if ready is not None:
            run |= {
                "encoder": ready.spec.name,
                "encoder_sha256": ready.spec.sha256,
                "sampler_sha256": ready.sampler_sha256,
                "device": ready.device,
                **dict(ready.versions),
            }
        streams = {} if source is None else source.streams
        self._folder.write_session(self._config, run=run, streams=streams)


def _candidates(gallery: Gallery, config: SessionConfig) -> Gallery:
    """The stimuli that a picture is identified among."""
    return gallery.subset(labels=candidate_labels(gallery, config.stimuli))
