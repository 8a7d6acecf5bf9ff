"""Reading and changing the tables and sidecars of a BIDS data set.

Owns their encoding: UTF-8, tabs, `n/a` where nothing is known. Knows nothing of what they say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NOTHING = "n/a"


def plain(label: str) -> str:
    """Return a label that a table of tabs and lines can hold."""
    return " ".join(label.split()) or NOTHING


def read_table(path: Path) -> list[list[str]]:
    """Rows of a table, its head first; blank lines are left out."""
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return [line.split("\t") for line in lines if line.strip()]


def write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a table, its head first."""
    text = "".join("\t".join(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A sidecar's table; empty where there is none."""
    table = json.loads(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
    return table if isinstance(table, dict) else {}


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Write a sidecar."""
    text = json.dumps(dict(table), indent=4, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def change_json(path: Path, changes: Mapping[str, Any]) -> None:
    """Set some keys of a sidecar, which may not be there yet."""
    write_json(path, read_json(path) | dict(changes))
