"""Pages of the documentation: each command that one names is one that the parser understands.

What the tutorials do is followed by a command that takes minutes: `python -m research.walk`.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import COMMANDS, build_parser, main
from research.walk import blocks, follow

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^ *```(?:sh|bash|console|bat|text)?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:\.venv/bin/)?phosphene [^`]*)`(?!`)")
FENCED = re.compile(r"^ *(`{3,}).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r'(?:\]\(|src=")(?!\w+:|#)([^)#"\s]+)')
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


_TYPED = re.compile(r"^\s*(?:\$ )?(?:\S*[/\\])?(?:phosphene |make |python -m )", re.MULTILINE)


def not_walked(text: str) -> list[str]:
    """Fences with commands that are neither walked nor a synopsis, and give no reason."""
    found = blocks(text)
    # Fences are counted by their lines as well: one that the walk does not see is found so.
    lines = re.findall(r"^[ \t]*(?:`{3,}|~{3,})", text, re.MULTILINE)
    indented = re.findall(r"(?<=\n\n) {4}.*\n", FENCED.sub("", text))
    silent = [each for each in found if not (each.has_commands or each.reason)]
    return [
        *["unseen"] * (len(lines) // 2 - len(found)),
        *[each for each in indented if _TYPED.search(each)],
    ] + [each.body for each in silent if each.language != "text" and _TYPED.search(each.body)]


def test_each_block_of_commands_is_walked_or_says_why_not() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = {str(page): not_walked(page.read_text(encoding="utf-8")) for page in pages}
    assert {name: those for name, those in found.items() if those} == {}


def test_a_block_in_a_list_is_walked_and_one_without_a_reason_is_found() -> None:
    assert not_walked("```\nphosphene demo\n```\n") == ["phosphene demo\n"]
    assert not_walked("~~~sh\nphosphene demo\n~~~\n") == ["unseen"]
    assert not_walked("So:\n\n    make demo\n") == ["    make demo\n"]
    (block,) = blocks("1. So:\n\n   ```console\n   $ make demo \\\n     -s\n   said\n   ```\n")
    assert (block.script, block.reason) == ("make demo \\\n  -s\n", "")
    (block,) = blocks("   <!-- not walked: a headset -->\n   ```sh\n   make demo\n   ```\n")
    assert (block.body, block.reason) == ("make demo\n", "a headset")
    (block,) = blocks(
        "<!-- walked after:\n  mkdir A\n  cd A &\n-->\n<!-- walked with: ID = a-1; X = 2 -->\n"
        "<!-- walked in its own terminal -->\n```sh\ngive X --source-id ID\n```\n"
    )
    begun = "& _started+=($!)\n"
    assert block.script == f"mkdir A\ncd A {begun}{{\ngive 2 --source-id a-1\n}} {begun}"
    with pytest.raises(ValueError, match="not in the block"):
        _ = blocks("<!-- walked with: ID = 1 -->\n```sh\nmake\n```\n")[0].script
    with pytest.raises(ValueError, match="no way to walk"):
        blocks("<!-- walked: twice -->\n```sh\nmake\n```\n")


def test_each_link_to_a_file_leads_to_one_and_each_page_has_its_chapter() -> None:
    """What the site's builder says as well, without Sphinx."""
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for link in _LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
        if not (page.parent / link).exists()
    ]
    assert broken == []
    builder = (ROOT / "scripts" / "build_site.py").read_text(encoding="utf-8")
    chapters = ast.literal_eval(builder.split("\nCHAPTERS = ")[1].split("\nSETTINGS")[0])
    names = [name for each in chapters.values() for name in each]
    pages = [path.relative_to(ROOT / "docs").with_suffix("") for path in PAGES[2:]]
    lost = [page for page in pages if not any(page.match(name) for name in names)]
    assert [page for page in lost if page.parent.name != "decisions"] == []


@pytest.mark.skipif(os.name == "nt", reason="bash")
@pytest.mark.parametrize(("command", "code"), [("sleep 30", 0), ("false", 1), ("exit 3", 3)])
def test_what_a_page_starts_fails_it_by_an_error(tmp_path: Path, command: str, code: int) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        f"```text a/said.txt\nyes\n```\n\n```sh\n{command} &\nsleep 0.1; cat a/said.txt\n```\n"
    )
    assert follow(page, tmp_path, seconds=20.0) == code


def test_a_shell_completes_what_the_parser_knows(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="needs phosphene[completion]")
    assert main(["completion", "bash"]) == 0
    said = capsys.readouterr().out
    assert "-F _shtab_phosphene phosphene" in said
    listed = said.split("_shtab_phosphene_subparsers=(")[1].split(")")[0]
    assert [each.strip("'") for each in listed.split()] == list(COMMANDS)
    presets = said.split("_shtab_phosphene_run___preset_choices=(")[1].split(")")[0]
    assert "free-running" in presets.split()
