"""`phosphene devices`: the boards that can be bridged to LSL, and what each needs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.output import table, write_json, write_text

if TYPE_CHECKING:
    from devices.boards import Board


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "devices",
        help="list the boards that can be bridged to LSL",
        description="List the boards that `phosphene device NAME` can bridge to LSL, with "
        "channels, rate and the parameters each needs.",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="only boards whose name or title has this in it"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """List the boards of the installed BrainFlow."""
    from devices.boards import list_boards
    from devices.errors import BoardError

    boards = list_boards()
    if args.name:
        word = args.name.lower()
        boards = [b for b in boards if word in b.name or word in b.title.lower()]
        if not boards:
            raise BoardError(
                f"No board has {args.name!r} in its name, expected one that BrainFlow knows: "
                "`phosphene devices` lists all of them."
            )
    if args.json:
        write_json([_as_json(board) for board in boards])
        return 0
    headings = ("name", "board", "channels", "rate", "impedance", "needs", "may need")
    write_text(table(headings, [_as_row(board) for board in boards]))
    _explain(boards)
    return 0


def _explain(boards: Sequence[Board]) -> None:
    """How to find the parameters of these boards, and what is plugged in here."""
    from devices.boards import describe_port, serial_ports

    hints: dict[str, list[str]] = {}
    for board in boards:
        if board.needs.hint:
            hints.setdefault(board.needs.hint, []).append(board.name)
    write_text("\nHow to reach them, and where to find what they need:")
    for hint, names in hints.items():
        write_text(f"- {_listed(names)}: {hint}.")
    write_text(
        "\n`phosphene devices NAME` explains one board. Start it with `phosphene device NAME` and "
        "what it needs; Ctrl-C ends it."
    )
    ports = [(port, describe_port(port)) for port in serial_ports()]
    write_text(
        "Serial ports here: "
        + (", ".join(f"{port} ({what})" if what else port for port, what in ports) or "none")
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _options(names: tuple[str, ...]) -> str:
    return " ".join("--" + name.replace("_", "-") for name in names) or "-"


def _as_row(board: Board) -> tuple[str, ...]:
    kinds = {kind: board.ch_types.count(kind) for kind in dict.fromkeys(board.ch_types)}
    channels = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    if "master_board" in board.needs.required:
        channels = "as its board"
    return (
        board.name,
        board.title,
        channels or "none",
        f"{board.sfreq:g} Hz" if board.sfreq else "-",
        "yes" if board.impedance else "-",
        _options(board.needs.required),
        _options(board.needs.optional),
    )


def _as_json(board: Board) -> dict[str, Any]:
    return {
        "name": board.name,
        "board": board.title,
        "board_id": board.board_id,
        "channels": len(board.rows),
        "labels": list(board.ch_names),
        "types": list(board.ch_types),
        "rate": board.sfreq or None,
        "has_counter": board.counter_row is not None,
        "has_impedance": bool(board.impedance),
        "parameters": {
            "required": list(board.needs.required),
            "optional": list(board.needs.optional),
            "hint": board.needs.hint,
        },
    }
