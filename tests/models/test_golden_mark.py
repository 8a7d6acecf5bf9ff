"""`-m golden` runs every test against golden vectors, and no other set has to have our sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def _tests() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every test of this folder that loads golden vectors, in any of its parts."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "tests.models.golden import" in source or "tests.models import golden" in source:
            if "pytestmark = pytest.mark.golden" in source:
                continue  # the whole module bears it
            for node in ast.parse(source).body:
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    calls = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
                    if any(ast.unparse(call) in ("load", "golden.load") for call in calls):
                        yield path.name, node


def test_every_test_that_loads_golden_vectors_bears_their_mark() -> None:
    found = list(_tests())
    assert len(found) > 20
    unmarked = [
        f"{name}::{node.name}"
        for name, node in found
        if "pytest.mark.golden" not in map(ast.unparse, node.decorator_list)
    ]
    assert unmarked == []
