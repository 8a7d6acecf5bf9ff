"""`phosphene import`: a published checkpoint becomes safetensors and JSON."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "import", help="turn a published checkpoint into safetensors", description=__doc__
    )
    parser.add_argument("system", metavar="SYSTEM")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Import."""
    from app.output import write_json, write_text
    from models.stages import IMPORTERS, find

    report = find(IMPORTERS, args.system, what="system")(args.files, args.out)
    if args.json:
        write_json(report)
    else:
        write_text("\n".join(f"{key}: {value}" for key, value in report.items()))
    return 0
