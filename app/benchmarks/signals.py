"""Ends commands by signals at several moments, and looks at what they leave: `bench signals`.

Owns the campaign and its judgement: no hang, no orphan, no lock, no traceback, every file readable;
after SIGKILL, what can be recovered is. What is run and when stands in `signal_scenes`. Linux only:
orphans are found by their environment in /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from app.benchmarks.signal_scenes import (
    HEADSET,
    MARKERS,
    Running,
    Scene,
    make_material,
    scenes,
)
from app.errors import AppError
from app.output import show_progress
from app.runtime.processes import end_command, start_module
from devices.lsl_settings import machine_only

WAYS: dict[str, tuple[signal.Signals, ...]] = {
    "INT": (signal.SIGINT,),
    "TERM": (signal.SIGTERM,),
    "HUP": (signal.SIGHUP,),
    "twice": (signal.SIGINT, signal.SIGINT),
    "KILL": (signal.SIGKILL,),
}
"""How a command is ended."""
BETWEEN = 0.2
"""Between two signals, s."""
HANG = 30.0
"""A command that takes longer hangs, s."""
REACHED = 180.0
"""Longest wait for a moment, s."""
ORPHANS = 5.0
"""How long processes of a killed command may take to notice, s."""
_TAG = "PHOSPHENE_SIGNALS_RUN"


def run_signals_bench(*, only: str = "", quick: bool = False) -> dict[str, Any]:
    """End every command by every signal at every moment.

    Parameters
    ----------
    only : str
        Commands, moments or signals with commas: `demo,streaming,INT` is one case, `gui` are 20.
    quick : bool
        One signal a scene, in turn, instead of all.
    """
    if not sys.platform.startswith("linux"):
        raise AppError("the signal campaign looks for orphans in /proc, expected Linux.")
    # A program that `nohup` started ignores HUP, and rightly: here that is what is tried.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with tempfile.TemporaryDirectory(prefix="phosphene-signals-") as name:
        root = Path(name)
        environment = own_environment(root)
        material = make_material(root)
        cases = _chosen(scenes(material), only=only, quick=quick)
        rows = []
        with _headset(environment):
            for number, (scene, way) in enumerate(cases):
                show_progress(f"{number + 1} of {len(cases)}: {scene.command} {scene.moment} {way}")
                rows.append(end_scene(scene, way, root / f"case-{number}", environment))
                show_progress("")
    return {
        "cases": len(rows),
        "faults": sum(bool(row["faults"]) for row in rows),
        "met": not any(row["faults"] for row in rows),
        "table": "\n" + markdown(rows),
        "rows": rows,
    }


def _chosen(all_scenes: Sequence[Scene], *, only: str, quick: bool) -> list[tuple[Scene, str]]:
    words = {word.strip() for word in only.split(",") if word.strip()}
    commands = {scene.command for scene in all_scenes} & words
    moments = {scene.moment for scene in all_scenes} & words
    ways = set(WAYS) & words
    unknown = words - commands - moments - ways
    if unknown:
        raise AppError(
            f"{min(unknown)!r} is no command, moment or signal of the campaign, expected some of "
            f"{', '.join(dict.fromkeys(scene.command for scene in all_scenes))}; {', '.join(WAYS)}."
        )
    picked = [
        scene
        for scene in all_scenes
        if (not commands or scene.command in commands) and (not moments or scene.moment in moments)
    ]
    if quick:
        names = list(WAYS)
        return [(scene, names[i % len(names)]) for i, scene in enumerate(picked)]
    return [(scene, way) for scene in picked for way in WAYS if not ways or way in ways]


def end_scene(scene: Scene, way: str, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run a command in a new folder and end it at its moment; `faults` is what is wrong then."""
    tag = uuid.uuid4().hex
    running = Running(list(scene.arguments), folder, environment | {_TAG: tag})
    try:
        reached = _wait(lambda: scene.reached(running), running.process, REACHED)
        seconds, code = _end(running.process, WAYS[way])
        faults = [] if reached else ["the moment never came"]
        faults += [] if code is not None else [f"hangs longer than {HANG:g} s"]
        killed = signal.SIGKILL in WAYS[way]
        faults += _orphans(tag, patience=ORPHANS if killed else 0.3)
        faults += _what_it_says(running.said, code, WAYS[way][0])
        faults += what_it_left(folder, killed=killed)
    finally:
        _kill(tag)
        running.process.wait(10)
    return {
        "what": f"{scene.command}, {scene.moment}",
        "signal": way,
        "seconds": round(seconds, 2),
        "code": code,
        "faults": faults,
        "said": running.said if faults else "",
    }


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes], limit: float) -> bool:
    until = time.monotonic() + limit
    while time.monotonic() < until and process.poll() is None:
        if condition():
            return True
        time.sleep(0.005)
    return False


def _end(
    process: subprocess.Popen[bytes], signals: Sequence[signal.Signals]
) -> tuple[float, int | None]:
    """Send the signals; how long the end took, s, and the exit code (None: it hangs)."""
    began = time.monotonic()
    for number, each in enumerate(signals if process.poll() is None else ()):
        if number:
            time.sleep(BETWEEN)
        # A terminal sends to all of its processes at once.
        send = os.kill if each is signal.SIGTERM or each is signal.SIGKILL else os.killpg
        with contextlib.suppress(ProcessLookupError):
            send(process.pid, each)
    try:
        code = process.wait(HANG)
    except subprocess.TimeoutExpired:
        return HANG, None
    return time.monotonic() - began, code


