"""What free-running windows show together: an exponential mean of embeddings and evidence.

Owns the mean and when it begins anew: with another adapter, after a reset of the alignment, after
a break in the stream. A session is one person's, and each has its own process, so that nothing of
one person is ever in another's pictures. Knows nothing of processes or of drawing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.runtime.messages import AdapterKey, Steer
from pipeline.values import Embedding, Float32

BREAK = 5.0
"""After a longer time without a window the mean begins anew, s."""


class Smoothing:
    """Means of one decoder; what was seen long ago weighs `keep` to the power of its age.

    It begins from nothing: a vector's length is what is known, so that the first windows are drawn
    as fog that clears, and windows that contradict one another stay fog.

    Parameters
    ----------
    keep : float
        Share of the past in each mean, 0 to below 1; 0: each window by itself.
    """

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._person: tuple[AdapterKey, int] | None = None
        self._at = 0.0
        self._sums: dict[str, Float32] = {}
        self._mean_of: Embedding | None = None
        self.before: Embedding | None = None
        """The mean without the newest window; None: it began with that, or there is no mean."""

    def take(self, embedding: Embedding, steer: Steer) -> Embedding:
        """Take in a window's embedding; return the mean, as its embedding.

        `confidence` is that of the mean's length: the mean of what was stated, less what the
        windows contradict one another by.
        """
        if not self._keep:
            return embedding
        person = (steer.adapter, steer.n_resets)
        if person != self._person or abs(embedding.t_onset - self._at) > BREAK:
            self._sums, self._mean_of = {}, None
        self._person, self._at = person, embedding.t_onset
        vector = self._mean("vector", embedding.vector)
        length = self._mean("length", _lengths(embedding.vector))
        confidence, condition = embedding.confidence, embedding.condition
        if confidence is not None:
            stated = self._mean("confidence", np.array([confidence], np.float32))
            agreement = float(_lengths(vector)[0]) / max(float(length[0]), 1e-12)
            confidence = min(1.0, max(0.0, float(stated[0]) * min(1.0, agreement)))
        if condition is not None:
            condition = self._mean("condition", condition)
        self.before, self._mean_of = (
            self._mean_of,
            replace(
                embedding,
                vector=vector,
                confidence=confidence,
                condition=condition,
                classes=self._classes(embedding.classes),
            ),
        )
        return self._mean_of

    def _classes(self, classes: tuple[float, ...]) -> tuple[float, ...]:
        """The mean of probabilities; what nothing is known of is shared evenly."""
        if not classes:
            return ()
        mean = self._mean("classes", np.array(classes, np.float32))
        return tuple((mean + (1.0 - mean.sum()) / len(classes)).tolist())

    def _mean(self, name: str, new: Float32) -> Float32:
        old = self._sums.get(name)
        fits = old is not None and old.shape == new.shape
        mean = (1.0 - self._keep) * new + (self._keep * old if fits and old is not None else 0.0)
        self._sums[name] = mean.astype(np.float32)
        return self._sums[name]


def mean_at(part: float, before: Embedding, after: Embedding) -> Embedding:
    """The mean with a part (0 to 1) of the newest window, between the one before and all of it."""
    condition = after.condition
    if condition is not None and before.condition is not None:
        condition = _mixed(part, before.condition, condition)
    return replace(after, vector=_mixed(part, before.vector, after.vector), condition=condition)


def _mixed(part: float, before: Float32, after: Float32) -> Float32:
    if before.shape != after.shape:
        return after
    return (before + np.float32(part) * (after - before)).astype(np.float32)


def _lengths(vector: Float32) -> Float32:
    return np.array([np.linalg.norm(vector)], np.float32)
