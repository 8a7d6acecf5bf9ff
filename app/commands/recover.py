"""`phosphene recover`: finishes the folder of a session that was left behind."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.output import ask, write_json, write_text


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "recover",
        help="finish a session that a crash or a power cut left behind",
        description="Write summary.json and report.html of a session folder whose process is gone. "
        "A session that still runs is never touched; where that cannot be told (another computer's "
        "or another container's), you are asked.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the session folder")
    parser.add_argument(
        "--yes", action="store_true", help="you know that the session runs nowhere any more"
    )
    parser.add_argument("--json", action="store_true", help="say what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Finish the folder."""
    from app.runtime.recovery import doubt, recover

    sentence = doubt(args.folder)
    # Where nobody can be asked nobody answers, and the refusal names the option.
    confirmed = args.yes or (
        bool(sentence) and ask(sentence, "Does it run nowhere any more? Finish it?") is True
    )
    report = recover(args.folder, confirmed=confirmed)
    if args.json:
        write_json({"folder": str(args.folder), "report": str(report)})
    else:
        write_text(f"Session folder: {args.folder} (open report.html in a browser).")
    return 0
