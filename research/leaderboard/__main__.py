"""Every system and adapter in one table: `python -m research.leaderboard --document PAGE.md`.

Owns the command: sizes, order, what is left out. Systems that are trained already in OUT are not
trained again; without the real recording its table is left out, and said so. `--quick` runs all of
it at sizes at which the figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from research.embedded.train_encoder import log
from research.leaderboard.page import write_page
from research.leaderboard.parts import PARTS
from research.leaderboard.rows import Row


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser(prog="python -m research.leaderboard", description=__doc__)
    options.add_argument("--document", type=Path, default=Path("out/leaderboard.md"))
    options.add_argument("--out", type=Path, default=Path("out/comparison"), help="what is trained")
    options.add_argument(
        "--data", type=Path, help="the faces-and-houses recording, unzipped or as it is"
    )
    options.add_argument("--people", type=int, default=4, help="virtual people, EEG")
    options.add_argument("--minutes", type=float, default=5.0, help="each one's calibration")
    options.add_argument("--test-minutes", type=float, default=8.0)
    options.add_argument("--epochs", type=int, default=32768, help="of the pool systems learn from")
    options.add_argument("--bank-seconds", type=float, default=240.0, help="noise a bank, s")
    options.add_argument("--scanned", type=int, default=2, help="simulated people, fMRI")
    options.add_argument("--voxels", type=int, default=4643)
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time")
    options.add_argument("--quick", action="store_true", help="small and short")
    return options


def main(argv: list[str] | None = None) -> int:
    """Fill the page, one kind of data after the other."""
    args = parser().parse_args(argv)
    given = sys.argv[1:] if argv is None else argv
    # Where this machine keeps its files is nobody's business.
    words = [Path(word).name if Path(word).is_absolute() else word for word in given]
    command = shlex.join(["python", "-m", "research.leaderboard", *words])
    found: dict[str, list[Row]] = {name: [] for name in PARTS}
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(part, args): name for name, part in PARTS.items()}
        for done in as_completed(pending):
            found[pending[done]] = done.result()
            rows = [row for part in found.values() for row in part]
            for row in done.result():
                log(f"{row.system}: two-way {row.two_way[0]:.3f}, first {row.first[0]:.3f}")
            write_page(rows, args.document, command=command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
