"""From a verdict to a result: hand-over to the decoder, its answers, adapters.

Owns the epochs under way and what decodes each. Refusals that depend on the wall clock and
changes of the adapter are taken from the recorded run in a replay, so that it repeats it. Knows
nothing of streams; results leave by `conclude`, facts for the recording by `note`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.between import Between
from app.port import AdaptCommand, Result
from app.repetitions import Repetitions
from app.runtime.decoder import Decoder
from app.runtime.folder import SessionFolder
from app.runtime.messages import (
    AdapterKey,
    Answer,
    Job,
    Load,
    Loaded,
    Overrides,
    Ready,
    first_adapter,
    job_of,
)
from app.runtime.pacing import newest_wins
from app.runtime.results import Cut, decoded, nearest, refusal, seed_of, stages_of
from app.runtime.steering import Change, Steering, decode_change, encode_change
from app.runtime.stepping_down import read_overrides
from configs import SessionConfig
from models.api import EncoderSpec, InputSpec
from models.retrieval.store import RetrievalError, VectorStore
from models.sampling.batches import Batch, read_batch
from pipeline.errors import PhospheneError
from pipeline.gallery import Gallery
from pipeline.values import Float32, Marker, Outcome, Verdict

WALL_CLOCK_OUTCOMES = frozenset({Outcome.OVERLOAD, Outcome.FAILED})
"""Outcomes that depend on how fast this machine was; a replay takes them from the recording."""


STRANGER = (
    "This brain is like none that the decoder knows, so that it is drawn as fog: calibrate "
    "(phosphene calibrate)."
)
MUCH = 0.5
"""Doubt of a session from which it is said."""
NO_SPEC = EncoderSpec("", InputSpec(0.0), 0.0, 0.0, None, None, 0)
"""Of a process that ended right after its answer: ranks nothing, states nothing."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a recorded session decided: outcomes by marker index, changes of the adapter.

    `observed` are the epochs that failed after alignment had taken them in; `overrides` those that
    were decoded with other settings than the session began with; `batches` those that were drawn
    together with others.
    """

    outcomes: Mapping[int, str] = field(default_factory=dict)
    observed: frozenset[int] = frozenset()
    overrides: Mapping[int, Overrides] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    batches: Mapping[int, Batch] = field(default_factory=dict)


def read_past(events: Iterable[Mapping[str, Any]]) -> Past:
    """Read a recording's events (parsed lines of its events stream)."""
    outcomes: dict[int, str] = {}
    observed: set[int] = set()
    overrides: dict[int, Overrides] = {}
    changes: list[Change] = []
    batches: dict[int, Batch] = {}
    for event in events:
        change = decode_change(event)
        if change is not None:
            changes.append(change)
        elif isinstance(event.get("index"), int) and "outcome" in event:
            outcomes[event["index"]] = str(event["outcome"])
            overrides[event["index"]] = read_overrides(event.get("overrides"))
            if (batch := read_batch(event.get("batch"))) is not None:
                batches[event["index"]] = batch
            (observed.add if event.get("observed") else observed.discard)(event["index"])
    return Past(outcomes, frozenset(observed), overrides, tuple(changes), batches)


@dataclass(frozen=True, slots=True, eq=False)
class Conclusion:
    """A marker's end, for the books: its result, the vector, whether alignment took it in."""

    result: Result
    vector: Float32 | None = None
    observed: bool = False
    overrides: Overrides = field(default_factory=dict)
    batch: Batch | None = None


def _building(config: SessionConfig, *, is_live: bool) -> SessionConfig:
    """Settle when an engine is built: a replay begins with what draws, a live session at once.

    Where a server decodes, what is on this machine loads beside, and has the time.
    """
    may_wait = is_live and config.decoder.remote is None
    if config.decoder.build != "auto" and may_wait:
        return config
    build = "meanwhile" if may_wait else "first"
    return config.model_copy(update={"decoder": config.decoder.model_copy(update={"build": build})})


