"""Which pictures of a gallery stand on the grid, and what a person is asked to look at.

Owns the seeded choices. Knows nothing of windows or streams.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.errors import AppError
from configs import SessionConfig
from models.api import Sampler
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Float32


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the targets are, and what draws.

    Attributes
    ----------
    labels : tuple of str
        Of the gallery's pictures, one a target.
    vectors : ndarray, shape (n_targets, n_features), float32
    sampler : Sampler
    seed : int
        The same for every picture of a session, so that a picture condenses instead of jumping.
    """

    labels: tuple[str, ...]
    vectors: Float32
    sampler: Sampler
    seed: int


def upright_gallery(config: SessionConfig, sampler: Sampler) -> Gallery:
    """Open the session's gallery in the generator's space, without its upside-down pictures."""
    gallery = load_gallery(config.gallery).demand(sampler.spec.space, what="the generator")
    return gallery.subset(kind="upright")


def choose_pictures(config: SessionConfig, sampler: Sampler, n_targets: int) -> Pictures:
    """Choose as many pictures as there are targets; the seed repeats the choice."""
    upright = upright_gallery(config, sampler)
    if len(upright) < n_targets:
        raise AppError(
            f"The gallery has {len(upright)} pictures, expected {n_targets}: choose another "
            "with --gallery, or fewer --targets."
        )
    rng = np.random.default_rng([config.seed, 0xA77E])
    rows = np.sort(rng.choice(len(upright), n_targets, replace=False))
    return pictures_of(upright, rows.tolist(), sampler, config.seed)


def pictures_of(gallery: Gallery, rows: Sequence[int], sampler: Sampler, seed: int) -> Pictures:
    """Take these rows of a gallery."""
    labels = tuple(gallery.labels[row] for row in rows)
    return Pictures(labels, gallery.embeddings[list(rows)], sampler, seed)


def cues(seed: int, n_targets: int) -> Iterator[int]:
    """Ask for the targets in shuffled rounds."""
    rng = np.random.default_rng([seed, 0xC0E5])
    rounds = (rng.permutation(n_targets).tolist() for _ in itertools.count())
    return itertools.chain.from_iterable(rounds)
