"""Several pictures drawn together, and one drawn again as it was in a batch.

Owns which pictures share a batch and what place each had. Sums of another order give another last
bit, so a picture of a batch is repeated by a batch of its size: the places beside it hold itself.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.api import Sampler, SamplesBatches
from pipeline.values import Embedding, Uint8

Batch = tuple[int, int]
"""How many were drawn together, and which of them it was, counted from 0."""


LARGEST = 256
"""Pictures of one batch; a recording that says more says nothing."""


def read_batch(value: object) -> Batch | None:
    """Read what a recording says of a picture's batch; None where it was drawn alone."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    n, at = value
    if type(n) is not int or type(at) is not int or not 0 <= at < n <= LARGEST:
        return None
    return n, at


def may_share(sampler: Sampler, embeddings: Sequence[Embedding]) -> bool:
    """Whether these can be drawn together."""
    return (
        len(embeddings) > 1
        and isinstance(sampler, SamplesBatches)
        and len({each.vector.shape for each in embeddings}) == 1
        and all(each.condition is None for each in embeddings)
    )


def sample_together(
    sampler: Sampler, embeddings: Sequence[Embedding], *, seeds: Sequence[int]
) -> list[tuple[Uint8, Batch]]:
    """Draw several, together where that can be; each with the batch that it was drawn in."""
    if isinstance(sampler, SamplesBatches) and may_share(sampler, embeddings):
        n = len(embeddings)
        pixels = sampler.sample_batch(embeddings, seeds=seeds)
        return [(np.array(each), (n, at)) for at, each in enumerate(pixels)]
    return [
        (np.array(sampler.sample(embedding, seed=seed).pixels), (1, 0))
        for embedding, seed in zip(embeddings, seeds, strict=True)
    ]


def sample_as(sampler: Sampler, embedding: Embedding, *, seed: int, batch: Batch | None) -> Uint8:
    """Draw one as it was drawn in `batch` (None: alone), to the bit."""
    n, at = (1, 0) if batch is None else batch
    if n > 1 and isinstance(sampler, SamplesBatches) and embedding.condition is None:
        return np.array(sampler.sample_batch([embedding] * n, seeds=[seed] * n)[at])
    return np.array(sampler.sample(embedding, seed=seed).pixels)
