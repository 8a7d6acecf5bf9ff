"""One cell of the table: a system, trained on every person at one signal-to-noise ratio.

Apart from the command, so that a process of its own can import it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from pipeline.gallery import load_gallery
from research.scans.people import scan_person
from research.scans.systems import SYSTEMS, Passes
from research.scans.table import Line, line_of

FIRST_PERSON = 1001


def cell(snr: float, name: str, *, n_people: int, n_voxels: int, passes: Passes, seed: int) -> Line:
    """Train one system on every person at one signal-to-noise ratio, and ask it."""
    torch.set_num_threads(1)
    gallery = load_gallery().subset(kind="upright")
    began = time.perf_counter()
    decoded = []
    for number in range(FIRST_PERSON, FIRST_PERSON + n_people):
        person = scan_person(gallery, number=number, snr=snr, n_voxels=n_voxels, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            vectors = SYSTEMS[name](person, passes, Path(folder), seed)
        decoded.append((vectors, person.test))
    seconds = (time.perf_counter() - began) / n_people
    return line_of(name, snr, decoded, seconds=seconds, seed=seed)
