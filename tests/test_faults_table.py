"""`docs/faults.md` names tests that exist, and every row of the list of faults that is ours."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = {f"R{n}" for n in (*range(1, 30), 31)}


def rows() -> dict[str, list[tuple[str, str]]]:
    """Tests `(path, name)` by row."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines():
        match = re.match(r"\| (R\d+) \|", line)
        if match:
            found[match[1]] = re.findall(r"`(tests/[\w/.]+)::(\w+)`", line)
    return found


@functools.cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_names_tests_that_exist() -> None:
    table = rows()
    assert set(table) == OURS
    for row, tests in table.items():
        assert tests, row
        for path, name in tests:
            assert name in names_in(path), f"{row}: {path} has no {name}"


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/.]+)::(\w+)`", page))
    assert len(named) > 200
    missing = sorted(f"{path}::{name}" for path, name in named if name not in names_in(path))
    assert not missing


def test_every_test_that_bears_a_row_is_in_it() -> None:
    """A row that grows tests grows in the document, too."""
    named = {test for tests in rows().values() for test in tests}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        relative = path.relative_to(ROOT).as_posix()
        for name in names_in(relative):
            numbers = [f"R{n}" for n in re.findall(r"(?<=_)r(\d+)(?=_)", name)]
            if numbers and set(numbers) <= OURS:
                assert (relative, name) in named, f"{name} stands in no row of docs/faults.md"
