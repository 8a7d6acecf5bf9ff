"""`phosphene systems`: every decoding system, what it needs, and whether it is there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.registry import SystemFacts


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "systems",
        help="decoding systems and their weights",
        description="List every decoding system, and whether its weights are there. With NAME, or "
        "-v: what it needs, where that comes from, its options.",
    )
    parser.add_argument("name", metavar="NAME", nargs="*", help="only these systems, in full")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """List the systems."""
    from app.output import table, write_json, write_text
    from models.registry import SYSTEMS

    entries = [describe(facts) for facts in _chosen(SYSTEMS, args.name)]
    if args.json:
        write_json({"systems": entries})
    elif args.name or args.verbose:
        write_text("\n\n".join(_details(entry) for entry in entries))
    else:
        headings = ("system", "modality", "generator", "weights")
        write_text(table(headings, [_row(entry) for entry in entries]))
        write_text("\n`phosphene systems NAME` tells what one needs and what can be chosen.")
    return 0


def _chosen(systems: Sequence[SystemFacts], names: Sequence[str]) -> list[SystemFacts]:
    """Return the named systems, all where none is named; raise `AppError` for an unknown name."""
    from app.errors import AppError

    known = {facts.name: facts for facts in systems}
    for name in names:
        if name not in known:
            raise AppError(f"Unknown system {name!r}, expected one of {', '.join(known)}.")
    return [known[name] for name in names or known]


def describe(facts: SystemFacts) -> dict[str, Any]:
    """One system as the JSON shows it: its facts, and what was found on this machine."""
    status = facts.status()
    entry = asdict(facts)
    del entry["folder"]
    # Without a list of hashes weights cannot be checked, but they can be used.
    entry["available"] = status is not None and status.state in ("ready", "unverified")
    entry["found"] = (
        None
        if status is None
        else {
            "state": str(status.state),
            "folder": str(status.folder),
            "files": status.n_files,
            "bytes": status.n_bytes,
            "problems": list(status.problems),
        }
    )
    return entry


def _row(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    """One line of the table; a generator's steps and sizes are among the details."""
    generator = entry["generator"].partition(",")[0].partition(" (")[0]
    state = str(entry["found"]["state"]) if entry["is_implemented"] else "not implemented yet"
    return entry["name"], entry["modality"], generator, state


def _details(entry: dict[str, Any]) -> str:
    lines = [
        f"{entry['name']}: {entry['title']}, to {entry['target_space']}",
        f"  reads {entry['modality']} {entry['input_shape']}; draws with {entry['generator']}",
    ]
    lines += [
        f"  needs {item['purpose']}: {', '.join((*item['files'], item['source']))}"
        for item in entry["weights"]
    ]
    if entry["found"] is not None:
        found = entry["found"]
        lines.append(
            f"  {found['state']}: {found['files']} files, {found['bytes'] / 1e6:.1f} MB "
            f"in {found['folder']}"
        )
        lines += [f"  {problem.partition(', expected')[0]}" for problem in found["problems"]]
    lines += [f"  option {name}: {gain}" for name, gain in entry["options"]]
    if entry["notes"]:
        lines.append(f"  {entry['notes']}")
    if entry["reference"]:
        lines.append(f"  {entry['reference']}")
    return "\n".join(lines)