class Decoding:
    """The epochs of one session on their way through the decoder.

    Parameters
    ----------
    config : SessionConfig
        With `decoder.enabled` False nothing is decoded: epochs end as `collected`.
    folder : SessionFolder
        Takes the pictures.
    candidates : Gallery
        What is identified among.
    store : VectorStore or None
        What is searched for the nearest vectors.
    clock : callable
        `local_clock`, s.
    is_live : bool
        False: epochs wait for the decoder, none is refused for want of time.
    past : Past
    conclude : callable
        Takes each `Conclusion`, in the acquisition thread or the decoder's.
    note : callable
        Takes objects for the recording's events stream.
    warn : callable
        Takes sentences.
    recording_sha256 : callable
        Gives the hash of the recording that is replayed; asked only where an encoder was fitted to
        one.
    make_decoder : callable
        `Decoder` but for tests.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        folder: SessionFolder,
        candidates: Gallery,
        store: VectorStore | None = None,
        clock: Callable[[], float],
        is_live: bool,
        past: Past,
        conclude: Callable[[Conclusion], None],
        note: Callable[[Mapping[str, Any]], None],
        warn: Callable[[str], None],
        recording_sha256: Callable[[], str] = lambda: "",
        make_decoder: Callable[..., Decoder] = Decoder,
    ) -> None:
        self._config = config
        self._folder = folder
        self._candidates = candidates
        self._store = store
        self._clock = clock
        self._is_live = is_live
        self.control = config.decoder.control
        """Whether the noise control of the coming epochs is drawn."""
        self._past = past
        self._repetitions = Repetitions()
        self._conclude = conclude
        self._note = note
        self._warn = warn
        self._recording_sha256 = recording_sha256
        self._steering = Steering(
            first_adapter(config.decoder), past.changes, follows=config.decoder.align
        )
        self._lock = threading.Lock()
        self._cuts: dict[int, Cut] = {}
        self._asked: str | None = None
        self._ch_names: tuple[str, ...] = ()
        self._specs: dict[AdapterKey, EncoderSpec] = {}
        self._loaded = threading.Condition()
        self._heard: dict[str, Loaded] = {}
        self._n_restarts = 0
        self._newest: Answer | None = None
        self._between: tuple[Between, ...] = ()
        self._decoder: Decoder | None = None
        if config.decoder.enabled:
            self._decoder = make_decoder(
                _building(config, is_live=is_live),
                on_answer=self._take_answer,
                on_loaded=self._take_loaded,
                on_between=self._take_between,
                warn=warn,
                spare=is_live and config.decoder.spare,
                # A replay has all the time in the world, and repeats what was refused.
                max_wait=config.decoder.max_wait if is_live else None,
            )

    # -- what it is doing ----------------------------------------------------------------------

    @property
    def state(self) -> str:
        """What the decoder is doing, in a few words."""
        return "off" if self._decoder is None else self._decoder.state

    @property
    def is_ready(self) -> bool:
        """Whether an epoch that came now would be taken."""
        return self._decoder is None or self._decoder.ready is not None

    @property
    def ready(self) -> Ready | None:
        """What the decoder's process said of itself; None before, or without one."""
        return None if self._decoder is None else self._decoder.ready

    @property
    def refusal(self) -> str:
        """Why it cannot decode at all; empty when it can."""
        return "" if self._decoder is None else self._decoder.refusal

    @property
    def misfit(self) -> str:
        """Why the store cannot be searched for what decodes; empty: it can, or is not known yet."""
        if self._store is None or self.ready is None:
            return ""
        spec = self.ready.spec
        return self._store.misfit(space=spec.space, n_features=spec.n_features)

    @property
    def n_restarts(self) -> int:
        """How often its process was started anew."""
        return 0 if self._decoder is None else self._decoder.n_restarts

    @property
    def overrides(self) -> Overrides:
        """Settings of the decoder that hold instead of the session's; empty: none."""
        return {} if self._decoder is None else self._decoder.overrides

    @property
    def place(self) -> str:
        """Address of the server to which epochs go; empty: they stay on this machine."""
        return "" if self._decoder is None else self._decoder.place

    @property
    def server(self) -> Ready | None:
        """What the server that decoded last said of itself; None: none ever did."""
        return None if self._decoder is None else self._decoder.server

    @property
    def _max_wait(self) -> float:
        return (None if self._decoder is None else self._decoder.max_wait) or 0.0

    @property
    def time_left(self) -> float:
        """How long the epochs under way may yet take, s, as it was measured; 0: not known."""
        return 0.0 if self._decoder is None else self.n_under_way * self._decoder.expected

    @property
    def n_under_way(self) -> int:
        """Epochs that no answer has come for yet."""
        with self._lock:
            return len(self._cuts)

    @property
    def adapter(self) -> str | None:
        """Folder of the adapter that decodes now; None: none."""
        return self._steering.now.adapter.folder or None

    @property
    def adapter_loading(self) -> str | None:
        """Folder of the adapter that will decode; None: no other is asked for, or none at all."""
        wanted = self._steering.wanted.adapter
        asked = self._asked
        if asked is not None:
            return asked or None
        return wanted.folder or None if wanted != self._steering.now.adapter else None

    @property
    def alignment(self) -> tuple[str, float | None]:
        """State of online alignment and its drift, as of the newest answer."""
        newest = self._newest
        return ("", None) if newest is None else (newest.alignment, newest.drift)

    @property
    def between(self) -> tuple[Between, ...]:
        """Pictures on the way to the newest, in order, as far as they are drawn."""
        return self._between

    # -- requests (any thread) -----------------------------------------------------------------

    def start(self) -> None:
        """Start the decoder's process."""
        if self._decoder is not None:
            self._decoder.start()
        if self._store is not None and self._store.advice:
            self._warn(self._store.advice)

    def require(self, stop: threading.Event) -> None:
        """Wait until everything that a replay will need is loaded; raise what is refused."""
        if self._decoder is None:
            return
        while not stop.is_set() and not self._decoder.wait_ready(0.2):
            if self._decoder.refusal:
                raise PhospheneError(self._decoder.refusal)
        if self.misfit:
            raise PhospheneError(self.misfit)
        for key in self._steering.adapters:
            if key.sha256:
                self._require_adapter(key, stop)

    def know_channels(self, ch_names: tuple[str, ...]) -> None:
        """Tell the session's channels, once they are known."""
        self._ch_names = ch_names

    def swap_adapter(self, folder: Path | None) -> None:
        """Decode with another adapter from a coming epoch on; None: without one."""
        if self._decoder is None:
            self._warn("This session decodes nothing: an adapter changes nothing.")
            return
        self._asked = "" if folder is None else str(folder.resolve())
        self._decoder.load(Load(self._asked, self._ch_names))

    def adapt(self, command: AdaptCommand) -> None:
        """Freeze, resume or reset online alignment from the next epoch on."""
        self._steering.adapt(command)

    def forget_past(self) -> None:
        """Repeat the recorded run no further: the replay has left its order."""
        self._past = Past()
        self._steering.forget()

    def drain(self, timeout: Callable[[], float]) -> None:
        """Wait up to `timeout()` s for the epochs under way; it may become less meanwhile."""
        if self._decoder is None:
            return
        began = time.monotonic()
        while (left := began + timeout() - time.monotonic()) > 0:
            if self._decoder.drain(min(left, 0.1)):
                return

    def close(self) -> None:
        """End the process and every epoch that no answer came for; safe to call twice."""
        if self._decoder is None:
            return
        self._decoder.close()
        with self._lock:
            left = dict(self._cuts)
            self._cuts.clear()
        outcome, reason = self._why_none(
            self._decoder.refusal or "no answer came before the session ended"
        )
        for index, cut in left.items():
            marker = Marker(index, cut.epoch.t_onset, cut.epoch.event)
            self._conclude(Conclusion(refusal(marker, outcome, reason, cut.epoch)))

    # -- epochs (acquisition thread) -----------------------------------------------------------

    def take(
        self, verdict: Verdict, *, arrival: float | None, pulled: float, filtered: float
    ) -> None:
        """Decode the verdict's epoch, or conclude why not."""
        marker, epoch = verdict.marker, verdict.epoch
        decided = self._past.outcomes.get(marker.index)
        if decided == Outcome.FUTURE and verdict.outcome is not Outcome.FUTURE:
            # Recorded before markers waited for a stream that had gone silent.
            self._refuse(marker, Outcome.FUTURE, "as in the recorded run", verdict)
            return
        if epoch is None or verdict.outcome is not Outcome.DECODED:
            self._refuse(marker, verdict.outcome, verdict.reason, verdict)
            return
        if self._decoder is None:
            self._refuse(marker, Outcome.COLLECTED, "", verdict)
            return
        number, steer, change = self._steering.step()
        if change is not None:
            self._note(encode_change(change))
        if decided in WALL_CLOCK_OUTCOMES and marker.index not in self._past.observed:
            self._refuse(marker, Outcome(decided), "as in the recorded run", verdict)
            return
        job = job_of(
            epoch,
            # What moves slowly is drawn from the same noise, else each picture would jump.
            seed=self._config.seed
            if self._config.decoder.smoothing
            else seed_of(self._config.seed, epoch),
            steer=steer,
            draw=decided not in WALL_CLOCK_OUTCOMES,
            control=self.control,
            overrides=None if self._is_live else self._past.overrides.get(marker.index, {}),
            batch=None if self._is_live else self._past.batches.get(marker.index),
        )
        cut = Cut(epoch, arrival, pulled, filtered, time.monotonic(), number, steer.adapter)
        with self._lock:
            self._cuts[marker.index] = cut
        if not self._submit(self._decoder, job):
            with self._lock:
                del self._cuts[marker.index]
            waiting = f"{self._config.decoder.queue_size} epochs were waiting already"
            reason = waiting if self._decoder.ready else f"the decoder was {self._decoder.state}"
            self._refuse(marker, Outcome.OVERLOAD, reason, verdict)

    def _refuse(self, marker: Marker, outcome: Outcome, reason: str, verdict: Verdict) -> None:
        self._conclude(Conclusion(refusal(marker, outcome, reason, verdict.epoch)))

    def _submit(self, decoder: Decoder, job: Job) -> bool:
        if not self._is_live:
            return decoder.submit(job, policy="wait")
        # While it loads, epochs wait like those that come while it draws.
        if decoder.submit(job):
            return True
        # The newest wins, and the one given up is counted.
        old = decoder.take_oldest() if newest_wins(self._config) else None
        if old is None:
            return False
        with self._lock:
            cut = self._cuts.pop(old.index)
        marker = Marker(old.index, old.t_onset, old.event)
        reason = "a newer one took its place"
        self._conclude(Conclusion(refusal(marker, Outcome.OVERLOAD, reason, cut.epoch)))
        return decoder.submit(job)

    # -- answers (decoder's thread) ------------------------------------------------------------

    def _take_answer(self, job: Job, answer: Answer, returned: float) -> None:
        now = self._clock()
        with self._lock:
            cut = self._cuts.get(job.index)
        if cut is None:
            return  # the session has ended meanwhile, and the epoch with it
        observed = answer.observed
        if answer.aged is None or observed:
            self._note_restart(cut, began=answer.began)
        if answer.overload:
            self._end(cut, Outcome.OVERLOAD, answer.overload, observed=observed)
            return
        if answer.aged is not None:
            set_to, limit = self._config.decoder.max_wait or 0.0, self._max_wait
            what = "decoder.max_wait" if limit <= set_to else "one and a half pictures take"
            reason = (
                f"its picture would have come {answer.aged:.1f} s later, more than {what}, "
                f"{limit:.3g} s"
            )
            self._end(cut, Outcome.OVERLOAD, reason, observed=observed)
            return
        if answer.vector is None or answer.pixels is None:
            reason = answer.error or "as in the recorded run"
            self._fail(job, cut, reason, observed=observed)
            return
        self._newest = answer
        spec = self._spec_of(cut.adapter)
        self._note_space(spec)
        if answer.doubt > MUCH:
            self._warn(STRANGER)
        try:
            result = decoded(
                answer,
                job,
                cut,
                config=self._config,
                candidates=self._candidates,
                folder=self._folder,
                spec=spec,
                sampler_sha256=self.ready.sampler_sha256 if self.ready else "",
                recording_sha256=self._recording_sha256() if spec.learnt else "",
                retrieved=self._retrieved(answer.vector, spec),
                repetitions=self._repetitions,
            )
        except PhospheneError as error:
            # An encoder of another gallery costs this picture; not the thread that answers all
            # the others.
            self._fail(job, cut, str(error), observed=observed)
            return
        stages = stages_of(cut, answer, now=now, returned=returned, is_live=self._is_live)
        result = replace(result, stages=stages, returned=returned)
        self._let_go(
            Conclusion(result, answer.vector, observed, answer.overrides, batch=answer.batch)
        )

    def _take_between(self, between: Between) -> None:
        others = (each for each in self._between if each.index == between.index)
        self._between = (*others, between)

    def _retrieved(self, vector: Float32, spec: EncoderSpec) -> tuple[tuple[str, float], ...]:
        """What lies nearest in the store; a damaged one is said once, and costs no picture."""
        try:
            return nearest(vector, spec, self._store)
        except RetrievalError as error:
            self._store = None
            self._warn(f"Nothing is retrieved any more: {error}")
            return ()

    def _note_space(self, spec: EncoderSpec) -> None:
        """Say that nothing is ranked or retrieved, where there are no vectors of its space."""
        candidates, store = self._candidates, self._store
        if store is not None and spec is not NO_SPEC and store.facts.space != spec.space:
            self._warn(
                f"Nothing is retrieved: the decoder's vectors are of "
                f"{spec.space or 'a space of its own'}, the store {store.facts.name} has "
                f"{store.facts.space}."
            )
        if spec.classes and self._config.decoder.rank_classes:
            return
        if spec is not NO_SPEC and candidates.in_space(spec.space) is None:
            self._warn(
                f"Nothing is ranked: the decoder's vectors are of "
                f"{spec.space or 'a space of its own'}, and the gallery {candidates.name} has "
                f"{', '.join(candidates.spaces) or 'no vectors'}."
            )

    def _fail(self, job: Job, cut: Cut, reason: str, *, observed: bool) -> None:
        outcome, reason = self._why_none(reason)
        if not job.draw:
            outcome = Outcome(self._past.outcomes.get(job.index, Outcome.FAILED))
        self._end(cut, outcome, reason, observed=observed)

    def _why_none(self, reason: str) -> tuple[Outcome, str]:
        """How an epoch ends that gives no picture: nothing failed where nothing was loaded yet."""
        if self.refusal or self.ready is not None:
            return Outcome.FAILED, reason
        return Outcome.OVERLOAD, "the decoder was loading"

    def _end(self, cut: Cut, outcome: Outcome, reason: str, *, observed: bool) -> None:
        """Conclude an epoch that gives no picture."""
        epoch = cut.epoch
        marker = Marker(epoch.index, epoch.t_onset, epoch.event)
        self._let_go(Conclusion(refusal(marker, outcome, reason, epoch), observed=observed))

    def _let_go(self, conclusion: Conclusion) -> None:
        """Conclude an epoch that is under way; until here `close` would have ended it."""
        with self._lock:
            del self._cuts[conclusion.result.index]
        self._conclude(conclusion)

    def _note_restart(self, cut: Cut, *, began: bool) -> None:
        """Record that alignment began anew with this epoch: a replay must do so, too."""
        n_restarts = self.n_restarts
        if n_restarts != self._n_restarts or began:
            self._n_restarts = n_restarts
            self._note(encode_change(Change(cut.number, None)))

    def _spec_of(self, key: AdapterKey) -> EncoderSpec:
        """What decodes with an adapter: its own where it was loaded, else the process' first."""
        first = NO_SPEC if self.ready is None else self.ready.spec
        return self._specs.get(key, first)

    # -- adapters (decoder's thread) -----------------------------------------------------------

    def _take_loaded(self, word: Loaded) -> None:
        with self._loaded:
            self._heard[word.folder] = word
            self._loaded.notify_all()
        if word.spec is not None:
            self._specs[AdapterKey(word.folder, word.sha256)] = word.spec
        if word.folder != self._asked:
            return  # a newer wish came, or a replay asked
        self._asked = None
        if word.spec is None:
            active = self.adapter or "the decoder without one"
            self._warn(f"The adapter was not taken: {word.reason} It goes on with {active}.")
            return
        self._steering.use(AdapterKey(word.folder, word.sha256))

    def _require_adapter(self, key: AdapterKey, stop: threading.Event) -> None:
        if self._decoder is None:
            return
        self._heard.pop(key.folder, None)
        self._decoder.load(Load(key.folder))
        with self._loaded:
            while not stop.is_set() and key.folder not in self._heard:
                self._loaded.wait(0.2)
            word = self._heard.get(key.folder)
        if word is None:
            return
        if word.spec is None:
            raise PhospheneError(f"The recorded session changed its adapter: {word.reason}")
        if word.sha256 != key.sha256:
            raise PhospheneError(
                f"The adapter in {key.folder or 'the installed weights'} is not the one that the "
                "recorded session used (another SHA-256): restore it, or replay without it."
            )
