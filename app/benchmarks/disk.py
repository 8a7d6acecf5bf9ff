"""What every command does on a disk that fills up: tmpfs of 1, 3 and 10 MB.

Owns the campaign: each command of a user's day runs in its own process with all it writes on a disk
that is too small; it must end or go on, in one sentence, with a whole folder or one that can be
finished. Needs to mount (root on Linux); skips with a reason where it cannot.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.runtime.lock import LOCK

SIZES_MB = (1, 3, 10)
LONGEST = 300.0
"""A command that takes longer hangs, s; none of them takes a third of it on two busy cores."""
SOURCE_ID = "phosphene-disk-bench"
_DEMO = ("--headless", "--fast")
_CALIBRATION = (
    *("--headless", "--virtual", "--fast", "--force", "--subject", "disk"),
    *("--minutes", "1", "--methods", "ridge"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A command that writes to `{disk}`; `beside` plays a stream meanwhile."""

    what: str
    command: Sequence[str]
    beside: Sequence[str] = ()


def _cases(session: Path, adapter: Path, spare: Path) -> list[Case]:
    recording, out = str(session / "recording.xdf"), "{disk}/out"
    fallback = ("--fallback", str(spare))
    stream = ("replay", recording, "--source-id", SOURCE_ID, "--wait", "60")
    return [
        Case("demo", ("demo", "--headless", "--duration", "15", "--out", out)),
        Case("demo --fast", ("demo", *_DEMO, "--duration", "60", "--out", out)),
        Case(
            "run",
            ("run", "--headless", "--source-id", SOURCE_ID, "--duration", "15", "--out", out),
            stream,
        ),
        Case("run --replay", ("run", "--headless", "--replay", recording, "--out", out)),
        Case(
            "run --replay --fallback",
            ("run", "--headless", "--replay", recording, *fallback, "--out", out),
        ),
        Case(
            "record",
            ("record", "--out", "{disk}/a.xdf", "--source-id", SOURCE_ID, "--duration", "12"),
            stream,
        ),
        Case(
            "record --fallback",
            (
                "record",
                "--out",
                "{disk}/a.xdf",
                "--source-id",
                SOURCE_ID,
                "--duration",
                "12",
                *fallback,
            ),
            stream,
        ),
        Case("calibrate", ("calibrate", *_CALIBRATION, "--out", out)),
        Case("export", ("export", str(session), "--bids", out, "--subject", "1", "--task", "x")),
        Case("generate", ("generate", "embedded", "--data", str(session), "--out", out)),
        Case("adapters import", ("adapters", "import", str(adapter))),
    ]


def run_disk_bench() -> dict[str, Any]:
    """Run the campaign; rows of `what`, size, exit code, seconds, sentence and whether it held."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        reason = _why_not(base)
        if reason:
            return {"skipped": reason, "rows": []}
        session, adapter = _prepare(base)
        rows = []
        for case in _cases(session, adapter, base / "spare"):
            for size in SIZES_MB:
                (base / "spare").mkdir(exist_ok=True)
                with _disk(base / "disk", size) as disk:
                    rows.append(_try(case, disk, size))
    return {"met": all(row["met"] for row in rows), "rows": rows}


def _why_not(base: Path) -> str:
    """Say why no small disk can be had here; "" when one can."""
    if not sys.platform.startswith("linux"):
        return "small disks are mounted as tmpfs, which needs Linux"
    try:
        with _disk(base / "probe", 1):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no tmpfs can be mounted here ({error}): run it as root"


@contextlib.contextmanager
def _disk(at: Path, size_mb: int) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(at)],
        check=True,
        capture_output=True,
    )
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True, capture_output=True)


def _prepare(base: Path) -> tuple[Path, Path]:
    """A session of a minute and an adapter, on a disk with room."""
    environment = _environment(base / "home")
    session, adapter = base / "session", base / "adapter.zip"
    _phosphene(("demo", *_DEMO, "--duration", "45", "--out", str(session)), environment)
    said = _phosphene(
        ("calibrate", *_CALIBRATION, "--json", "--out", str(base / "calibration")), environment
    )
    _phosphene(("adapters", "export", json.loads(said)["adapter"], str(adapter)), environment)
    return session, adapter


def _try(case: Case, disk: Path, size_mb: int) -> dict[str, Any]:
    command = [word.format(disk=disk) for word in case.command]
    environment = _environment(disk / "home")
    player = None
    if case.beside:
        player = subprocess.Popen(
            _argv(case.beside),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    began = time.monotonic()
    try:
        done = subprocess.run(
            _argv(command),
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        code: int | None = done.returncode
        said = done.stderr.strip()
    except subprocess.TimeoutExpired as error:
        code, said = None, str(error.stderr or "")
    finally:
        if player is not None:
            player.terminate()
            player.wait()
    locks = [str(path.parent) for path in disk.rglob(LOCK)]
    sentence = said.split("\n")[-1] if code else ""
    can_be_finished = not locks or "phosphene recover" in said
    return {
        "what": case.what,
        "mb": size_mb,
        "exit": code,
        "s": round(time.monotonic() - began, 1),
        "locked": len(locks),
        "sentence": sentence.replace(str(disk.parent), ""),
        "met": code in (0, 1)
        and "Traceback" not in said
        and (code == 0 or sentence.startswith("phosphene"))
        and can_be_finished,
    }


def _environment(home: Path) -> Mapping[str, str]:
    return os.environ | {"PHOSPHENE_HOME": str(home)}


def _argv(command: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "app", *command]


def _phosphene(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        _argv(command), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"phosphene {' '.join(command)}: {done.stderr}")
    return done.stdout
