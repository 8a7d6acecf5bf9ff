"""Session folders that were left behind: found, and finished with what is there.

Owns the verdict on a lock whose process is gone, and the summary made afterwards. It never
touches a folder whose process lives, never the recording, and never writes over a summary.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.errors import FolderError
from app.port import StageTimes
from app.runtime.folder import LOCK, write_atomically
from app.runtime.statistics import Latencies, accuracy, accuracy_table
from configs import ConfigError, load_config

UNFINISHED = (
    "The session ended without being finished (a crash or a power cut). This summary was made "
    "afterwards from the pictures' log; sample counts are not known."
)


def is_abandoned(folder: Path) -> bool:
    """Whether a session was left unfinished there by a process that is gone."""
    try:
        owner = int((folder / LOCK).read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return False
    return owner != os.getpid() and not _is_alive(owner)


def recover(folder: Path) -> Path:
    """Finish an abandoned session folder: summary and report from what is there.

    Returns the report. Raises `FolderError` when the folder is not abandoned or cannot be
    written, `ReportError` when no report can be made.
    """
    from app.report import build_report

    if not is_abandoned(folder):
        raise FolderError(
            f"{folder}: is not a session left behind, expected one whose process is gone: "
            "nothing was changed."
        )
    try:
        if not (folder / "summary.json").exists():
            text = json.dumps(_summary(folder), indent=2, ensure_ascii=False) + "\n"
            write_atomically(folder / "summary.json", text.encode())
        report = build_report(folder)
        (folder / LOCK).unlink(missing_ok=True)
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot be finished ({error.strerror}): make room or allow writing there."
        ) from None
    return report


def _summary(folder: Path) -> dict[str, Any]:
    lines = list(_lines(folder / "events.jsonl"))
    ranks = [line["rank"] for line in lines if isinstance(line.get("rank"), int)]
    chances = [line["chance"] for line in lines if isinstance(line.get("chance"), float)]
    n_candidates = round(1 / chances[0]) if chances and chances[0] > 0 else 0
    onsets = [line["t_onset"] for line in lines if isinstance(line.get("t_onset"), float)]
    subject, preset = _names(folder)
    latencies = Latencies()
    for line in lines:
        stages = line.get("stages_ms")
        if isinstance(stages, Mapping) and set(StageTimes.__slots__) <= set(stages):
            latencies.add(StageTimes(**{key: stages[key] for key in StageTimes.__slots__}))
    recordings = sorted(folder.glob("recording*.xdf"))
    return {
        "schema_version": 1,
        "phase": "failed",
        "message": UNFINISHED,
        "subject": subject,
        "preset": preset,
        "duration_s": round(max(onsets) - min(onsets), 3) if onsets else 0.0,
        "markers": len(lines),
        "outcomes": dict(sorted(Counter(str(line.get("outcome")) for line in lines).items())),
        "latency_ms": latencies.summary(),
        "latency_check": latencies.check(),
        "accuracy": accuracy_table(accuracy(ranks, n_candidates)),
        "recording": {"path": recordings[0].name, "bytes": recordings[0].stat().st_size}
        if recordings
        else None,
        "warnings": [UNFINISHED],
    }


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Events that can be read; the last line of a crash may be half a line."""
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, Mapping):
            yield line


def _names(folder: Path) -> tuple[str, str]:
    try:
        config = load_config(folder / "session.toml")
    except (ConfigError, OSError):
        return "unknown", "unknown"
    return config.subject, config.preset


def _is_alive(pid: int) -> bool:
    """Whether a process of that number exists; one that took the number over counts, too."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_alive_on_windows(pid: int) -> bool:
    # There, os.kill with any signal but two ends the process it asks about.
    import importlib

    ctypes: Any = importlib.import_module("ctypes")
    query, still_active = 0x1000, 259
    handle = ctypes.windll.kernel32.OpenProcess(query, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    known = ctypes.windll.kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
    ctypes.windll.kernel32.CloseHandle(handle)
    return not known or code.value == still_active
