"""The curves of `docs/img/attend-looks.svg`: how often each look of a run is right, per person.

Owns the drawing. What it draws was measured by `phosphene bench attend --only looks --json`; the
files of one or several such runs are named: `python -m research.figures.attend_looks FILE...`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from configs.plain import plain

OUT: Final = Path(__file__).parents[2] / "docs" / "img" / "attend-looks.svg"
COLOURS: Final = ("#2f6fb3", "#c2571a", "#3d8b45", "#7a4fa3", "#777777")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 640, 300, 48, 16, 44, 96
GOAL: Final = 0.95


def rows_of(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows of `looks` in files of the bench, by person."""
    tables = [json.loads(path.read_text("utf-8"))["benchmarks"]["attend"] for path in paths]
    rows = [row for table in tables for row in table["rows"] if row["part"] == "looks"]
    return sorted(rows, key=lambda row: str(row["what"]))


def drawn(rows: Sequence[dict[str, Any]]) -> str:
    """Draw a line a person: part of the runs whose k-th look was right."""
    n_looks = max(len(row["by_look"]) for row in rows)
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(k: int) -> float:
        return LEFT + across * k / max(1, n_looks - 1)

    def y(part: float) -> float:
        return TOP + down * (1 - part)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#444">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path d="M{LEFT} {y(part):.1f}h{across}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{y(part) + 4:.1f}" text-anchor="end">{part:.0%}</text>'
        )
    for value, name, dash in ((GOAL, "95 %", "5 4"), (0.05, "chance", "2 3")):
        parts.append(
            f'<path d="M{LEFT} {y(value):.1f}h{across}" stroke="#888" stroke-dasharray="{dash}"/>'
            f'<text x="{LEFT + across + 6}" y="{y(value) + 4:.1f}" fill="#888">{name}</text>'
        )
    for k in (0, *range(4, n_looks, 5)):
        at = HEIGHT - BOTTOM + 18
        parts.append(f'<text x="{x(k):.1f}" y="{at}" text-anchor="middle">{k + 1}</text>')
    middle = LEFT + across / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
        "look of a run (8.4 s each, no calibration)</text>"
    )
    for n, row in enumerate(rows):
        colour = COLOURS[n % len(COLOURS)]
        line = " ".join(f"{x(k):.1f},{y(part):.1f}" for k, part in enumerate(row["by_look"]))
        who = plain(str(row["what"]).split(",")[0].rpartition("-")[2].lstrip("0"))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{LEFT + across - 90}" y="{y(0.32) + 18 * n:.0f}" fill="{colour}">'
            f"person {who}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    OUT.write_text(drawn(rows_of([Path(name) for name in sys.argv[1:]])), "utf-8")
