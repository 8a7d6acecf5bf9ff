"""The structure of the code that import-linter does not see: circles, and what nobody uses."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from configs.montages import CYTON
from pipeline.electrodes import electrode_names

ROOT = Path(__file__).resolve().parents[1]
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EVERY = TOOLS["tool"]["importlinter"]["root_packages"]
SHIPPED = [name.rstrip("*") for name in TOOLS["tool"]["setuptools"]["packages"]["find"]["include"]]


Edges = Mapping[str, set[str]]
Imports = dict[str, set[str]]
"""Module -> the modules that it imports, anywhere in its text."""


@pytest.fixture(scope="module")
def imports() -> Imports:
    # With import-linter (extra `check`), which `make test` installs.
    grimp = pytest.importorskip("grimp", reason="the import graph needs phosphene[check]")
    graph = grimp.build_graph(*EVERY, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circle(edges: Edges) -> list[str]:
    """Return the nodes of one shortest circle, the first again at its end; none: empty."""
    found: list[list[str]] = []
    for start in sorted(edges):
        back: dict[str, str] = {}
        todo = [start]
        while todo and start not in back:
            node = todo.pop(0)
            for after in sorted(edges.get(node, ())):
                if after not in back:
                    back[after] = node
                    todo.append(after)
        if start in back:
            way = [start]
            while way[-1] != start or len(way) == 1:
                way.append(back[way[-1]])
            found.append(way[::-1])
    return min(found, key=len, default=[])


def rooms(imports: Imports, folder: str) -> dict[str, set[str]]:
    """Return what the files and folders that stand directly in `folder` import of each other."""

    def room(module: str) -> str:
        return module[len(folder) + 1 :].partition(".")[0]

    inside = [module for module in imports if module.startswith(f"{folder}.")]
    edges: dict[str, set[str]] = {room(module): set() for module in inside}
    for module in inside:
        for other in imports[module]:
            if other.startswith(f"{folder}.") and room(other) != room(module):
                edges[room(module)].add(room(other))
    return edges


def folders(imports: Imports) -> list[str]:
    return sorted({module.rpartition(".")[0] for module in imports if "." in module})


def told(imports: Imports, folder: str, way: list[str]) -> str:
    """Return a circle of rooms as lines: each arrow with the imports that draw it."""
    lines = [f"circle in {folder}: {' -> '.join(way)}"]
    for a, b in pairwise(way):
        lines += [
            f"  {module} imports {other}"
            for module in sorted(imports)
            for other in sorted(imports[module])
            if f"{module}.".startswith(f"{folder}.{a}.")
            and f"{other}.".startswith(f"{folder}.{b}.")
        ]
    return "\n".join(lines)


def test_no_files_and_no_folders_import_in_a_circle(imports: Imports) -> None:
    found = [
        told(imports, folder, way)
        for folder in folders(imports)
        if (way := circle(rooms(imports, folder)))
    ]
    assert not found, "\n".join(found)


def test_a_circle_is_found_and_named() -> None:
    planted: Imports = {
        "app": set(),
        "app.a.x": {"app.b.y"},
        "app.b.y": set(),
        "app.b.z": {"app.a.w"},
        "app.a.w": set(),
    }
    way = circle(rooms(planted, "app"))
    assert way == ["a", "b", "a"]
    assert told(planted, "app", way).splitlines() == [
        "circle in app: a -> b -> a",
        "  app.a.x imports app.b.y",
        "  app.b.z imports app.a.w",
    ]
    assert circle(rooms(planted, "app.a")) == []


@cache
def parsed(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of a module, which two checks look through."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def texts(module: str) -> Iterator[str]:
    """Return the strings of a module's code, its docstrings left out."""
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.exists():
        path = path.with_suffix("") / "__init__.py"
    alone = {id(node.value) for node in parsed(path) if isinstance(node, ast.Expr)}
    for node in parsed(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def doors() -> set[str]:
    """Return the modules that a user starts: commands, entry points, documented programs."""
    project = TOOLS["project"]
    named = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    found = {target.partition(":")[0] for group in named for target in group.values()}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for module in re.findall(r"python -m ([a-z_.]+)", text):
            found |= {module, f"{module}.__main__"}
        found |= set(re.findall(r"^from (phosphene\.[a-z_]+) import", text, re.MULTILINE))
    commands = (ROOT / "app" / "commands").glob("*.py")
    found |= {f"app.commands.{path.stem}" for path in commands}
    # The library, and the suites that somebody else's tests run over what they registered.
    return found | {"phosphene", *(f"{package}.conformance" for package in SHIPPED)}


def reached(imports: Imports, start: set[str]) -> set[str]:
    """Return every module that `start` leads to: by imports, and by names in texts of the code."""
    name = re.compile(rf"\b(?:{'|'.join(SHIPPED)})(?:\.\w+)+")
    todo, seen = [module for module in start if module in imports], set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        parents = {module.rsplit(".", k)[0] for k in range(1, module.count(".") + 1)}
        spoken = {found for text in texts(module) for found in name.findall(text)}
        todo += (imports[module] | parents | spoken) & imports.keys()
    return seen


def test_every_shipped_module_has_a_shipped_importer_or_is_a_command(imports: Imports) -> None:
    shipped = {module: found for module, found in imports.items() if of(module) in SHIPPED}
    idle = sorted(set(shipped) - reached(shipped, doors()))
    assert idle == [], "No command and no shipped module reaches these: delete or move to research"


def of(module: str) -> str:
    return module.partition(".")[0]


def montages(path: Path) -> Iterator[tuple[str, ...]]:
    """Return every run of four and more electrodes that a module spells out."""
    names = frozenset(electrode_names())
    for node in parsed(path):
        labels: list[str] = []
        if isinstance(node, ast.Tuple | ast.List):
            words = [each.value for each in node.elts if isinstance(each, ast.Constant)]
            labels = [word for word in words if isinstance(word, str)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            labels = node.value.split()
        if len(labels) >= 4 and names.issuperset(labels):
            yield tuple(labels)


def test_a_montage_is_spelt_out_once() -> None:
    found: dict[tuple[str, ...], list[str]] = {}
    for path in sorted(p for package in SHIPPED for p in (ROOT / package).rglob("*.py")):
        for labels in set(montages(path)):
            found.setdefault(labels, []).append(str(path.relative_to(ROOT)))
    assert {labels: where for labels, where in found.items() if len(where) > 1} == {}
    assert CYTON in found
