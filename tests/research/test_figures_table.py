"""Every picture of the documentation has something that draws it again."""

from __future__ import annotations

import re
from pathlib import Path

from research.figures import __main__ as table

ROOT = Path(__file__).parents[2]


def test_every_picture_is_in_the_table_and_on_a_page() -> None:
    commands = table.commands()
    assert [name for name, command in commands.items() if command is None] == []
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    shown = set(re.findall(r"img/([\w.-]+\.(?:png|webp|gif|svg))", text))
    assert shown == set(commands)


def test_commands_name_what_is_there() -> None:
    for command in set(table.commands().values()):
        for module in re.findall(r"-m (research[\w.]*)", command or ""):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
        for file in re.findall(r"tests/\S+\.py", command or ""):
            assert (ROOT / file).is_file(), file
