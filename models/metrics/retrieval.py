"""Retrieval in both directions, under names that say which way.

Owns the cosine and the counts. Section 5.8 of the MindEye paper reports "image retrieval" and
"brain retrieval"; the original's code computes them from a matrix that is the transpose of what
its variables say, so its two columns are exchanged. Here a name says what is ranked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Shares of rows whose own partner is the nearest, or among the nearest.

    Attributes
    ----------
    image_of_brain : float
        For each brain vector, the nearest picture is its own: what a decoder does. MindEye's code
        calls it backward; its papers' column "brain retrieval".
    brain_of_image : float
        For each picture, the nearest brain vector is its own. The code's forward, reported as
        "image retrieval".
    chance : float
        Of both.
    n : int
        Pairs.
    """

    image_of_brain: float
    brain_of_image: float
    chance: float
    n: int


def cosines(a: Float64, b: Float64) -> Float64:
    """Cosine of each row of `a` (n, ...) with each of `b` (m, ...), (n, m)."""
    return _units(a) @ _units(b).T


def pearsons(a: Float64, b: Float64) -> Float64:
    """Correlation of each row of `a` (n, n_features) with each of `b` (m, n_features), (n, m)."""
    return cosines(a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True))


def top_k(similarity: Float64, k: int) -> float:
    """Share of rows of (n, n) whose own column is among the `k` largest; of equals the last."""
    order = np.argsort(similarity, axis=1, kind="stable")[:, -k:]
    return float((order == np.arange(len(similarity))[:, None]).any(axis=1).mean())


def retrieval(brain: Float64, images: Float64, *, k: int = 1) -> Retrieval:
    """Score brain vectors against those of the pictures of the same rows, (n, ...) each."""
    similarity = cosines(brain, images)
    return Retrieval(
        image_of_brain=top_k(similarity, k),
        brain_of_image=top_k(similarity.T, k),
        chance=min(1.0, k / len(similarity)),
        n=len(similarity),
    )


def _units(rows: Float64) -> Float64:
    flat: Float64 = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    unit: Float64 = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return unit
