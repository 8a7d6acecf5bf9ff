"""Follow pages as a reader would: every block of commands, in order, in an empty folder a page.

`python -m research.walk docs/tutorials/*.md` prints a table and leaves the folders. Commands stand
in fences `sh`, `bash` or `console` (after `$ `); a fence that names a file (`python acme.py`) is
written as that file first. Comments straight above a block, which no reader sees, say how it is
walked:

    <!-- not walked: REASON -->
    <!-- walked after: COMMANDS -->             what the reader has already (any number of lines)
    <!-- walked with: OLD = NEW; OLD = NEW -->  what the reader puts in place of what stands there
    <!-- walked in a clone -->                  of this checkout, not in the empty folder
    <!-- walked in its own terminal -->         the next block does not wait for it

What a page starts with `&` or in its own terminal ends with the page, and fails it where it has
ended with an error before. Nothing of the user's is read or written: data and settings have folders
of their own, LSL stays on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LSL = "[multicast]\nResolveScope = machine\n[lab]\nKnownPeers = {{127.0.0.1}}\nSessionID = {}\n"
_OF_MAKE = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
_ENDED = 'for each in "${_started[@]}"; do kill -0 "$each" 2>/dev/null || wait "$each"; done'
_CLONE = f"[ -d ~/clone ] || git clone -q {shlex.quote(str(ROOT))} ~/clone"
_BLOCK = re.compile(
    r"(?P<notes>(?:^ *<!-- (?:not )?walked\b(?:(?!-->).)*-->\n)*)"
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)^ *(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
_NOTE = re.compile(r"<!-- (.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fence of a page: its language, the file it is (or ""), and how it is walked.

    `reason` is why it is not (or ""), `before` what runs first, `swaps` what is put in place of
    what (old, new), `where` the comments "in a clone" and "in its own terminal" that it bears.
    """

    language: str
    file: str
    body: str
    reason: str = ""
    before: str = ""
    swaps: tuple[tuple[str, str], ...] = ()
    where: frozenset[str] = frozenset()

    @property
    def has_commands(self) -> bool:
        """Whether a reader types what it says."""
        return self.language in {"sh", "bash", "console"}

    @property
    def script(self) -> str:
        """What a shell runs of it; the number of what it starts with `&` is kept."""
        body = self.body
        if self.language == "console":
            typed = re.findall(r"^\$ ((?:.*\\\n)*.*)$", body, re.MULTILINE)
            body = "".join(f"{each}\n" for each in typed)
        for old, new in self.swaps:
            if old not in body:
                raise ValueError(f"walked with {old!r}, which is not in the block: {body}")
            body = body.replace(old, new)
        if "in a clone" in self.where:
            body = f"{_CLONE}\ncd ~/clone\n{body}cd ~\n"
        if "in its own terminal" in self.where:
            body = f"{{\n{body}}} &\n"
        return re.sub(
            r"(?<![&>])&[ \t]*$", "& _started+=($!)", self.before + body, flags=re.MULTILINE
        )


def blocks(text: str) -> list[Block]:
    """Every fence of a page, those of lists too."""
    found = []
    for match in _BLOCK.finditer(text):
        language, _, file = match["info"].strip().partition(" ")
        found.append(
            Block(language, file.strip(), textwrap.dedent(match["body"]), **_how(match["notes"]))
        )
    return found


def _how(notes: str) -> dict[str, Any]:
    """What the comments above a fence say of it, as fields of `Block`."""
    how: dict[str, Any] = {"where": set()}
    for note in _NOTE.findall(textwrap.dedent(notes)):
        kind, _, said = note.partition(":")
        if kind == "not walked":
            how["reason"] = said.strip()
        elif kind == "walked after":
            how["before"] = textwrap.dedent(said).strip("\n") + "\n"
        elif kind == "walked with":
            pairs = (each.partition(" = ") for each in said.split(";"))
            how["swaps"] = tuple((old.strip(), new.strip()) for old, _, new in pairs)
        elif note in {"walked in a clone", "walked in its own terminal"}:
            how["where"].add(note.removeprefix("walked "))
        else:
            raise ValueError(f"no way to walk a block: {note!r}")
    return how | {"where": frozenset(how["where"])}


def follow(page: Path, folder: Path, *, seconds: float) -> int:
    """Run a page's blocks as one script; its exit code, 124 where it took too long."""
    found = blocks(page.read_text(encoding="utf-8"))
    for block in found:
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
    walked = [block.script for block in found if block.has_commands and not block.reason]
    script = "\n".join(["set -eux -o pipefail", "_started=()", *walked, _ENDED])
    (folder / "lsl_api.cfg").write_text(
        LSL.format(f"walk-{uuid.uuid4().hex[:8]}"), encoding="utf-8"
    )
    # A reader's make is not below `make walk`, whose variables it would take over.
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "LSLAPICFG": str(folder / "lsl_api.cfg"),
        "QT_QPA_PLATFORM": "offscreen",
    }
    with (folder / "walk.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=inherited | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            # With the page, what it has started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def main() -> int:
    """Follow the pages given; 1 where one of them cannot be followed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="where the folders are made")
    parser.add_argument("--seconds", type=float, default=900.0, help="longest time of a page")
    asked = parser.parse_args()
    root = asked.out or Path(tempfile.mkdtemp(prefix="walk-"))
    failed = 0
    table = ["| page | blocks run | s | left, and why | result |", "|---|---|---|---|---|"]
    for page in asked.pages:
        typed = [each for each in blocks(page.read_text(encoding="utf-8")) if each.has_commands]
        left = [each.reason for each in typed if each.reason]
        if len(left) == len(typed):
            table.append(f"| {page} | 0 | | {len(left)}: {'; '.join(left)} | nothing to run |")
            continue
        folder = root / "-".join(page.with_suffix("").parts[-3:])
        folder.mkdir(parents=True)
        begun = time.monotonic()
        code = follow(page.resolve(), folder.resolve(), seconds=asked.seconds)
        took = time.monotonic() - begun
        failed += code != 0
        result = "followed" if code == 0 else f"exit code {code}, not all of them reached"
        table.append(
            f"| {page} | {len(typed) - len(left)} | {took:.0f} "
            f"| {len(left)}: {'; '.join(left)} | {result} |"
        )
        print(f"{page}: exit code {code}, {took:.0f} s, {folder}", flush=True)
    print("\n".join(table))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
