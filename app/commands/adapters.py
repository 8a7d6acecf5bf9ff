"""`phosphene adapters`: the adapters that calibrations stored."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.calibration.stored import AdapterRecord, StoredAdapters


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "adapters",
        help="the stored adapters",
        description="List and keep the adapters that calibrations stored.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every adapter, the active ones marked")
    listing.add_argument("--subject", default=None, metavar="S", help="of one subject only")
    show = actions.add_parser("show", help="everything about one")
    activate = actions.add_parser("activate", help="make one its subject's active one")
    delete = actions.add_parser("delete", help="delete one, or everything of a subject")
    delete.add_argument("id", nargs="?", default=None, metavar="ID")
    delete.add_argument("--subject", default=None, metavar="S", help="everything of this subject")
    rollback = actions.add_parser("rollback", help="back to what a subject used before")
    rollback.add_argument("--subject", required=True, metavar="S")
    export = actions.add_parser("export", help="write one as a zip file")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    for each in (show, activate, export):
        each.add_argument("id", metavar="ID")
    export.add_argument("file", type=Path, metavar="FILE")
    import_ = actions.add_parser("import", help="take one from a zip file or a folder")
    import_.add_argument("file", type=Path, metavar="FILE")
    import_.add_argument("--subject", default=None, metavar="S", help="whose it must be")
    import_.add_argument("--force", action="store_true", help="take another's under this code")
    for each in (listing, show, activate, delete, rollback, export, import_):
        each.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    """Do what is asked."""
    from app.calibration.stored import StoredAdapters

    stored = StoredAdapters()
    act = {
        "list": _list,
        "show": _show,
        "activate": _activate,
        "delete": _delete,
        "rollback": _rollback,
        "export": _export,
        "import": _import,
    }[args.action]
    return act(stored, args)


def _list(stored: StoredAdapters, args: argparse.Namespace) -> int:
    from app.output import table, write_json, write_text

    records = stored.list(args.subject)
    if args.json:
        write_json([record.to_table() for record in records])
    elif records:
        write_text(table(_HEADINGS, [_cells(record) for record in records]))
    else:
        write_text("No adapter is stored: make one with `phosphene calibrate`.")
    return 0


_HEADINGS = ("active", "id", "method", "accuracy", "without", "chance", "p", "minutes", "channels")


def _cells(record: AdapterRecord) -> tuple[str, ...]:
    from app.formatting import p_value, percent

    if record.problem:
        return ("", record.adapter_id, record.problem, *([""] * (len(_HEADINGS) - 3)))
    return (
        "*" if record.active else "",
        record.adapter_id,
        record.method,
        percent(record.accuracy),
        percent(record.without),
        percent(record.chance),
        ""
        if record.p_value is None
        else p_value(record.p_value).removeprefix("p ").removeprefix("= "),
        f"{record.minutes:.1f}",
        str(record.n_channels),
    )


def _show(stored: StoredAdapters, args: argparse.Namespace) -> int:
    from app.output import write_json, write_text

    record, manifest = stored.record(args.id), stored.show(args.id).model_dump(mode="json")
    if args.json:
        write_json(record.to_table() | {"manifest": manifest})
        return 0
    report = manifest.get("report") or {}
    facts = {
        "id": record.adapter_id + (" (active)" if record.active else ""),
        "subject": record.subject,
        "made": record.created,
        "method": f"{record.method}: {report.get('reason', '')}",
        "encoder": record.system or ("" if manifest.get("looks") else "none: raw epochs"),
        "channels": ", ".join(manifest["montage"] or manifest["ch_names"]),
        "looks": _looks_words(manifest.get("looks")),
        "verdict": report.get("sentence", ""),
        "with and without": report.get("comparison", ""),
        "more minutes": (report.get("curve") or {}).get("sentence", ""),
        "leak check": (report.get("leak") or {}).get("sentence", ""),
        "folder": str(record.folder),
    }
    width = max(len(name) for name in facts)
    write_text("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items() if value))
    return 0


def _looks_words(looks: dict[str, Any] | None) -> str:
    if looks is None:
        return ""
    simulated = " of a simulated person" if looks["is_simulated"] else ""
    return (
        f"{looks['n_looks']} at {looks['n_targets']} noise-tagged pictures{simulated}, "
        f"{looks['seconds']:.0f} s; {looks['accuracy']:.0%} read right by the others; "
        "for `phosphene attend --adapter`"
    )


def _activate(stored: StoredAdapters, args: argparse.Namespace) -> int:
    record = stored.activate(args.id)
    return _say(args, f"{args.id} is active.", {"active": args.id, "folder": str(record.folder)})


def _delete(stored: StoredAdapters, args: argparse.Namespace) -> int:
    from app.calibration.stored import NOT_REACHED
    from app.errors import AppError

    if (args.id is None) == (args.subject is None):
        raise AppError("delete takes an ID or --subject S, expected exactly one of them.")
    if args.subject is None:
        record = stored.record(args.id)
        _confirm(f"{_named(record)} of {record.subject} is deleted for good.", yes=args.yes)
        stored.delete(args.id)
        return _say(args, f"{args.id} is deleted.", {"deleted": [args.id]})
    records, n_unfinished = stored.list(args.subject), stored.n_unfinished(args.subject)
    ids = [record.adapter_id for record in records]
    found = [_named(record) for record in records]
    found += [f"{n_unfinished} unfinished"] if n_unfinished else []
    what = "\n".join(f"  {each}" for each in found)
    _confirm(f"All of {args.subject} in the store is deleted for good:\n{what}", yes=args.yes)
    n_deleted = stored.delete_subject(args.subject)
    words = f"{args.subject} is deleted with {n_deleted} adapters"
    words += f" and {n_unfinished} that were never finished. " if n_unfinished else ". "
    made_from = sorted({name for record in records for name in record.recordings})
    table = {
        "deleted": ids,
        "n_unfinished": n_unfinished,
        "subject": args.subject,
        "recordings": made_from,
        "not_reached": NOT_REACHED,
    }
    if made_from:
        words += f"They were made from {', '.join(made_from)}. "
    return _say(args, words + NOT_REACHED, table)


def _named(record: AdapterRecord) -> str:
    return f"{record.adapter_id} with its epochs" if record.has_data else record.adapter_id


def _confirm(what: str, *, yes: bool) -> None:
    """Ask on the terminal before something is lost; `yes`: it was said already.

    Raises
    ------
    AppError
        The answer is no, or there is nobody to ask.
    """
    from app.errors import AppError
    from app.output import ask

    answer = yes or ask(what, "Delete?")
    if answer is None:
        raise AppError(
            "deleting asks first, and there is no terminal to ask on: nothing is deleted; add "
            "--yes if that is meant."
        )
    if not answer:
        raise AppError("nothing is deleted.")


def _rollback(stored: StoredAdapters, args: argparse.Namespace) -> int:
    record = stored.rollback(args.subject)
    name = None if record is None else record.adapter_id
    words = f"{name} is active again." if name else f"{args.subject} has no active adapter now."
    return _say(args, words, {"active": name, "subject": args.subject})


def _export(stored: StoredAdapters, args: argparse.Namespace) -> int:
    path = stored.export(args.id, args.file)
    return _say(args, f"Written to {path}.", {"id": args.id, "file": str(path)})


def _import(stored: StoredAdapters, args: argparse.Namespace) -> int:
    adapter_id = stored.import_(args.file, subject=args.subject, force=args.force).adapter_id
    words = f"Taken in as {adapter_id}; use it with `phosphene adapters activate {adapter_id}`."
    return _say(args, words, {"id": adapter_id, "file": str(args.file)})


def _say(args: argparse.Namespace, words: str, table: dict[str, object]) -> int:
    from app.output import write_json, write_text

    if args.json:
        write_json(table)
    else:
        write_text(words)
    return 0
