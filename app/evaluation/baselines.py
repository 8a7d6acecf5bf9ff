"""What a session's own generator draws without its brain: the figures that a decoder has to beat.

Owns three kinds of embedding, each drawn by the session's system and settings: of noise in the
place of the recording, of a random direction (the generator alone), and the mean of what the
session decoded. An adapter changes none of them and is not loaded. Knows nothing of measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from app.errors import AppError
from app.evaluation.session_facts import embeddings_of
from app.evaluation.sets import SessionPictures
from app.generation.items import session_of
from app.runtime.folder import RECORDING
from pipeline.values import Embedding, Float32, Uint8

if TYPE_CHECKING:
    from models.systems import System

MOST = 100
"""Items that are drawn anew for each baseline at most."""
NOISE, RANDOM, MEAN = "noise in the brain's place", "generator alone", "mean embedding"


class DrawnAnew:
    """Pictures of one baseline, beside what some items of a session showed."""

    n_copies = 1

    def __init__(
        self,
        pictures: SessionPictures,
        items: Sequence[int],
        draw: Callable[[int], Uint8],
        *,
        name: str,
    ) -> None:
        self.name = name
        self.stimuli = [pictures.stimuli[item] for item in items]
        self._pictures = pictures
        self._draw = lru_cache(1)(draw)  # the first one is asked for twice

    def shown(self, key: str) -> Uint8:
        """Picture of a label."""
        return self._pictures.shown(key)

    def drawn(self, item: int, copy: int) -> Uint8:  # noqa: ARG002 - one drawing each
        """Drawing of the baseline."""
        return self._draw(item)


def session_baselines(
    pictures: SessionPictures, items: Sequence[int], *, seed: int = 0
) -> Mapping[str, DrawnAnew]:
    """Draw what the session's generator makes without its brain.

    Parameters
    ----------
    items : sequence of int
        Which of the pictures' items the drawings stand beside, `MOST` of them at most.

    Raises
    ------
    PhospheneError
        The session's settings are gone, or its system cannot be loaded.
    """
    from models.systems import load_system, noise_epoch

    folder = pictures.record.folder
    config = session_of(folder)
    if config is None:
        raise AppError(f"{folder} has no session.toml, expected one: --baselines loads its system.")
    system = load_system(config.decoder, gallery=config.gallery)
    items = list(items)[:MOST]
    rng = np.random.default_rng([seed, 109])
    noise = [
        system.encoder.encode(noise_epoch(system.encoder.spec, seed=seed + k))
        for k in range(len(items))
    ]
    first = noise[0]
    directions = rng.standard_normal((len(items), *first.vector.shape)).astype(np.float32)
    length = _length_of(pictures, first)
    made: dict[str, list[Embedding]] = {
        NOISE: noise,
        RANDOM: [
            _of_vector(first, each * np.float32(length / max(float(np.linalg.norm(each)), 1e-12)))
            for each in directions
        ],
    }
    mean = _mean(pictures, first)
    if mean is not None:
        made[MEAN] = [_of_vector(first, mean)] * len(items)
    return {
        name: DrawnAnew(pictures, items, _drawing(system, embeddings, seed), name=name)
        for name, embeddings in made.items()
    }


def _drawing(system: System, embeddings: Sequence[Embedding], seed: int) -> Callable[[int], Uint8]:
    return lambda k: system.sampler.sample(embeddings[k], seed=seed + k).pixels


def _of_vector(like: Embedding, vector: Float32) -> Embedding:
    return replace(like, vector=vector, condition=None, confidence=None, classes=())


def _vectors(pictures: SessionPictures, like: Embedding) -> list[Float32]:
    """What the session decoded, in the shape that its generator takes; empty: not recorded."""
    recording = pictures.record.folder / RECORDING
    if not recording.is_file():
        return []
    found = embeddings_of(recording, pictures.events).values()
    return [each.reshape(like.vector.shape) for each in found if each.size == like.vector.size]


def _mean(pictures: SessionPictures, like: Embedding) -> Float32 | None:
    vectors = _vectors(pictures, like)
    return np.mean(vectors, axis=0, dtype=np.float32) if vectors else None


def _length_of(pictures: SessionPictures, like: Embedding) -> float:
    """Usual length of the session's vectors; of what noise gives where none was recorded."""
    vectors = _vectors(pictures, like) or [like.vector]
    return float(np.median([np.linalg.norm(each) for each in vectors]))
