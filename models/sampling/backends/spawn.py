"""Building an engine in a process of its own: a compiler that crashes there costs nothing here.

Owns the process and what it says. What it does is `models.compiling`'s.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from configs import DecoderConfig
from models.sampling.backends.base import BackendError, Target

if TYPE_CHECKING:
    from models.sampling.backends.engines import Say

PROGRAM = "models.compiling"

_POLL = 0.1
"""Between two looks at what it has written, s."""

_ERROR = re.compile(r"[\w.]+(Error|Exception)\b")
_computed = [0.0, 0.0]
"""CPU time of the builds that are over, and of the one that runs, s."""


def process_time() -> float:
    """CPU time of this process and of what builds for it, s: as `time.process_time`."""
    return time.process_time() + sum(_computed)


def request_of(
    config: DecoderConfig, *, backend: str, target: Target, cache: Path
) -> dict[str, Any]:
    """What that process reads: plain values."""
    return {
        "config": config.to_table(),
        "backend": backend,
        "target": {"device": target.device, "dtype": target.dtype, "threads": target.threads},
        "cache": str(cache),
    }


def build_apart(request: Mapping[str, Any], *, say: Say, program: str = PROGRAM) -> None:
    """Run `python -m program` on a request, and hand on the lines that it says.

    Parameters
    ----------
    request : mapping
        As `models.compiling.main` reads it.
    say : callable
        Takes a line of progress.

    Raises
    ------
    BackendError
        The process was refused something, or ended by itself.
    """
    # Files, not pipes: whose end never comes where a library has forked a process that stays.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        words, complaints = Path(folder) / "words", Path(folder) / "complaints"
        with words.open("wb") as out, complaints.open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", program],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                text=True,
            )
        with process, words.open(encoding="utf-8", errors="replace") as lines:
            if process.stdin is None:
                raise BackendError("the building process has no pipe.")
            _computed[:] = [sum(_computed), 0.0]
            # Kept open meanwhile: its end tells that process that nobody waits any more.
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            refused = ""
            try:
                for line in _written(lines, process):
                    refused = _take(line, say) or refused
            except BaseException:
                process.kill()  # Ctrl-C, or whoever listens is gone
                raise
        if refused:
            raise BackendError(refused)
        if process.returncode:
            said = complaints.read_text(encoding="utf-8", errors="replace")
            raise BackendError(f"the process that built it {_end(process.returncode, said)}.")


def _written(lines: TextIO, process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines that a process writes into a file, until it has ended."""
    part = ""
    has_ended = False
    while not has_ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL)
        has_ended = process.returncode is not None
        for line in lines:
            part += line
            if part.endswith("\n"):
                yield part
                part = ""


def _take(line: str, say: Say) -> str:
    """Hand one line on; return the sentence of a refusal."""
    try:
        word = json.loads(line)
    except ValueError:
        return ""  # a library's chatter
    if not isinstance(word, dict):
        return ""
    if isinstance(word.get("cpu"), float):
        _computed[1] = word["cpu"]
    if "say" in word:
        say(str(word["say"]))
    return str(word.get("refused", ""))


def _end(code: int, complaints: str) -> str:
    last = [line.strip() for line in complaints[-4000:].splitlines() if line.strip()]
    if code < 0:
        return f"crashed (signal {-code})"
    named = [line for line in last if _ERROR.match(line)] or last  # some say more after it
    return f"ended with {code}: {named[-1][:200]}" if named else f"ended with {code}"
