"""Rows of simulated people in a scanner: the systems of fMRI at reduced size, and the baseline.

Owns the sizes; people, split and systems are `research.scans`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.evaluation.audit import Material
from models.evaluation.protocol import correlations
from pipeline.gallery import load_gallery
from pipeline.values import Float32, Float64
from research.leaderboard.rows import Asked, Row, audited, row_of
from research.scans.cells import FIRST_PERSON
from research.scans.people import Person, scan_person
from research.scans.systems import SYSTEMS, Passes

SNR = 0.5
N_LOOKS = 4
"""At each picture of the test."""


def scan_rows(*, n_people: int, n_voxels: int, passes: Passes, seed: int = 0) -> Iterator[Row]:
    """Train every system on every person, and ask it for pictures it never saw."""
    gallery = load_gallery().subset(kind="upright")
    people = [
        scan_person(
            gallery,
            number=FIRST_PERSON + k,
            snr=SNR,
            n_voxels=n_voxels,
            n_test_looks=N_LOOKS,
            seed=seed,
        )
        for k in range(n_people)
    ]
    audit = audited([_material(each) for each in people])
    data = f"simulated people in a scanner, {n_voxels:,} voxels, SNR {SNR:g}, each trained alone"
    for name, decode in SYSTEMS.items():
        asked = []
        for person in people:
            with tempfile.TemporaryDirectory() as folder:
                vectors = decode(person, passes, Path(folder), seed)
            asked.append(_asked(vectors, person))
        yield row_of(data, name, asked, audit=audit)


def _asked(vectors: Float32 | Float64, person: Person) -> Asked:
    """Among the pictures of the test, which are all that any answer could be."""
    rows = person.test.rows
    _, first, at = np.unique(rows, return_index=True, return_inverse=True)
    table = correlations(person.test.targets[first], np.asarray(vectors, dtype=np.float32))
    return Asked(table.T.astype(np.float64), at)


def _material(person: Person) -> Material:
    return Material(
        labels=[str(row) for row in person.test.rows],
        train_stimuli=[str(row) for row in np.unique(person.train.rows)],
        test_stimuli=[str(row) for row in np.unique(person.test.rows)],
    )
