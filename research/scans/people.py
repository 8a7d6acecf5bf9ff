"""Simulated people in a scanner: what each decoder learns from, and what it is asked.

Owns the split, by stimulus: no picture of the test was shown while learning. The person itself is
`pipeline.virtual_volumes`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.gallery import Gallery
from pipeline.values import Float32
from pipeline.virtual_volumes import VirtualScan

Rows = NDArray[np.int64]
HELD_OUT = 0.2
"""Part of the pictures that only the test shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Responses to pictures.

    Attributes
    ----------
    voxels : ndarray, shape (n, n_voxels), float32
        Z scores, a response a row: single trials, nothing averaged.
    rows : ndarray, shape (n,), int64
        What was shown: row of the gallery.
    targets : ndarray, shape (n, n_features), float32
        Its vector.
    """

    voxels: Float32
    rows: Rows
    targets: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person at one signal-to-noise ratio."""

    train: Trials
    test: Trials


def scan_person(
    gallery: Gallery,
    *,
    number: int,
    snr: float,
    n_voxels: int,
    n_looks: int = 3,
    n_test_looks: int = 2,
    seed: int = 0,
) -> Person:
    """Show every picture of the gallery, some of them in the test alone.

    Parameters
    ----------
    number : int
        The person, whose code follows from it.
    n_looks, n_test_looks : int
        How often each picture is shown in either part.
    seed : int
        Of the noise, and of which pictures are held out.
    """
    scan = VirtualScan(n_voxels, gallery.n_features, subject_number=number, snr=snr, seed=seed)
    order = np.random.default_rng([seed, 101]).permutation(len(gallery))
    n_held = round(HELD_OUT * len(gallery))
    vectors = gallery.embeddings.reshape(len(gallery), -1)

    def shown(rows: Rows) -> Trials:
        voxels = np.stack([scan.respond(vectors[row]) for row in rows])
        return Trials(voxels, rows, vectors[rows].astype(np.float32))

    return Person(
        train=shown(np.tile(np.sort(order[n_held:]), n_looks)),
        test=shown(np.tile(np.sort(order[:n_held]), n_test_looks)),
    )
