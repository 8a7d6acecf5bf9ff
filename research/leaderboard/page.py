"""The leaderboard as a page: a table for each kind of data, and the same as JSON beside it.

Owns the words and the layout. What stands between the marks of a page is replaced, so that what is
written around them stays.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from research.leaderboard.rows import Figure, Row

BEGIN, END = "<!-- leaderboard -->", "<!-- /leaderboard -->"
MOST_REPETITIONS = 8


def write_page(rows: Sequence[Row], document: Path, *, command: str) -> None:
    """Write JSON beside a document, and the tables into it (a new one where there is none)."""
    document.parent.mkdir(parents=True, exist_ok=True)
    table = {"command": command, "rows": [asdict(row) for row in rows]}
    text = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
    document.with_suffix(".json").write_text(text, encoding="utf-8")
    whole = document.read_text(encoding="utf-8") if document.is_file() else f"{BEGIN}\n{END}\n"
    before, rest = whole.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    document.write_text(
        f"{before}{BEGIN}\n\nMade by `{command}`.\n\n{tables(rows)}\n\n{END}{after}",
        encoding="utf-8",
    )


def tables(rows: Sequence[Row]) -> str:
    """A table for each kind of data, best first by two-way identification."""
    parts = []
    for data in dict.fromkeys(row.data for row in rows):
        mine = sorted((r for r in rows if r.data == data), key=lambda row: -row.two_way[0])
        one = mine[0]
        who = "one person" if one.people == 1 else f"{one.people} people"
        looks = [n for n, _ in one.repetitions if n <= MOST_REPETITIONS]
        head = [
            "",
            f"two-way, {one.pictures} pictures",
            "dealt anew",
            "p",
            f"first of {one.candidates}",
            "dealt anew",
            *(f"mean of {n}" for n in looks if n > 1),
            "audit",
        ]
        parts.append(
            f"## {data[0].upper()}{data[1:]}\n\n{who}, {one.trials} trials of the test.\n\n"
            + "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)])
        )
        parts[-1] += "\n" + "\n".join(_line(row, looks) for row in mine)
    return "\n\n".join(parts)


def _line(row: Row, looks: Sequence[int]) -> str:
    curve = dict(row.repetitions)
    cells = [
        row.system,
        _percent(row.two_way),
        f"{100 * row.two_way_chance:.1f}",
        f"{row.p_value:.3f}",
        _percent(row.first),
        f"{100 * row.first_chance:.1f}",
        *(f"{100 * curve[n]:.1f}" for n in looks if n > 1),
        row.audit,
    ]
    return "| " + " | ".join(cells) + " |"


def _percent(figure: Figure) -> str:
    value, low, high = (100 * each for each in figure)
    return f"{value:.1f} ({low:.1f} to {high:.1f})"
