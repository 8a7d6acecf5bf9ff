"""What a command says: results on standard output, everything else on standard error.

Owns tables, JSON, colours (only on a terminal, never with `NO_COLOR`), the line of progress and
log lines: all that reaches a terminal passes here and is cleaned (`configs.plain`). Knows nothing
of what is said.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import IO, Any

from configs.plain import plain, plain_json

_PROGRESS_WIDTH = 110
"""A longer line would wrap, and then stay where it is drawn anew."""
_LONGEST = 20_000
"""Characters of one remark: a name of a megabyte is no news."""


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
    out.write(plain_json(document) + "\n")


def write_text(text: str, *, stream: IO[str] | None = None) -> None:
    """Print a result for a person."""
    out = stream or sys.stdout
    out.write(_shown(text, own=has_colours(out)) + "\n")


def write_lines(lines: Iterable[str]) -> None:
    """Print a result of several lines, each cleaned by itself: none can forge another."""
    write_text("\n".join(plain(line, limit=_LONGEST) for line in lines))


def write_note(text: str) -> None:
    """Print a remark, one line; it never mixes with results."""
    sys.stderr.write(plain(text, limit=_LONGEST) + "\n")


def ask(what: str, question: str) -> bool | None:
    """Say `what` and ask yes or no on the terminal; None: there is no terminal to ask on."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    write_text(what, stream=sys.stderr)
    sys.stderr.write(f"{plain(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def show_progress(text: str) -> None:
    """Draw the line of progress anew; nothing where standard error is no terminal."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + plain(text, limit=_PROGRESS_WIDTH))
        sys.stderr.flush()


def clear_progress() -> None:
    """Take the line of progress away."""
    show_progress("")


def bar(done: int, total: int, failed: int = 0, *, seconds_each: float | None = None) -> str:
    """Draw a bar for `show_progress`: how many of how many, and about how long it will take."""
    full = 30 * done // max(total, 1)
    text = f"[{'#' * full}{'.' * (30 - full)}] {done} of {total}"
    if failed:
        text += f", {failed} failed"
    if seconds_each is not None and done < total:
        minutes, seconds = divmod(round(seconds_each * (total - done)), 60)
        text += f", about {minutes} min {seconds} s left"
    return text


def has_colours(stream: IO[str]) -> bool:
    """Whether a stream is a terminal whose user wants colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: Colour, *, stream: IO[str] | None = None) -> str:
    """Colour text where the stream shows colours."""
    if not has_colours(stream or sys.stdout):
        return text
    return f"\x1b[{colour.value}m{text}\x1b[0m"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns, each cell cleaned.

    Raises
    ------
    ValueError
        A row has another count of cells than there are headings.
    """
    cells = [[plain(cell) for cell in row] for row in (headings, *rows)]
    if any(len(row) != len(headings) for row in cells):
        raise ValueError(f"expected {len(headings)} cells in every row of the table")
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


class PlainFormatter(logging.Formatter):
    """Log lines that a terminal can be given: one line a message, tracebacks as they are laid."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Lay out the line itself."""
        return plain(super().formatMessage(record), limit=_LONGEST)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Lay out a traceback, which may quote what others wrote."""
        return plain(super().formatException(ei), limit=None, keep="\n")


_OWN = re.compile("(" + "|".join(rf"\x1b\[{code}m" for code in (*Colour, "0")) + ")")


def _shown(text: str, *, own: bool = False) -> str:
    """Clean text of several lines; `own` leaves the colours of `paint` where they are shown."""
    parts = _OWN.split(text) if own else [text]
    return "".join(
        part if own and _OWN.fullmatch(part) else plain(part, limit=None, keep="\n\t")
        for part in parts
    )
