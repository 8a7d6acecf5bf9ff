"""`phosphene devices`: the boards that can be bridged to LSL, and what each needs."""

from __future__ import annotations

import argparse
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
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """List every board of the installed BrainFlow."""
    from devices.boards import list_boards, serial_ports

    boards = list_boards()
    if args.json:
        write_json([_as_json(board) for board in boards])
        return 0
    headings = ("name", "board", "channels", "rate", "needs", "may need")
    write_text(table(headings, [_as_row(board) for board in boards]))
    hints = dict.fromkeys(board.needs.hint for board in boards if board.needs.required)
    write_text("\nHow to find them:")
    for hint in hints:
        write_text(f"- {hint}")
    write_text(f"Serial ports here: {', '.join(serial_ports()) or 'none'}")
    return 0


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
        "parameters": {
            "required": list(board.needs.required),
            "optional": list(board.needs.optional),
            "hint": board.needs.hint,
        },
    }
