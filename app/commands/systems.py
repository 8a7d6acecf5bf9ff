"""`phosphene systems`: every decoding system, what it needs, and whether it is there."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.registry import SystemFacts


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "systems", help="decoding systems and their weights", description=__doc__
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """List the systems."""
    from app.output import table, write_json, write_text
    from models.registry import SYSTEMS

    entries = [describe(facts) for facts in SYSTEMS]
    if args.json:
        write_json({"systems": entries})
        return 0
    headings = ("system", "modality", "input", "generator", "weights")
    rows = [
        [entry["name"], entry["modality"], entry["input_shape"], entry["generator"], _short(entry)]
        for entry in entries
    ]
    write_text(table(headings, rows))
    for entry in entries:
        write_text(_details(entry))
    return 0


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


def _short(entry: dict[str, Any]) -> str:
    if not entry["is_implemented"]:
        return "not implemented yet"
    return str(entry["found"]["state"])


def _details(entry: dict[str, Any]) -> str:
    lines = [f"\n{entry['name']}: {entry['title']}, to {entry['target_space']}"]
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
        lines += [f"  {problem}" for problem in found["problems"]]
    lines += [f"  option {name}: {gain}" for name, gain in entry["options"]]
    if entry["notes"]:
        lines.append(f"  {entry['notes']}")
    if entry["reference"]:
        lines.append(f"  {entry['reference']}")
    return "\n".join(lines)
