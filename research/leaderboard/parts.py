"""The parts of the leaderboard, each of one kind of data and a process of its own.

Apart from the command, so that such a process can import it.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.gallery import load_gallery
from research.comparison.__main__ import parser as comparison_parser
from research.comparison.__main__ import train_systems
from research.embedded.train_encoder import log
from research.leaderboard.brains import People, adapter_rows, record_people, system_rows
from research.leaderboard.real import real_rows
from research.leaderboard.rows import Row
from research.leaderboard.scanned import scan_rows
from research.scans.systems import Passes


def real(args: argparse.Namespace) -> list[Row]:
    """Rows of the real person; none without the recording."""
    torch.set_num_threads(1)
    if args.data is None:
        log("without --data: the table of the real person is left out")
        return []
    with tempfile.TemporaryDirectory() as folder:
        return list(real_rows(_unzipped(args.data, Path(folder))))


def adapters(args: argparse.Namespace) -> list[Row]:
    """Rows of virtual people, whose adapters learn from them."""
    torch.set_num_threads(1)
    return list(adapter_rows(_people(args)))


def systems(args: argparse.Namespace) -> list[Row]:
    """Rows of the same people, by systems as they are; trained where they are not yet."""
    torch.set_num_threads(1)
    people = _people(args)
    given = ["--out", str(args.out), "--epochs", str(512 if args.quick else args.epochs)]
    given += ["--bank-seconds", str(16.0 if args.quick else args.bank_seconds)]
    trained = train_systems(comparison_parser().parse_args(given), load_gallery())
    return list(system_rows(people, trained.rows()))


def _people(args: argparse.Namespace) -> People:
    return record_people(
        1 if args.quick else args.people,
        minutes=1.0 if args.quick else args.minutes,
        test_minutes=1.0 if args.quick else args.test_minutes,
    )


def scans(args: argparse.Namespace) -> list[Row]:
    """Rows of people in a scanner."""
    torch.set_num_threads(1)
    found = scan_rows(
        n_people=1 if args.quick else args.scanned,
        n_voxels=320 if args.quick else args.voxels,
        passes=Passes(mindeye=2, masked=1, readout=1) if args.quick else Passes(),
    )
    return list(found)


def _unzipped(data: Path, folder: Path) -> Path:
    if data.suffix != ".zip":
        return data
    with zipfile.ZipFile(data) as file:
        file.extractall(folder)
    return folder


PARTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "real": real,
    "adapters": adapters,
    "systems": systems,
    "scans": scans,
}
"""In the page's order."""
