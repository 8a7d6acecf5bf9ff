"""What every command does on a disk that fills up: tmpfs of 1, 3 and 10 MB.

Owns the campaign: each command of a user's day runs in its own process with all it writes on a disk
that is too small; it must end or go on, in one sentence, and what it leaves must be whole, or be
said not to be, or be finished by `phosphene recover`. A row that did not fill its disk, or found no
stream, tried nothing and is not met. Needs to mount (root on Linux); skips with a reason where it
cannot.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.benchmarks.signals import what_it_left
from app.output import show_progress
from app.runtime.lock import LOCK

SIZES_MB = {1: 0.1, 3: 0.4, 10: 0.8}
"""Sizes, with the part of what a command writes that there is room for at most: a command that
needs less than the disk finds ballast on it, so that it fills at its begin, middle and end."""
FULL = 0.08
"""Of a disk's room: less free than this, or a write refused in words, is full."""
_REFUSED = ("No space left", "disk is full", "had no room", "no room", "cannot be written")
"""Words of ours by which a write was refused."""
_MOVED = ("summary.json is missing", "report.html is missing")
_ENDS = ("*.xdf", "*.vhdr", "*.png", "*.safetensors", "*.json", "report.html")
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
    """A command that writes `kb` to `{disk}`; `beside` plays a stream meanwhile."""

    what: str
    kb: int
    command: Sequence[str]
    beside: Sequence[str] = ()


def _cases(session: Path, adapter: Path, spare: Path) -> list[Case]:
    recording, out = str(session / "recording.xdf"), "{disk}/out"
    fallback = ("--fallback", str(spare))
    stream = ("replay", recording, "--source-id", SOURCE_ID, "--wait", "60")
    live = ("run", "--headless", "--source-id", SOURCE_ID, "--duration", "15", "--out", out)
    replay = ("run", "--headless", "--replay", recording, "--out", out)
    record = ("record", "--out", "{disk}/a.xdf", "--source-id", SOURCE_ID, "--duration", "12")
    export = ("export", str(session), "--bids", out, "--subject", "1", "--task", "x")
    return [
        Case("demo", 900, ("demo", "--headless", "--duration", "15", "--out", out)),
        Case("demo --fast", 3000, ("demo", *_DEMO, "--duration", "60", "--out", out)),
        Case("run", 700, live, stream),
        Case("run --replay", 2400, replay),
        Case("run --replay --fallback", 2400, (*replay, *fallback)),
        Case("record", 400, record, stream),
        Case("record --fallback", 400, (*record, *fallback), stream),
        Case("calibrate", 3000, ("calibrate", *_CALIBRATION, "--out", out)),
        Case("export", 1600, export),
        Case("generate", 1000, ("generate", "embedded", "--data", str(session), "--out", out)),
        Case("adapters import", 16, ("adapters", "import", str(adapter))),
    ]


