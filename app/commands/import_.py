"""`phosphene import`: a published checkpoint becomes safetensors and JSON."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from app.commands.common import check_given
from app.ending import orderly
from app.errors import AppError

OPTIONS = ("target_norm", "images")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "import",
        help="turn a published checkpoint into safetensors",
        description="Turn a published checkpoint into safetensors and JSON.",
    )
    parser.add_argument("system", metavar="SYSTEM")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--target-norm",
        type=float,
        metavar="NORM",
        help="norm of the CLIP vectors that multimodal priors were trained towards",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="image set (CONCEPT/NAME.jpg): the order of cached superpixel features",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Import."""
    import inspect

    from app.output import write_json, write_note, write_text
    from models.registry import find_entry, read_registry

    systems = read_registry().systems.items()
    importers = {name: entry for name, each in systems if (entry := each.descriptor.importer)}
    importer = find_entry(importers, args.system, what="system")
    options = {name: value for name in OPTIONS if (value := getattr(args, name, None)) is not None}
    for name in options:
        if name not in inspect.signature(importer).parameters:
            raise AppError(
                f"--{name.replace('_', '-')} is not an option of {args.system}: leave it out."
            )
    check_given(*args.files, args.images)
    is_new = not args.out.exists()

    def take_away() -> None:
        if is_new:
            shutil.rmtree(args.out, ignore_errors=True)

    with orderly(leave=take_away):
        report = importer(args.files, args.out, **options)
    if args.json:
        write_json(report)
        return 0
    for note in report.pop("notes", ()):
        write_note(f"Note: {note}")
    for path, kind in report.pop("files", {}).items():
        write_text(f"{path}: {kind}")
    write_text("\n".join(f"{key}: {value}" for key, value in report.items()))
    return 0