# ------------------------------------------------------------------ what is left


def _what_it_says(said: str, code: int | None, sent: signal.Signals) -> list[str]:
    # What a child says that loses its parent while it is being started is Python's own.
    killed = sent is signal.SIGKILL
    faults = ["a traceback"] if "Traceback" in said and not killed else []
    # A command may have ended by itself just before, or be one that ends by being stopped; one that
    # has finished everything and is closing its interpreter is ended by the signal itself, which a
    # shell calls 128 + signal as well.
    expected = {0, 128 + sent, -sent, None}
    return faults if code in expected else [*faults, f"exit code {code}"]


def what_it_left(folder: Path, *, killed: bool) -> list[str]:
    """What is wrong with the files in a folder, in a few words each."""
    faults: list[str] = []
    for events in folder.rglob("events.jsonl"):
        faults += _session_faults(events.parent, killed=killed)
    for lock in () if killed else folder.rglob(".phosphene.lock"):
        faults.append(f"a lock: {lock.parent.name}")
    for path in (*folder.rglob("*.json"), *folder.rglob("*.jsonl")):
        faults += _json_faults(path, killed=killed)
    for path in folder.rglob("*.xdf"):
        faults += _xdf_faults(path, killed=killed)
    for path in folder.rglob("*.vhdr"):
        faults += _bids_faults(path)
    for path in () if killed else folder.rglob("*.partial"):
        faults.append(f"{path.name} is left")
    for path in () if killed else folder.rglob(".export-*"):
        faults.append(f"{path.name} is left")
    return faults


def _session_faults(folder: Path, *, killed: bool) -> list[str]:
    from app.report.record import ReportError
    from app.runtime.recovery import is_abandoned, recover

    if killed and is_abandoned(folder):
        try:
            recover(folder)
        except (AppError, ReportError) as error:
            return [f"cannot be recovered: {error}"]
    names = ("summary.json", "report.html")
    return [f"{name} is missing" for name in names if not (folder / name).is_file()]


def _json_faults(path: Path, *, killed: bool) -> list[str]:
    text = path.read_text(encoding="utf-8")
    # The last line of a process that was killed may be half a line.
    lines = text.split("\n")[:-1] if path.suffix == ".jsonl" else [text]
    try:
        for line in lines:
            json.loads(line)
    except ValueError as error:
        return [f"{path.name} cannot be read ({error})"]
    if path.suffix == ".jsonl" and not killed and text and not text.endswith("\n"):
        return [f"{path.name} ends within a line"]
    return []


def _xdf_faults(path: Path, *, killed: bool) -> list[str]:
    from devices.errors import FileError
    from devices.xdf import XdfFile

    try:
        with XdfFile(path) as file:
            file.load()
            return [] if killed or not file.damage else [f"{path.name}: {file.damage[0]}"]
    except FileError as error:
        return [] if killed and path.stat().st_size < 100 else [str(error)]


def _bids_faults(header: Path) -> list[str]:
    stem = header.name.removesuffix("eeg.vhdr")
    needed = ("eeg.eeg", "eeg.vmrk", "eeg.json", "channels.tsv", "events.tsv")
    return [
        f"{stem}{each} is missing" for each in needed if not header.with_name(stem + each).exists()
    ]


# ------------------------------------------------------------------ processes


def _orphans(tag: str, *, patience: float) -> list[str]:
    until = time.monotonic() + patience
    while (left := _tagged(tag)) and time.monotonic() < until:
        time.sleep(0.02)
    return [f"an orphan: {name}" for name in left.values()]


def _kill(tag: str) -> None:
    for pid in _tagged(tag):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _tagged(tag: str) -> dict[int, str]:
    """Processes with the tag in their environment: those of one run, wherever they went."""
    found = {}
    needle = f"{_TAG}={tag}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if needle in (folder / "environ").read_bytes():
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )[-80:]
        except OSError:
            continue  # gone, or somebody else's
    return found


def own_environment(root: Path) -> dict[str, str]:
    """An LSL and user folders of the campaign's own; no screen is needed."""
    lsl = root / "lsl.cfg"
    lsl.write_text(machine_only(f"signals-{uuid.uuid4().hex[:8]}"), encoding="utf-8")
    names = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    return {
        "LSLAPICFG": str(lsl),
        "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM")
        or ("xcb" if os.environ.get("DISPLAY") else "offscreen"),
        # What dies in C says where.
        "PYTHONFAULTHANDLER": "1",
        **{name: str(root / name.lower()) for name in names},
    }


@contextlib.contextmanager
def _headset(environment: dict[str, str]) -> Iterator[None]:
    """A virtual headset for the whole campaign, which `run` and `record` find."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        process = start_module(
            "devices.virtual", "--source-id", HEADSET, "--markers-source-id", MARKERS
        )
        if process.stdout is not None:
            process.stdout.readline()
        yield
    finally:
        end_command(process, patience=0.0)
        if process.stdout is not None:
            process.stdout.close()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the rows out as a table: a line a scene, a column a signal, seconds or the fault."""
    ways = [way for way in WAYS if any(row["signal"] == way for row in rows)]
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        words = "; ".join(row["faults"]) or f"{row['seconds']:.1f}"
        cells.setdefault(row["what"], {})[row["signal"]] = words
    lines = [f"| ended | {' | '.join(ways)} |", f"|---|{'---|' * len(ways)}"]
    for what, found in cells.items():
        lines.append(f"| {what} | {' | '.join(found.get(way, '') for way in ways)} |")
    return "\n".join(lines)
