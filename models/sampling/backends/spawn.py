"""Building an engine in a process of its own: a compiler that crashes there costs nothing here.

Owns the process and what it says. What it does is `models.compiling`'s.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import DecoderConfig
from models.sampling.backends.base import BackendError, Target

if TYPE_CHECKING:
    from models.sampling.backends.engines import Say

PROGRAM = "models.compiling"


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
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        with process:
            if process.stdin is None or process.stdout is None:
                raise BackendError("the building process has no pipes.")
            _computed[:] = [sum(_computed), 0.0]
            # Kept open meanwhile: its end tells that process that nobody waits any more.
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            refused = ""
            try:
                for line in process.stdout:
                    refused = _take(line, say) or refused
            except BaseException:
                process.kill()  # Ctrl-C, or whoever listens is gone
                raise
        if refused:
            raise BackendError(refused)
        if process.returncode:
            complaints.seek(0)
            raise BackendError(f"the process that built it {_end(process.returncode, complaints)}.")


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


def _end(code: int, complaints: Any) -> str:
    last = [line.strip() for line in complaints.read()[-4000:].splitlines() if line.strip()]
    if code < 0:
        return f"crashed (signal {-code})"
    named = [line for line in last if _ERROR.match(line)] or last  # some say more after it
    return f"ended with {code}: {named[-1][:200]}" if named else f"ended with {code}"
