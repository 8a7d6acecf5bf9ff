"""One loaded system that decodes for many sessions: what a replica does, without Ray.

Owns each session's own state beside the shared networks (its alignment, its doubt, its adapter),
and that no person's is ever applied to another: a state belongs to one session, an adapter to the
folder of its own hash. Knows nothing of the wire, of tokens, or of who asks.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.runtime.encoders import Encoders, Steered, check_encoder
from app.runtime.messages import AdapterKey, Answer, Job, Ready, Steer, epoch_of, job_of
from app.runtime.remote.adapters import AdapterFiles
from app.runtime.remote.wire import Served, drawing_of
from configs import SessionConfig
from configs.private import make_private
from models.adapters.archive import LIMITS
from models.adapters.atomic import write_pair
from models.api import EncoderSpec
from models.faults import fault_of
from models.registry import open_encoder
from models.sampling.backends.machine import machine_name
from models.sampling.batches import may_share, sample_together
from models.systems import load_encoder, load_system, noise_epoch
from pipeline.errors import PhospheneError
from pipeline.surrogates import phase_scrambled
from pipeline.values import Embedding, Epoch, Uint8

N_SESSIONS = 1024
"""Sessions whose state stays in memory; the one that was silent longest begins anew."""
N_ADAPTERS = 256
"""Adapters on the replica's disk; the one that was not used longest is deleted."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One epoch to decode, with what the replica may not have seen yet.

    `state` and `n_observed` are of the session's last answer: another replica, or one that was
    started anew, does not have them and begins anew.
    """

    session: str
    config: SessionConfig
    job: Job
    adapter: AdapterFiles | None = None
    state: str = ""
    n_observed: int = 0


class _Person:
    """What follows one session's person."""

    def __init__(self, steered: Steered) -> None:
        self.steered = steered
        self.state = secrets.token_hex(8)
        self.n_observed = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    work: Work
    epoch: Epoch
    person: _Person
    embedding: Embedding
    began: bool
    encode: float


