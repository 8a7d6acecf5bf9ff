"""Draws what is known of a look: by the app's decoder, apart or in this process.

Owns both ways and what a picture of a look is. Apart, the newest that is only to be shown takes the
place of what waits; what is asked for is waited for. Both load the system `attention` by the
session's settings, with the same engine: a replay in this process draws what the window drew.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from app.runtime.decoder import Decoder
from app.runtime.messages import Answer, Job, Overrides, job_of
from configs import SessionConfig
from models.attend.encoder import SYSTEM_NAME, evidence_epoch
from pipeline.errors import PhospheneError
from pipeline.values import Epoch, Float32, Float64, Uint8

if TYPE_CHECKING:
    from models.api import Sampler
    from models.systems import System

START_TIMEOUT = 600.0
"""Longest time until the models are loaded, s."""
TIMEOUT = 60.0
"""Longest time that one picture is waited for, s."""


class DrawingError(PhospheneError):
    """There is no picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of a look: probability of each picture, by label.

    `number` of the look in its session, `t_onset` on the LSL clock, s; `seed` of the picture.
    `is_look`: of a look; a grid's own pictures are drawn as well.
    """

    posterior: Float64
    labels: Sequence[str]
    number: int
    t_onset: float
    seed: int
    is_look: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A look's picture, the vector that it was drawn of, and how sure that is."""

    vector: Float32
    confidence: float
    pixels: Uint8


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A picture that came back; `at` in seconds of `time.monotonic`."""

    number: int
    pixels: Uint8
    confidence: float
    at: float


class Draws(Protocol):
    """Whatever draws looks."""

    @property
    def space(self) -> str:
        """Of the vectors."""
        ...

    @property
    def settled(self) -> Overrides:
        """Device, back-end and type by name, as settings of `decoder`."""
        ...

    def draw(self, known: Known) -> Picture:
        """Draw, and wait for it; raises `PhospheneError`."""
        ...

    def draw_prompt(self, prompt: str, known: Known) -> Uint8 | None:
        """Draw words by a generator that was chosen and takes them, else None.

        The vector of `known` acts beside them. Raises `PhospheneError`.
        """
        ...


def decoding(config: SessionConfig) -> SessionConfig:
    """Settings of what draws: the gallery is its weights, an adapter reads before it."""
    decoder = config.decoder
    update = {"adapter": None, "policy": "newest", "weights": config.gallery}
    return config.model_copy(update={"decoder": decoder.model_copy(update=update)})


class Here:
    """Draws in this process.

    Parameters
    ----------
    config : SessionConfig
        One of before this was a system (`decoder.system` is another) draws the mean of the
        pictures' vectors as it did then.
    """

    def __init__(self, config: SessionConfig) -> None:
        from models.systems import load_sampler, load_system

        self._config = config
        self._system: System | None = None
        self._sampler: Sampler
        if config.decoder.system == SYSTEM_NAME:
            self._system = load_system(decoding(config).decoder, gallery=config.gallery)
            self._sampler = self._system.sampler
        else:
            self._sampler = load_sampler(config.decoder)

    @property
    def space(self) -> str:
        """Of the vectors."""
        return self._sampler.spec.space

    @property
    def settled(self) -> Overrides:
        """Device, back-end and type by name."""
        return {} if self._system is None else self._system.settled

    def draw(self, known: Known) -> Picture:
        """Draw."""
        from models.attend.embedding import embed
        from pipeline.gallery import load_gallery

        if self._system is not None:
            embedding = self._system.encoder.encode(_epoch(known))
        else:
            gallery = load_gallery(self._config.gallery).demand(self.space, what="the generator")
            vectors = gallery.embeddings[[gallery.index(label) for label in known.labels]]
            embedding = embed(known.posterior, vectors, index=known.number, t_onset=known.t_onset)
        pixels = self._sampler.sample(embedding, seed=known.seed).pixels
        return Picture(embedding.vector, float(embedding.confidence or 0.0), pixels)

    def draw_prompt(self, prompt: str, known: Known) -> Uint8 | None:
        """Draw words."""
        from models.api import DrawsPrompts

        if self._system is None or not isinstance(self._sampler, DrawsPrompts):
            return None
        embedding = self._system.encoder.encode(_epoch(known))
        return self._sampler.draw_prompt(prompt, embedding, seed=known.seed)


class Apart:
    """Draws in the decoder's process; safe from any thread.

    Parameters
    ----------
    config : SessionConfig

    Raises
    ------
    DrawingError
        The models cannot be loaded.
    """

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self.newest: Drawn | None = None
        """The newest picture of a look."""
        # Guards what is wanted and found; notified when a picture comes back.
        self._back = threading.Condition()
        self._n_sent = 0
        self._wanted: dict[int, Picture | str | None] = {}
        self._no_looks: set[int] = set()
        self._decoder = Decoder(decoding(config), on_answer=self._take)
        self._decoder.start()
        self._decoder.wait_ready(START_TIMEOUT)
        ready = self._decoder.ready
        if ready is None or self._decoder.refusal:
            self._decoder.close()
            raise DrawingError(self._decoder.refusal or "The decoder's process does not answer.")
        self.space, self.settled = ready.spec.space, ready.settled

    def show(self, known: Known) -> None:
        """Draw this next, in place of whatever waits; `newest` will be it. Returns at once."""
        with self._back:
            if any(found is None for found in self._wanted.values()):
                return
            self._n_sent += 1
            self._decoder.take_oldest()
            self._decoder.submit(_job(known, self._n_sent))

    def draw(self, known: Known) -> Picture:
        """Draw, and wait for it.

        Raises
        ------
        DrawingError
            It cannot be drawn, or takes too long.
        """
        with self._back:
            self._n_sent += 1
            number = self._n_sent
            self._wanted[number] = None
            if not known.is_look:
                self._no_looks.add(number)
            self._decoder.take_oldest()
        is_taken = self._decoder.submit(_job(known, number), policy="wait")
        with self._back:
            timeout = TIMEOUT if is_taken else 0.0
            self._back.wait_for(lambda: self._wanted[number] is not None, timeout)
            found = self._wanted.pop(number)
            self._no_looks.discard(number)
        if not isinstance(found, Picture):
            raise DrawingError(found or self._decoder.refusal or "The decoder gave no picture.")
        return found

    def draw_prompt(self, prompt: str, known: Known) -> Uint8 | None:
        """Draw words, in a process of its own: it has the text encoders, this one's gave them up.

        Raises
        ------
        DrawingError
            It cannot be drawn.
        """
        if self._config.decoder.generator is None:
            return None
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            drawn = pool.submit(_draw_prompt, self._config, prompt, known).result()
        if isinstance(drawn, str):
            raise DrawingError(drawn)
        return drawn

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._decoder.close()

    def _take(self, job: Job, answer: Answer, returned: float) -> None:
        """Take an answer, in the decoder's thread."""
        found: Picture | str = answer.error or "The picture came too late."
        if answer.pixels is not None and answer.vector is not None:
            found = Picture(answer.vector, float(answer.confidence or 0.0), answer.pixels)
        with self._back:
            if job.index in self._wanted:
                self._wanted[job.index] = found
            if isinstance(found, Picture) and job.index not in self._no_looks:
                self.newest = Drawn(job.index, found.pixels, found.confidence, returned)
            self._back.notify_all()


def _draw_prompt(config: SessionConfig, prompt: str, known: Known) -> Uint8 | str | None:
    """Draw words, in a process of its own; text: what was wrong."""
    try:
        return Here(config).draw_prompt(prompt, known)
    except PhospheneError as error:
        return str(error)


def _epoch(known: Known) -> Epoch:
    return evidence_epoch(known.posterior, known.labels, index=known.number, t_onset=known.t_onset)


def _job(known: Known, number: int) -> Job:
    return replace(job_of(_epoch(known), seed=known.seed), index=number)
