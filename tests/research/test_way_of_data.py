"""The picture of the architecture: what it names exists, the page says what keeps each arrow."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from research.figures.way_of_data import ARROWS, ROOMS, TARGET, drawing

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| `([\w.]+)` \| `([\w/.]+)` \|$", re.MULTILINE)


def names_of(module: str) -> set[str]:
    """Return what a module defines at its top."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_the_shipped_picture_is_the_drawn_one() -> None:
    assert (ROOT / TARGET).read_text(encoding="utf-8") == drawing()
    assert f"({TARGET.relative_to('docs')})" in PAGE


def test_every_room_is_there() -> None:
    assert [room.path for room in ROOMS if not (ROOT / room.path).exists()] == []


def test_every_arrow_has_a_contract_and_what_keeps_it() -> None:
    rows = ROW.findall(PAGE)
    assert [(int(n), word) for n, word, _, _ in rows] == [
        (arrow.number, arrow.carries) for arrow in ARROWS if arrow.carries
    ]
    for _, _, contract, test in rows:
        module, _, name = contract.rpartition(".")
        assert name in names_of(module), contract
        assert (ROOT / test).exists(), test


def test_every_other_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:tests|docs)/[\w/.-]+)`", PAGE)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
