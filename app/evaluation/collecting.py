"""The figures of many evaluations in one table.

Owns `figures.csv`: a line a measure of a set of pictures. Knows nothing of how they were measured.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from configs.private import open_private

FIGURES = "figures.csv"
_COLUMNS = ("evaluation", "set", "name", "title", "value", "low", "high", "chance")


def collect(out: Path, folders: Sequence[Path]) -> Path:
    """Write `figures.csv` of each folder's `evaluation.json`; one is read at a time."""
    path = out / FIGURES
    part = path.with_name(f"{FIGURES}.partial")
    with open_private(part, "w", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(_COLUMNS)
        for folder in folders:
            report = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
            for one in report["sets"]:
                for line in one["measures"]:
                    figures = [line.get(name) for name in _COLUMNS[2:]]
                    table.writerow([folder.name, one["name"], *figures])
    part.replace(path)
    return path
