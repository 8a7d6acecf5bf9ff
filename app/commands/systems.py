"""`phosphene systems`: every decoding system, what it needs, and whether it is there."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.registry import Registered


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "systems",
        help="decoding systems and their weights",
        description="List every decoding system, and whether its weights are there. With NAME, or "
        "-v: what it needs, where that comes from, its options.",
    )
    parser.add_argument("name", metavar="NAME", nargs="*", help="only these systems, in full")
    parser.add_argument(
        "--check",
        action="store_true",
        help="load the named systems and hold them against the contract (docs/how-to)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """List the systems."""
    from app.output import table, write_json, write_note, write_text
    from models.registry import read_registry

    if args.check:
        return _check(args.name)
    registry = read_registry()
    entries = [describe(found) for found in _chosen(registry.systems, args.name)]
    if args.json:
        write_json({"systems": entries, "problems": list(registry.problems)})
    elif args.name or args.verbose:
        write_text("\n\n".join(_details(entry) for entry in entries))
    else:
        headings = ("system", "modality", "generator", "weights", "from")
        rows = [_row(entry) for entry in entries]
        n_columns = 5 if any(row[4] for row in rows) else 4  # who brings it, if not all are ours
        write_text(table(headings[:n_columns], [row[:n_columns] for row in rows]))
        write_text("\n`phosphene systems NAME` tells what one needs and what can be chosen.")
    for problem in registry.problems:
        write_note(f"Warning: {problem}")
    return 0


def _check(names: Sequence[str]) -> int:
    """Load each system and say what of the contract it breaks."""
    from app.errors import AppError
    from app.output import write_text
    from models.conformance import check_system

    if not names:
        raise AppError("--check loads what it checks: name the systems, `systems NAME --check`.")
    problems = [f"{name}: {sentence}" for name in names for sentence in check_system(name)]
    write_text("\n".join(problems or [f"{name}: keeps the contract" for name in names]))
    return 1 if problems else 0


def _chosen(systems: Mapping[str, Registered], names: Sequence[str]) -> list[Registered]:
    """Return the named systems, all where none is named; raise `AppError` for an unknown name."""
    from app.errors import AppError

    listed = [name for name, found in systems.items() if found.descriptor.is_listed]
    for name in names:
        if name not in systems:
            raise AppError(f"Unknown system {name!r}, expected one of {', '.join(listed)}.")
    return [systems[name] for name in names or listed]


def describe(found: Registered) -> dict[str, Any]:
    """One system as the JSON shows it: its facts, and what was found on this machine."""
    facts = found.descriptor
    status = facts.status()
    # Without a list of hashes weights cannot be checked, but they can be used.
    usable = ("ready", "unverified") if facts.folder else (None,)
    return {
        "name": facts.name,
        "title": facts.title,
        "modality": facts.modality,
        "input_shape": facts.input_shape,
        "target_space": facts.target_space,
        "space": facts.space,
        "generator": facts.generator,
        "weights": [asdict(item) for item in facts.weights],
        "is_implemented": facts.is_implemented,
        "decodes": bool(facts.encoder),
        "draws": bool(facts.sampler),
        "reference": facts.reference,
        "notes": facts.notes,
        "options": facts.options,
        "stages": {name: stage.summary for name, stage in facts.stages.items()},
        "imports": "" if facts.importer is None else facts.importer.summary,
        "distribution": found.distribution,
        "available": facts.is_implemented and (status and str(status.state)) in usable,
        "found": None
        if status is None
        else {
            "state": str(status.state),
            "folder": str(status.folder),
            "files": status.n_files,
            "bytes": status.n_bytes,
            "problems": list(status.problems),
        },
    }


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table; a generator's steps and sizes are among the details."""
    generator = entry["generator"].partition(",")[0].partition(" (")[0]
    state = "none needed" if entry["found"] is None else str(entry["found"]["state"])
    if not entry["is_implemented"]:
        state = "not implemented yet"
    modality = entry["modality"] if _reads(entry) else "-"
    return entry["name"], modality, generator or "-", state, entry["distribution"]


def _reads(entry: dict[str, Any]) -> bool:
    """Whether it reads a signal; what only draws takes vectors."""
    return bool(entry["decodes"] or entry["input_shape"])


def _details(entry: dict[str, Any]) -> str:
    reads_any = _reads(entry)
    space = entry["target_space"] or entry["space"] or "a space of its own"
    from configs.plain import plain

    lines = [f"{entry['name']}: {entry['title']}, {'to' if reads_any else 'takes'} {space}"]
    if entry["distribution"]:
        lines.append(f"  from {entry['distribution']}")
    reads = f"reads {entry['modality']} {entry['input_shape']}".rstrip()
    draws = f"draws with {entry['generator']}"
    lines.append("  " + "; ".join([reads] * reads_any + [draws] * bool(entry["generator"])))
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
    lines += [f"  train {name}: {summary}" for name, summary in entry["stages"].items()]
    lines += [f"  import: {entry['imports']}"] if entry["imports"] else []
    lines += [f"  option {name}: {gain}" for name, gain in entry["options"]]
    if entry["notes"]:
        lines.append(f"  {entry['notes']}")
    if entry["reference"]:
        lines.append(f"  {entry['reference']}")
    return "\n".join(plain(line, limit=None) for line in lines)
