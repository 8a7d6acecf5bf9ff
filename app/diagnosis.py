"""What works on this machine, found out by trying.

Owns the checks behind `phosphene doctor`; each returns a `Check` and never raises for a fault of
the machine. Libraries that may abort a process (Qt without its system libraries, a broken GPU
driver) are tried in a child process. Knows nothing of printing.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import platformdirs

from app.formatting import count, size
from pipeline.errors import PhospheneError

PACKAGES = (
    "phosphene",
    "numpy",
    "scipy",
    "torch",
    "diffusers",
    "pylsl",
    "mne",
    "pydantic",
    "safetensors",
    "pillow",
    "PySide6-Essentials",
)
EXTRAS = ("brainflow", "mne-lsl", "accelerate", "transformers", "torch-tensorrt", "ray")
LOW_DISK = 2e8
"""Free space below which recording is in danger, bytes."""
PROBE_TIMEOUT = 120.0


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """Works with less than everything."""
    ERROR = "error"
    """The app cannot do its work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, what was found, what to do."""

    name: str
    status: Status
    found: str
    advice: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def diagnose(*, lsl_timeout: float = 5.0) -> Iterator[Check]:
    """Run every check, one after the other."""
    yield check_versions()
    yield check_accelerator()
    yield check_lsl(lsl_timeout)
    yield from check_folders()
    yield from check_weights()
    yield check_qt()


def check_versions() -> Check:
    """Look up the versions of Python and of the packages."""
    found = {name: _version(name) for name in (*PACKAGES, *EXTRAS)}
    missing = [name for name in PACKAGES if found[name] is None]
    return Check(
        "versions",
        Status.ERROR if missing else Status.OK,
        f"Python {platform.python_version()}, {platform.platform()}",
        f"not installed: {', '.join(missing)}; run `make install`" if missing else "",
        {"python": platform.python_version(), "platform": platform.platform(), **found},
    )


def check_accelerator() -> Check:
    """Try torch in a process of its own, and say what draws here and why."""
    answer, reason = run_probe("models.probing", "probe_torch")
    if answer is None:
        return Check("decoder", Status.ERROR, f"torch cannot be used: {reason}", "install again")
    from models.probing import probe_backends

    try:
        facts = {**answer, **probe_backends()}
    except PhospheneError as error:
        return Check("decoder", Status.ERROR, str(error), data=answer)
    faster = "; ".join(text for text in (facts["faster"], facts["gpu"]) if text)
    return Check(
        "decoder",
        Status.OK,
        f"device {facts['device']}, back-end {facts['backend']} (torch {facts['torch']}): "
        f"{facts['why']}; {count(facts['n_engines'], 'engine')} kept "
        f"({size(facts['engine_bytes'])})",
        f"faster: {faster}" if faster else "",
        facts,
    )


def check_lsl(timeout: float) -> Check:
    """Publish a stream and read it back."""
    try:
        from devices.lsl.loopback import check_loopback
    except (ImportError, RuntimeError, OSError) as error:
        return Check(
            "lsl", Status.ERROR, f"liblsl cannot be loaded: {error}", "install pylsl again"
        )
    result = check_loopback(timeout)
    data = {
        "found_after": result.found_after,
        "read_after": result.read_after,
        "others": list(result.others),
        "config": os.environ.get("LSLAPICFG"),
    }
    if result.is_ok:
        others = f"; also in reach: {', '.join(result.others)}" if result.others else ""
        text = f"a stream of our own was found and read in {result.read_after:.2f} s{others}"
        return Check("lsl", Status.OK, text, data=data)
    step = "not found" if result.found_after is None else "found, but gave no sample"
    advice = "allow UDP 16571-16604 (multicast) and TCP 16572-16604 in the firewall"
    return Check("lsl", Status.ERROR, f"a stream of our own was {step}", advice, data)


def check_folders() -> Iterator[Check]:
    """Try to write where the app writes."""
    folders = {
        "session folder": Path.cwd(),
        "data folder": Path(platformdirs.user_data_dir("phosphene", appauthor=False)),
        "cache folder": Path(platformdirs.user_cache_dir("phosphene", appauthor=False)),
        "settings folder": Path(platformdirs.user_config_dir("phosphene", appauthor=False)),
    }
    for name, folder in folders.items():
        yield check_folder(name, folder)


def check_folder(name: str, folder: Path) -> Check:
    """Try to write at a folder, or where it would be made."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    data: dict[str, Any] = {"path": str(folder), "exists": folder.exists()}
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
        free = shutil.disk_usage(existing).free
    except OSError as error:
        advice = "choose another place, or allow writing there"
        found = f"{folder}: cannot be written ({error.strerror})"
        return Check(name, Status.ERROR, found, advice, data)
    data["free_bytes"] = free
    found = f"{folder} ({free / 1e9:.1f} GB free)"
    if free < LOW_DISK:
        return Check(name, Status.NOTE, found, "make room before recording", data)
    return Check(name, Status.OK, found, data=data)


def check_weights() -> Iterator[Check]:
    """Compare the weights of every system that can run with their hashes."""
    from models.registry import read_registry

    registry, absent = read_registry(), dict[str, Any]()
    for problem in registry.problems:
        yield Check("plug-in", Status.NOTE, problem, "update or remove that distribution")
    for facts in (found.descriptor for found in registry.systems.values()):
        status = facts.status()
        if status is None:
            continue
        data: dict[str, Any] = {
            "state": str(status.state),
            "folder": str(status.folder),
            "bytes": status.n_bytes,
            "problems": list(status.problems),
        }
        words = f"{status.state}, {status.n_files} files, {status.n_bytes / 1e6:.1f} MB"
        levels = {"ready": Status.OK, "unverified": Status.NOTE}
        if status.state == "missing" and not facts.is_shipped:
            # A published system that nobody installed is no fault of this machine.
            absent[facts.name] = data
            continue
        level = levels.get(status.state, Status.ERROR)
        advice = "; ".join(status.problems)
        yield Check(f"weights of {facts.name}", level, words, advice, data)
    if absent:
        advice = "`phosphene systems NAME` tells what each needs and where that is"
        yield Check("other weights", Status.NOTE, f"none of {', '.join(absent)}", advice, absent)


def check_qt() -> Check:
    """Try, in a process of its own, whether a window could be opened."""
    from app.display import has_display, install_line, missing_packages

    shown = has_display()
    environment = {} if shown else {"QT_QPA_PLATFORM": "offscreen"}
    missing = missing_packages()
    if missing:
        found = "system libraries that Qt needs are missing: sessions run headless"
        advice = f"Debian, Ubuntu: {install_line(missing)}"
        return Check("window", Status.NOTE, found, advice, {"display": shown, "missing": missing})
    answer, reason = run_probe("app.views.probe", "probe_qt", **environment)
    data = {"display": shown, **(answer or {})}
    if answer is None:
        return Check("window", Status.NOTE, f"Qt cannot start: {reason}", "install again", data)
    if not shown:
        found = f"Qt {answer['qt']} works, but there is no display: sessions run headless"
        return Check("window", Status.NOTE, found, data=data)
    return Check("window", Status.OK, f"Qt {answer['qt']} on {answer['platform']}", data=data)


def run_probe(module: str, function: str, **environment: str) -> tuple[dict[str, Any] | None, str]:
    """Call a function in a process of its own; return its table, or None and the reason."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "app.probe", module, function],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT,
            check=False,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer in {PROBE_TIMEOUT:g} s"
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return None, lines[-1] if lines else f"the process ended with {done.returncode}"
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return None, "the answer is not JSON"
    return answer, ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
