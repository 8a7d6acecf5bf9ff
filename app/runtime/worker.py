"""The decoder process: the only one with torch.

Owns the loop that turns epochs into pictures behind a pipe. Knows nothing of streams, files or
windows. It is spawned, so that a crash, a hang or an out-of-memory there costs pictures, never
samples; `app.runtime.decoder` restarts it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import numpy as np

from app.between import Between
from app.runtime.encoders import Encoders, Steered
from app.runtime.messages import (
    Answer,
    Job,
    Load,
    Loaded,
    Loading,
    Ready,
    Refused,
    Stepped,
    Switched,
    epoch_of,
)
from app.runtime.smoothing import Smoothing, mean_at
from configs import SessionConfig
from models.api import Encoder, SamplesBatches
from models.faults import fault_of
from models.sampling.backends.machine import machine_name
from models.sampling.backends.spawn import process_time
from models.sampling.batches import Batch, may_share, sample_as, sample_together
from models.sampling.watching import watched
from pipeline.errors import PhospheneError
from pipeline.surrogates import phase_scrambled
from pipeline.values import Embedding, Epoch, Uint8

if TYPE_CHECKING:
    from models.engines import Found
    from models.systems import System


STEP_EVERY = 0.2
"""Least time between two signs of life of a picture, s: a quick one gives none."""
_TELL_EVERY = 1.0
"""How often a sign of life is given while the models are loaded, s."""
SHARE = 0.8
"""Of the time between two windows, what pictures on the way may fill with the window's own."""
_LOOK_EVERY = 0.2
"""How often an idle process looks whether the engine is built that it waits for, s."""


def main(connection: Connection, config: SessionConfig) -> None:
    """Load the models, then answer jobs until the pipe closes or `None` comes."""
    sending = threading.Lock()

    def tell(word: Stepped | Switched) -> None:
        with sending:
            connection.send(word)

    try:
        with telling(connection):
            worker = Worker(config, tell=tell)
    except PhospheneError as error:
        connection.send(Refused(str(error)))
        return
    connection.send(worker.ready)
    worker.settle()
    if worker.waits_for_engine:
        threading.Thread(target=worker.build, name="engine", daemon=True).start()

    def load(request: Load) -> None:
        loaded = worker.load(request)
        with sending:
            connection.send(loaded)

    while True:
        try:
            while worker.waits_for_engine and not connection.poll(_LOOK_EVERY):
                worker.switch()
            request = connection.recv()
        except EOFError:
            return
        if request is None:
            return
        if isinstance(request, Load):
            # Beside the encoder that goes on decoding; a daemon, so that it never delays the end.
            threading.Thread(target=load, args=(request,), name="adapter", daemon=True).start()
            continue
        jobs = request if isinstance(request, tuple) else (request,)
        for answer in worker.decode_together(jobs):
            with sending:
                connection.send(answer)
        for between in worker.between():
            with sending:
                connection.send(between)
            if connection.poll():
                break  # an epoch waits


def stand_by(connection: Connection, config: SessionConfig) -> None:
    """Import what `main` will import, which takes most of its start; begin when anything comes.

    The imports run in a thread that lets the decoder that works go first.
    """
    thread = threading.Thread(target=_import, args=(config,), name="imports", daemon=True)
    thread.start()
    try:
        connection.recv()
    except (EOFError, OSError):
        return
    with telling(connection):
        thread.join()
    main(connection, config)


def _import(config: SessionConfig) -> None:
    if sys.platform == "linux":  # elsewhere a process's priority is not a thread's
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + 5)
    from models.systems import import_system

    import_system(config.decoder)


