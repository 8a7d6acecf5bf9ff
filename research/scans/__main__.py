"""Ridge, MindEye, MinD-Vis and CAD on the same simulated people: `python -m research.scans`.

Owns the command: sizes, seeds, order. `--quick` runs all of it within a minute, at sizes at which
the figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from research.embedded.train_encoder import log
from research.scans.cells import cell
from research.scans.systems import SYSTEMS, Passes
from research.scans.table import Line, write_lines

SNRS = (0.0, 0.2, 0.5)


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser(prog="python -m research.scans", description=__doc__)
    options.add_argument(
        "--document", type=Path, default=Path("out/scans.md"), help="where the table goes"
    )
    options.add_argument("--people", type=int, default=2)
    options.add_argument("--voxels", type=int, default=4643)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time")
    options.add_argument("--quick", action="store_true", help="small and short")
    return options


def main(argv: list[str] | None = None) -> int:
    """Fill every cell, several at a time, and write what is there."""
    args = parser().parse_args(argv)
    fill = partial(
        cell,
        n_people=1 if args.quick else args.people,
        n_voxels=320 if args.quick else args.voxels,
        passes=Passes(mindeye=2, masked=1, readout=1) if args.quick else Passes(),
        seed=args.seed,
    )
    cells = [(snr, name) for snr in (SNRS[::2] if args.quick else SNRS) for name in SYSTEMS]
    lines: list[Line] = []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(fill, *each) for each in cells]):
            found = done.result()
            lines.append(found)
            lines.sort(key=lambda line: cells.index((line.snr, line.system)))
            log(f"{found.system}, SNR {found.snr:g}: {found.two_way}, {found.seconds:.0f} s")
            write_lines(lines, args.document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
