"""The figures of many evaluations in one table.

Owns `figures.csv`: a line a measure of a set of pictures. Knows nothing of how they were measured.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.errors import AppError
from configs.guard import read_text
from configs.private import open_private

FIGURES = "figures.csv"
_LIMIT = 1 << 28
_COLUMNS = ("evaluation", "set", "name", "title", "value", "low", "high", "chance")


def collect(out: Path, folders: Sequence[Path]) -> Path:
    """Write `figures.csv` of each folder's `evaluation.json`; one is read at a time.

    Raises
    ------
    AppError
        One of them is not as it was written.
    """
    path = out / FIGURES
    part = path.with_name(f"{FIGURES}.partial")
    with open_private(part, "w", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(_COLUMNS)
        for folder in folders:
            table.writerows(_lines(folder))
    part.replace(path)
    return path


def _lines(folder: Path) -> list[list[Any]]:
    path = folder / "evaluation.json"
    try:
        return [
            [folder.name, one["name"], *(line.get(name) for name in _COLUMNS[2:])]
            for one in json.loads(read_text(path, limit=_LIMIT))["sets"]
            for line in one["measures"]
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise AppError(
            f"{path} is damaged or gone: delete {folder}, and the same command makes it anew."
        ) from None