@contextmanager
def telling(connection: Connection) -> Iterator[None]:
    """Tell every second that this process computes, for a parent who waits for it to load."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(_TELL_EVERY):
            try:
                connection.send(Loading(process_time()))
            except OSError:
                return  # nobody waits any more

    thread = threading.Thread(target=tell, name="loading", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # The pipe is the loop's alone from here on.
        over.set()
        thread.join()


class Worker:
    """One decoding system and the encoders of the adapters that were asked for.

    Parameters
    ----------
    config : SessionConfig
    tell : callable
        Takes a sign of life after a step of a picture, but no more than one in `STEP_EVERY` s.

    Raises
    ------
    PhospheneError
        A weight is missing or damaged, or the adapter does not fit the session.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        tell: Callable[[Stepped | Switched], None] = lambda _: None,
    ) -> None:
        from models.systems import check_window, load_system

        self._config = config
        system: System = load_system(config.decoder, gallery=config.gallery)
        check_window(system.encoder, tmin=config.epochs.tmin, tmax=config.epochs.tmax)
        self._system = system
        self._sampler = system.sampler
        self._built: Found | None = None
        self._encoders = Encoders(config, system.encoder)
        self._pace = system.measure()
        self._tell, self._told_at = tell, 0.0
        self._steered = Steered(self._encoders)
        self._smoothing = Smoothing(config.decoder.smoothing)
        self._way: tuple[Job, Embedding, Embedding] | None = None
        self.ready = Ready(
            spec=system.encoder.spec,
            sampler_sha256=system.sampler.spec.sha256,
            device=system.sampler.spec.device,
            versions=system.versions,
            options=system.options,
            remarks=(*system.remarks, *self._batch_remarks()),
            pace=self._pace,
            settled=system.settled,
            can_save_memory=system.can_save_memory,
            machine=machine_name(system.sampler.spec.device),
        )

    def _batch_remarks(self) -> tuple[str, ...]:
        most = self._config.decoder.max_batch
        if most == 1 or (isinstance(self._sampler, SamplesBatches) and not self._system.engine):
            return ()
        engine, name = self._system.engine, self._sampler.spec.name
        why = f"{name} draws each alone" if engine is None else f"{engine.backend} draws each alone"
        return (f"decoder.max_batch = {most} changes nothing: {why}.",)

    @property
    def waits_for_engine(self) -> bool:
        """Whether eager draws until an engine is built."""
        return self._system.due is not None

    def build(self) -> None:
        """Build the engine that is waited for; for a thread of its own, which it takes long."""
        from models.engines import Found

        try:
            self._built = self._system.build_engine()
        except Exception as error:  # noqa: BLE001 - the thread's top: every failure is told
            self._built = Found(None, (f"{type(error).__name__}: {error}",))

    def switch(self) -> None:
        """Draw by the engine that was built meanwhile, where it is there; between two pictures."""
        found, system = self._built, self._system
        if found is None or system.due is None:
            return
        if found.engine is None:
            self._system = replace(system, due=None)
            reason = " ".join(found.remarks)
            self._tell(Switched(f"The engine could not be built: eager goes on. {reason}".strip()))
            return
        from models.engines import TROUBLE

        try:
            switched = system.use(found.engine)
            before, self._pace = self._pace, switched.measure()
        except TROUBLE as error:  # checked where it was built, and yet: out of memory, say
            self._system = replace(system.use(None), due=None)
            words = f"The engine broke: eager goes on. {type(error).__name__}: {error}"
            self._tell(Switched(" ".join(words.split())))
            return
        self._system = switched
        drawn = [1000 * (pace.picture - pace.encode) for pace in (before, self._pace)]
        words = (
            f"Pictures are drawn by {found.engine.backend} from here on "
            f"({drawn[1]:.0f} ms; eager: {drawn[0]:.0f} ms)."
        )
        settled = {key: self._system.settled[key] for key in ("backend", "dtype")}
        self._tell(Switched(words, settled, self._system.versions, self._pace))

    def settle(self) -> None:
        """Do once what the first real epoch would wait for and loading need not: resampling.

        Most headsets have another rate than encoders; what resamples is imported when it is used.
        """
        from models.systems import noise_epoch

        encoder = self._encoders.first
        with suppress(PhospheneError):  # one that takes no other rate needs nothing
            encoder.encode(noise_epoch(encoder.spec, oversampling=2))

    def forget(self) -> None:
        """Let what follows the person begin anew with the next epoch."""
        self._steered = Steered(self._encoders)

    def load(self, request: Load) -> Loaded:
        """Load an adapter beside the others; never raises."""
        try:
            key, spec = self._encoders.load(request.folder, ch_names=request.ch_names)
        except PhospheneError as error:
            return Loaded(request.folder, reason=str(error))
        except Exception as error:  # noqa: BLE001 - the thread's top: every failure is told
            return Loaded(request.folder, reason=f"{type(error).__name__}: {error}")
        return Loaded(request.folder, key.sha256, spec)

    def decode(self, job: Job) -> Answer:
        """Answer one job; never raises."""
        return self.decode_together((job,))[0]

    def decode_together(self, jobs: Sequence[Job]) -> list[Answer]:
        """Answer several jobs, encoded one after the other and drawn in one call; never raises."""
        self.switch()
        self._way = None
        made = [self._encode(job) for job in jobs]
        encoded = [each for each in made if isinstance(each, _Encoded)]
        shared = self._share(encoded)
        pictures = [None] * len(encoded) if shared is None else shared
        drawn = iter([self._finish(*each) for each in zip(encoded, pictures, strict=True)])
        answers = [next(drawn) if isinstance(each, _Encoded) else each for each in made]
        # A replay says what it is to be drawn with, and nobody watches it.
        if (
            len(jobs) == len(encoded) == 1
            and jobs[0].overrides is None
            and answers[0].pixels is not None
        ):
            before, after = self._smoothing.before, encoded[0].embedding
            self._way = None if before is None else (jobs[0], before, after)
        return answers

    def between(self) -> Iterator[Between]:
        """Draw pictures on the way to the newest answer's, one after the other."""
        if self._way is None or self._config.decoder.remote is not None:
            return
        (job, before, after), self._way = self._way, None
        n = self._n_between
        for i in range(1, n + 1):
            at = i / (n + 1)
            embedding = mean_at(at, before, after)
            try:
                pixels = sample_as(self._sampler, embedding, seed=job.seed, batch=None)
            except (PhospheneError, RuntimeError):
                return  # the next window's picture fails alike, and is told
            yield Between(job.index, at, pixels)

    @property
    def _n_between(self) -> int:
        """How many pictures fit between two windows, with a rest for all else."""
        pace, step = self._pace, self._config.epochs.step
        one = pace.picture - pace.encode
        fitting = (SHARE * step - pace.picture) / one if one > 0 else 0.0
        return max(0, min(self._config.decoder.between, int(fitting)))

    def _encode(self, job: Job) -> _Encoded | Answer:
        """Encode a job's epoch; an answer where there is nothing to draw."""
        started, observed = time.monotonic(), False
        try:
            epoch = epoch_of(job)
            encoder = self._steered.take(job.steer)
            self._steered.observe(epoch)
            observed = True
            if not job.draw:
                return Answer(index=job.index, observed=True)
            embedding = self._smoothing.take(encoder.encode(epoch), job.steer)
        except Exception as error:  # noqa: BLE001 - the thread's top loop: every failure is told
            return _failure(job, error, observed=observed)
        answer = Answer(
            index=job.index,
            vector=np.array(embedding.vector),
            started=started,
            encoded=time.monotonic(),
            observed=True,
            alignment=self._steered.alignment,
            drift=self._steered.drift,
            doubt=self._steered.doubt,
            confidence=embedding.confidence,
            classes=embedding.classes,
        )
        return _Encoded(job, epoch, encoder, embedding, answer)

    def _share(self, encoded: Sequence[_Encoded]) -> list[tuple[Uint8, Batch]] | None:
        """Draw several together; None where that cannot be, or fails: each is drawn alone then."""
        embeddings = [each.embedding for each in encoded]
        # An engine is built for one picture at a time; a batch would leave it.
        if self._system.engine is not None or not may_share(self._sampler, embeddings):
            return None
        seeds = [each.job.seed for each in encoded]
        with suppress(PhospheneError, RuntimeError), watched(self._watch(encoded[0].job)):
            return sample_together(self._sampler, embeddings, seeds=seeds)
        return None

    def _finish(self, each: _Encoded, picture: tuple[Uint8, Batch] | None) -> Answer:
        """Answer with a picture that was drawn with others, or (None) draw it."""
        job, control = each.job, None
        try:
            pixels, batch = (self._draw(each.embedding, job), None) if picture is None else picture
            sampled = time.monotonic()
            if job.control:
                scrambled = each.encoder.encode(phase_scrambled(each.epoch, seed=job.seed))
                control = self._draw(scrambled, replace(job, batch=None))
        except Exception as error:  # noqa: BLE001 - the thread's top loop: every failure is told
            return _failure(job, error, observed=True)
        return replace(
            each.answer, pixels=pixels, sampled=sampled, control_pixels=control, batch=batch
        )

    def _draw(self, embedding: Embedding, job: Job) -> Uint8:
        with watched(self._watch(job)):
            return sample_as(self._sampler, embedding, seed=job.seed, batch=job.batch)

    def _watch(self, job: Job) -> Callable[[int, int], bool]:
        """Give signs of life while a job's picture is drawn."""
        pace, run = self._pace, -1

        def watch(taken: int, n: int) -> bool:
            nonlocal run
            run += taken == 0
            now = time.monotonic()
            if now - self._told_at >= STEP_EVERY:
                self._told_at = now
                is_counted = run == pace.run and n == pace.n_steps
                self._tell(Stepped(job.index, taken if is_counted else None))
            return False

        self._told_at = time.monotonic()
        return watch


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """A job whose epoch is encoded, and its answer but for the picture."""

    job: Job
    epoch: Epoch
    encoder: Encoder
    embedding: Embedding
    answer: Answer


def _failure(job: Job, error: Exception, *, observed: bool) -> Answer:
    words = f"{type(error).__name__}: {error}"
    return Answer(job.index, observed=observed, error=words, fault=fault_of(error))
