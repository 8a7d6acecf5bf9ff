"""What a command says: results on standard output, everything else on standard error.

Owns tables, JSON, colours (only on a terminal, never with `NO_COLOR`) and the line of progress.
Knows nothing of what is said.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import IO, Any

_PROGRESS_WIDTH = 110
"""A longer line would wrap, and then stay where it is drawn anew."""


class Colour(StrEnum):
    """Colours of a terminal, by meaning."""

    GOOD = "32"
    WARNING = "33"
    BAD = "31"
    STRONG = "1"


def write_json(
    document: Mapping[str, Any] | Sequence[Any], *, stream: IO[str] | None = None
) -> None:
    """Print one JSON document and nothing else."""
    out = stream or sys.stdout
    out.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text(text: str, *, stream: IO[str] | None = None) -> None:
    """Print a result for a person."""
    (stream or sys.stdout).write(text + "\n")


def write_note(text: str) -> None:
    """Print a remark; it never mixes with results."""
    sys.stderr.write(text + "\n")


def show_progress(text: str) -> None:
    """Draw the line of progress anew; nothing where standard error is no terminal."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + text[:_PROGRESS_WIDTH])
        sys.stderr.flush()


def clear_progress() -> None:
    """Take the line of progress away."""
    show_progress("")


def has_colours(stream: IO[str]) -> bool:
    """Whether a stream is a terminal whose user wants colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: Colour, *, stream: IO[str] | None = None) -> str:
    """Colour text where the stream shows colours."""
    if not has_colours(stream or sys.stdout):
        return text
    return f"\x1b[{colour.value}m{text}\x1b[0m"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns; control characters (a stream's name may hold some) are shown as ?.

    Raises
    ------
    ValueError
        A row has another count of cells than there are headings.
    """
    cells = [[_plain(cell) for cell in row] for row in (headings, *rows)]
    if any(len(row) != len(headings) for row in cells):
        raise ValueError(f"expected {len(headings)} cells in every row of the table")
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _plain(text: str) -> str:
    return "".join("?" if unicodedata.category(c).startswith("C") else c for c in text)
