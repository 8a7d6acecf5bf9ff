"""`phosphene doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from app.commands.common import positive

if TYPE_CHECKING:
    from app.diagnosis import Check


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="what works on this machine",
        description="Try what works on this machine, and say what to do about the rest.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--timeout", type=positive, default=5.0, metavar="S", help="how long to look for LSL, s (5)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the checks; 1 when one says that the app cannot do its work."""
    from app.diagnosis import Status, diagnose
    from app.output import write_json, write_note, write_text

    checks = []
    for check in diagnose(lsl_timeout=args.timeout):
        checks.append(check)
        if not args.json:
            write_text(_line(check))
    failed = [check.name for check in checks if check.status is Status.ERROR]
    if args.json:
        write_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    if failed:
        write_note(f"phosphene doctor: not working here: {', '.join(failed)}")
    return 1 if failed else 0


def _line(check: Check) -> str:
    from app.diagnosis import Status
    from app.output import Colour, paint

    colours = {Status.OK: Colour.GOOD, Status.NOTE: Colour.WARNING, Status.ERROR: Colour.BAD}
    mark = paint(f"{check.status:5}", colours[check.status])
    advice = f"\n       {'':18} -> {check.advice}" if check.advice else ""
    lines = [f"{mark}  {check.name:18} {check.found}{advice}"]
    if check.name == "versions":
        known = [f"{k} {v}" for k, v in check.data.items() if v and k not in {"python", "platform"}]
        lines.append(f"       {'':18} {', '.join(known)}")
    return "\n".join(lines)