class Replica:
    """One system, loaded once.

    Parameters
    ----------
    config : SessionConfig
        The server's: which system, which generator, where it computes.

    Raises
    ------
    PhospheneError
        It cannot be loaded.
    """

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._system = load_system(config.decoder)
        # The networks behind every session's own alignment.
        self._plain = open_encoder(config.decoder.model_copy(update={"adapter": None}))
        self._people: OrderedDict[str, _Person] = OrderedDict()
        # Removed with the process, and by the system's own habit after a crash.
        self._folder = tempfile.TemporaryDirectory(prefix="phosphene-adapters-")
        self._adapters: OrderedDict[str, Path] = OrderedDict()
        sampler, settled = self._system.sampler, self._system.settled
        self.ready = Ready(
            spec=self._system.encoder.spec,
            sampler_sha256=sampler.spec.sha256,
            device=sampler.spec.device,
            versions=self._system.versions,
            options=self._system.options,
            remarks=self._system.remarks,
            pace=self._system.measure(),
            # Clients' galleries stay with them.
            settled={**drawing_of(config.decoder), **settled, "own_pictures": False},
            machine=machine_name(sampler.spec.device),
        )
        self._warm()

    def _warm(self) -> None:
        """Decode two epochs of noise as a session's: what is imported late is imported now."""
        spec = self._system.encoder.spec
        decoder = self._config.decoder.model_copy(update={"adapter": None, "align": True})
        config = self._config.model_copy(update={"decoder": decoder})
        for rate in (1, 2):  # most headsets have another rate than encoders
            epoch = noise_epoch(spec, oversampling=rate)
            jobs = [job_of(epoch, seed=seed, steer=Steer(frozen=False)) for seed in range(2)]
            self.decode([Work(f"warm-{rate}-{at}", config, job) for at, job in enumerate(jobs)])
        self._people.clear()

    def keep_adapter(self, files: AdapterFiles) -> str:
        """Keep an adapter in the folder of its hash; that folder."""
        found = self._adapters.get(files.sha256)
        if found is None:
            found = Path(self._folder.name) / files.sha256
            make_private(found)
            write_pair(found, *zip(LIMITS, (files.weights, files.manifest), strict=True))
            self._adapters[files.sha256] = found
            while len(self._adapters) > N_ADAPTERS:
                _, old = self._adapters.popitem(last=False)
                for name in LIMITS:
                    (old / name).unlink(missing_ok=True)
                old.rmdir()
        self._adapters.move_to_end(files.sha256)
        return str(found)

    def _folder_of(self, sha256: str, files: AdapterFiles | None) -> str:
        if files is not None:
            return self.keep_adapter(files)
        self._adapters.move_to_end(sha256)
        return str(self._adapters[sha256])

    def check_adapter(
        self, files: AdapterFiles, config: SessionConfig, *, ch_names: tuple[str, ...]
    ) -> EncoderSpec:
        """Load an adapter as a session would, and let go of it again.

        Raises
        ------
        PhospheneError
            It is damaged, of another system, or does not fit the session.
        """
        folder = self.keep_adapter(files)
        decoder = config.decoder.model_copy(update={"adapter": folder})
        encoder = load_encoder(decoder, plain=self._plain)
        check_encoder(encoder, config, folder="the session", ch_names=ch_names)
        return encoder.spec

    def decode(self, works: Sequence[Work]) -> list[Served]:
        """Answer a batch, in its order; what fails is its own answer, and no other's."""
        began = time.monotonic()
        served: list[Served | None] = [None] * len(works)
        encoded: dict[int, _Encoded] = {}
        for at, work in enumerate(works):
            result = self._encode(work)
            if isinstance(result, Served):
                served[at] = result
            else:
                encoded[at] = result
        waited = time.monotonic() - began
        pictures = self._draw(list(encoded.values()))
        drawn = time.monotonic() - began - waited
        for (at, each), picture in zip(encoded.items(), pictures, strict=True):
            others = waited - each.encode
            served[at] = self._served(each, picture, waited=others, sample=drawn)
        return [each for each in served if each is not None]

    def _person(self, work: Work) -> tuple[_Person, bool]:
        """A session's state, and whether it begins here, anew."""
        found = self._people.get(work.session)
        if found is None or (found.state, found.n_observed) != (work.state, work.n_observed):
            decoder = work.config.decoder.model_copy(update={"adapter": None})
            config = work.config.model_copy(update={"decoder": decoder})
            first = load_encoder(decoder, plain=self._plain)
            found = _Person(Steered(Encoders(config, first, plain=self._plain)))
            self._people[work.session] = found
            while len(self._people) > N_SESSIONS:
                self._people.popitem(last=False)
        self._people.move_to_end(work.session)
        return found, found.n_observed == 0

    def _encode(self, work: Work) -> _Encoded | Served:
        """Embed one epoch; its answer already where it needs no picture, or fails."""
        started = time.monotonic()
        job, person, began = work.job, None, False
        try:
            sha256 = job.steer.adapter.sha256
            if sha256:
                if work.adapter is None and sha256 not in self._adapters:
                    return Served(Answer(job.index), needs_adapter=True)
                key = AdapterKey(self._folder_of(sha256, work.adapter), sha256)
                job = replace(job, steer=replace(job.steer, adapter=key))
            person, began = self._person(work)
            epoch = epoch_of(job)
            encoder = person.steered.take(job.steer)
            person.steered.observe(epoch)
            person.n_observed += 1
            if not job.draw:
                return self._of_person(Answer(job.index, observed=True), person, began)
            embedding = encoder.encode(epoch)
        except Exception as error:  # noqa: BLE001 - the thread's top loop: every failure is told
            return self._failed(job, error, person, began)
        took = time.monotonic() - started
        return _Encoded(replace(work, job=job), epoch, person, embedding, began, took)

    def _draw(self, encoded: Sequence[_Encoded]) -> list[tuple[Uint8, tuple[int, int]] | Exception]:
        """Draw together; where that fails, one by one, so that each has its own failure."""
        embeddings = [each.embedding for each in encoded]
        sampler = self._system.sampler
        # An engine is built for one picture at a time; a batch would leave it.
        if self._system.engine is None and may_share(sampler, embeddings):
            try:
                seeds = [each.work.job.seed for each in encoded]
                return list(sample_together(sampler, embeddings, seeds=seeds))
            except (PhospheneError, RuntimeError):
                pass
        found: list[tuple[Uint8, tuple[int, int]] | Exception] = []
        for each in encoded:
            try:
                found += sample_together(sampler, [each.embedding], seeds=[each.work.job.seed])
            except Exception as error:  # noqa: BLE001 - the thread's top loop: each is told
                found.append(error)
        return found

    def _served(
        self,
        each: _Encoded,
        picture: tuple[Uint8, tuple[int, int]] | Exception,
        *,
        waited: float,
        sample: float,
    ) -> Served:
        job, person = each.work.job, each.person
        if isinstance(picture, Exception):
            return self._failed(job, picture, person, each.began)
        control: Uint8 | None = None
        if job.control:
            try:
                encoder = person.steered.take(job.steer)
                scrambled = encoder.encode(phase_scrambled(each.epoch, seed=job.seed))
                sampler = self._system.sampler
                control = np.array(sampler.sample(scrambled, seed=job.seed).pixels)
            except Exception as error:  # noqa: BLE001 - the thread's top loop: each is told
                return self._failed(job, error, person, each.began)
        answer = Answer(
            index=job.index,
            vector=np.array(each.embedding.vector),
            pixels=picture[0],
            control_pixels=control,
            observed=True,
            alignment=person.steered.alignment,
            drift=person.steered.drift,
            doubt=person.steered.doubt,
            confidence=each.embedding.confidence,
            classes=each.embedding.classes,
            batch=picture[1],
        )
        return replace(
            self._of_person(answer, person, each.began),
            waited=max(0.0, waited),
            encode=each.encode,
            sample=sample,
        )

    def _failed(self, job: Job, error: Exception, person: _Person | None, began: bool) -> Served:
        words = str(error) if isinstance(error, PhospheneError) else type(error).__name__
        answer = Answer(
            job.index,
            observed=person is not None and person.n_observed > 0,
            error=f"{type(error).__name__}: {words}",
            fault=fault_of(error),
        )
        return Served(answer) if person is None else self._of_person(answer, person, began)

    def _of_person(self, answer: Answer, person: _Person, began: bool) -> Served:
        return Served(answer, began=began, state=person.state, n_observed=person.n_observed)
