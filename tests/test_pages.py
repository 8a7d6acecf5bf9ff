"""Pages of the documentation: each command that one names is one that the parser understands.

What the tutorials do is followed by a command that takes minutes: `python -m research.walk`.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import COMMANDS, build_parser, main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^ *```(?:sh|bat|text)?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:\.venv/bin/)?phosphene [^`]*)`(?!`)")
_COMMAND = re.compile(r"^\s*(?:\$ )?(?:\.venv/bin/)?(phosphene .*)$")


Found = tuple[str, bool]
"""A command, and whether it stands alone on its line, and so is whole."""


def commands(text: str) -> list[Found]:
    """Commands of fences, and of words in backticks; a synopsis with choices is none."""
    joined = text.replace("\\\n", " ")
    lines = [line for block in _FENCE.findall(joined) for line in block.splitlines()]
    found = [(match[1], True) for line in lines if (match := _COMMAND.match(line))]
    mentioned = _INLINE.findall(_FENCE.sub("", joined))
    found += [(each.replace("\n", " "), False) for each in mentioned]
    return [(line, is_whole) for line, is_whole in found if " | " not in line]


def words_of(line: str) -> list[str]:
    line = line.replace(".venv/bin/", "").split(" # ")[0].split(" > ")[0].rstrip("& ")
    # Brackets mark what may be left out, three dots what else a reader gives.
    return shlex.split(re.sub(r"[\[\]]| \.\.\.", "", line))[1:]


def test_each_command_that_a_page_names_is_understood() -> None:
    parser, refused = build_parser(), []
    for page in PAGES:
        for line, is_whole in commands(page.read_text(encoding="utf-8")):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                try:
                    parser.parse_args(words_of(line))
                except SystemExit as end:
                    why = said.getvalue().splitlines()[-1]
                    is_part = "required:" in why or "expected one argument" in why
                    stands_for = re.search(r"invalid \w+ value: '[A-Z]+'$", why)
                    if end.code and not stands_for and (is_whole or not is_part):
                        refused.append(f"{page.relative_to(ROOT)}: {line}: {why}")
    assert refused == []


def test_the_tutorial_on_pictures_takes_as_many_as_it_says(tmp_path: Path) -> None:
    """Eight, all of them upright: the code of the page is run as it stands."""
    page = (ROOT / "docs" / "tutorials" / "pictures.md").read_text(encoding="utf-8")
    assert "eight of the shipped ones" in page
    code = page.split("<<'END'\n", 1)[1].split("END\n", 1)[0]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    names = [path.stem for path in (tmp_path / "my-pictures" / "things").iterdir()]
    assert len(names) == 8
    assert not [name for name in names if name.endswith("-inverted")]


def test_a_wrong_option_is_found() -> None:
    page = "See `phosphene gui --nothing`.\n\n```sh\nphosphene record\n```\n"
    assert commands(page) == [("phosphene record", True), ("phosphene gui --nothing", False)]
    with pytest.raises(SystemExit):
        build_parser().parse_args(words_of("phosphene gui --nothing"))


def test_a_shell_completes_what_the_parser_knows(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="needs phosphene[completion]")
    assert main(["completion", "bash"]) == 0
    said = capsys.readouterr().out
    assert "-F _shtab_phosphene phosphene" in said
    listed = said.split("_shtab_phosphene_subparsers=(")[1].split(")")[0]
    assert [each.strip("'") for each in listed.split()] == list(COMMANDS)
