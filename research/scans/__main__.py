"""Ridge, MindEye, MinD-Vis and CAD on the same simulated people: `python -m research.scans`.

Owns the command: sizes, seeds, order. `--quick` runs all of it within a minute, at sizes at which
the figures mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from pipeline.gallery import load_gallery
from research.embedded.train_encoder import log
from research.scans.people import scan_person
from research.scans.systems import SYSTEMS, Passes
from research.scans.table import Line, line_of, write_lines

SNRS = (0.0, 0.1, 0.2, 0.5)
FIRST_PERSON = 1001


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser(prog="python -m research.scans", description=__doc__)
    options.add_argument(
        "--document", type=Path, default=Path("out/scans.md"), help="where the table goes"
    )
    options.add_argument("--people", type=int, default=3)
    options.add_argument("--voxels", type=int, default=4643)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--quick", action="store_true", help="small and short")
    return options


def main(argv: list[str] | None = None) -> int:
    """Train every system on every person, and write what it tells apart."""
    args = parser().parse_args(argv)
    torch.set_num_threads(1)
    gallery = load_gallery().subset(kind="upright")
    passes = Passes(mindeye=2, masked=1, readout=1) if args.quick else Passes()
    n_people, n_voxels = (1, 320) if args.quick else (args.people, args.voxels)
    lines: list[Line] = []
    for snr in SNRS[::3] if args.quick else SNRS:
        people = [
            scan_person(
                gallery, number=FIRST_PERSON + k, snr=snr, n_voxels=n_voxels, seed=args.seed
            )
            for k in range(n_people)
        ]
        for name, decode in SYSTEMS.items():
            began = time.perf_counter()
            decoded = []
            for person in people:
                with tempfile.TemporaryDirectory() as folder:
                    decoded.append((decode(person, passes, Path(folder), args.seed), person.test))
            seconds = (time.perf_counter() - began) / n_people
            lines.append(line_of(name, snr, decoded, seconds=seconds, seed=args.seed))
            log(f"{name}, SNR {snr:g}: {lines[-1].two_way}, {lines[-1].first}, {seconds:.0f} s")
            write_lines(lines, args.document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