def run_disk_bench(*, only: str = "") -> dict[str, Any]:
    """Run the campaign; a row says what was tried, how it ended, what it left and if that held.

    Parameters
    ----------
    only : str
        Names of cases, with commas; all when empty.
    """
    chosen = [word.strip() for word in only.split(",") if word.strip()]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        reason = _why_not(base)
        if reason:
            return {"skipped": reason, "rows": []}
        session, adapter = _prepare(base)
        rows = []
        for case in _cases(session, adapter, base / "spare"):
            for size, part in SIZES_MB.items() if not chosen or case.what in chosen else ():
                spare = base / "spare"
                spare.mkdir()
                with _disk(base / "disk", size) as disk:
                    rows.append({"what": case.what, "mb": size} | _try(case, disk, spare, part))
                shutil.rmtree(spare)
                show_progress(f"{len(rows)}: {rows[-1]}")
    return {"met": all(row["met"] for row in rows), "table": markdown(rows), "rows": rows}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table, for the documentation."""
    keys = ("what", "mb", "room_kb", "exit", "left", "met")
    cells = [["command", "MB", "room, kB", "exit", "what is left", "met"], ["---"] * len(keys)]
    cells += [[str(row[key]) for key in keys] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


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


def _try(case: Case, disk: Path, spare: Path, part: float) -> dict[str, Any]:
    command = [word.format(disk=disk) for word in case.command]
    ballast = _free(disk) - max(1, round(case.kb * part / 4)) * 4096
    if ballast > 0:
        (disk / "ballast").write_bytes(b"0" * ballast)
    room = _free(disk)
    began = time.monotonic()
    with _playing(case.beside, _environment(spare.parent / "player")), _lowest(disk) as lowest:
        try:
            done = subprocess.run(
                _argv(command),
                env=_environment(disk / "home"),
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
            )
            code: int | None = done.returncode
            said = done.stderr.strip()
        except subprocess.TimeoutExpired as error:
            code, said = None, str(error.stderr or "")
    seconds = time.monotonic() - began
    faults = ["hangs"] if code is None else [] if code in (0, 1) else [f"exit code {code}"]
    faults += ["a traceback"] if "Traceback" in said else []
    sentence = said.split("\n")[-1] if code else ""
    if code and not sentence.startswith("phosphene"):
        faults.append("no sentence of ours")
    if "Found no stream" in said:
        faults.append("found no stream: nothing was tried")
    elif min(lowest) > FULL * room and not any(word in said for word in _REFUSED):
        faults.append(f"never filled: {min(lowest) // 1024} kB stayed free")
    left, wrong = _left(disk, spare, said)
    faults += wrong
    return {
        "room_kb": room // 1024,
        "exit": code,
        "s": round(seconds, 1),
        "left": left,
        "sentence": sentence.replace(str(disk.parent), ""),
        "faults": faults,
        "said": said[-600:] if faults else "",
        "met": not faults,
    }


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


@contextlib.contextmanager
def _lowest(disk: Path) -> Iterator[list[int]]:
    """Keep the least room that the disk has had, bytes, in a list of one."""
    lowest, over = [_free(disk)], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            lowest[0] = min(lowest[0], _free(disk))

    thread = threading.Thread(target=look, name="room")
    thread.start()
    try:
        yield lowest
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _playing(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Play a stream meanwhile; goes on when it can be found."""
    if not command:
        yield
        return
    with subprocess.Popen(
        _argv(command), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as player:
        try:
            if player.stdout is not None:
                player.stdout.readline()
            yield
        finally:
            player.terminate()


def _left(disk: Path, spare: Path, said: str) -> tuple[str, list[str]]:
    """Say what a command left on its disk and on the spare one, and what is wrong with that."""
    is_locked = any(disk.rglob(LOCK))
    faults = []
    if is_locked:
        if "phosphene recover" not in said:
            faults.append("a lock, and not a word of recovery")
        # There is room again: what was left can be finished.
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    kinds = ["for recovery"] if is_locked else []
    finished = {folder for folder in (disk, spare) if any(folder.rglob("summary.json"))}
    for folder in (disk, spare):
        found = what_it_left(folder, killed=is_locked)
        # A session that moved is finished in one of its folders, which names the other.
        is_half = "go on in" in said and bool(finished - {folder}) and folder not in finished
        faults += [fault for fault in found if not (is_half and fault in _MOVED)]
        faults += [f"{path.name} cannot be read ({why})" for path, why in _unreadable(folder)]
        faults += [f"{path.name} is left" for path in folder.rglob(".incoming*")]
        for events in folder.rglob("events.jsonl"):
            half = "finished on the other disk" if is_half else _whole(events.parent, faults)
            kinds.append(f"session, {half}")
    kinds += [f"{len(list(disk.rglob(end)))} {end}" for end in _ENDS if any(disk.rglob(end))]
    return "; ".join(dict.fromkeys(kinds)) or "nothing", faults


def _whole(session: Path, faults: list[str]) -> str:
    """Whether a session folder holds all that it says; if not, it has to say so."""
    try:
        summary = json.loads((session / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "unfinished"
    n_pictures = len(list((session / "images").glob("*.png")))
    n_events = len((session / "events.jsonl").read_bytes().splitlines())
    samples = summary.get("samples", {})
    is_whole = (
        n_pictures == summary["outcomes"].get("decoded", 0)
        and n_events == summary["markers"]
        and samples.get("recorded") == samples.get("received")
    )
    if not (is_whole or summary.get("warnings") or summary.get("message")):
        faults.append(f"{session.name} lacks something and does not say so")
    return "whole" if is_whole else "says what is missing"


def _unreadable(folder: Path) -> Iterator[tuple[Path, str]]:
    from PIL import Image
    from safetensors import SafetensorError, safe_open

    for path in folder.rglob("*.png"):
        try:
            with Image.open(path) as image:
                image.load()
        except (OSError, SyntaxError) as error:
            yield path, str(error)
    for path in folder.rglob("*.safetensors"):
        try:
            with safe_open(path, "numpy") as file:
                file.keys()
        except (OSError, SafetensorError) as error:
            yield path, str(error)


def _environment(home: Path) -> Mapping[str, str]:
    return os.environ | {"PHOSPHENE_HOME": str(home)}


def _argv(command: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "phosphene", *command]


def _phosphene(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        _argv(command), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"phosphene {' '.join(command)}: {done.stderr}")
    return done.stdout
