"""Session folders that were left behind: found, and finished with what is there.

Owns the summary made afterwards; whose a folder is, its lock says (`app.runtime.lock`). It never
touches a folder whose process lives, never the recording, and never writes over a summary.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.errors import FolderError
from app.port import StageTimes
from app.runtime.folder import RESERVE
from app.runtime.lock import LockState, read_lock, remove_lock
from app.runtime.statistics import (
    Latencies,
    accuracy_of_events,
    accuracy_table,
    repetitions_of_events,
    repetitions_table,
)
from app.runtime.writing import write_atomically
from configs import ConfigError, load_config
from configs.guard import TABLE_LIMIT, read_text
from configs.plain import utf8

UNFINISHED = (
    "The session ended without being finished (a crash or a power cut). This summary was made "
    "afterwards from the pictures' log; sample counts are not known."
)


def is_abandoned(folder: Path) -> bool:
    """Whether a session was left unfinished there by a process that is gone."""
    return read_lock(folder)[0] is LockState.ABANDONED


def doubt(folder: Path) -> str:
    """Say why it cannot be told from here whether a folder's session still runs; "" when it can."""
    state, owner = read_lock(folder)
    if state is not LockState.UNKNOWN:
        return ""
    who = "a process whose lock cannot be read" if owner is None else str(owner)
    return (
        f"The session in {folder} belongs to {who}, and whether it still runs cannot be told from "
        "here: finishing it while it does would damage it."
    )


def recover(folder: Path, *, confirmed: bool = False) -> Path:
    """Finish an abandoned session folder: summary and report from what is there.

    Returns the report. `confirmed`: a person says that the session in doubt runs nowhere. Raises
    `FolderError` when the folder is not abandoned or cannot be written, `ReportError` when no
    report can be made.
    """
    from app.report import build_report

    state, owner = read_lock(folder)
    if state is LockState.UNKNOWN and not confirmed:
        raise FolderError(f"{doubt(folder)} Nothing was changed: confirm (--yes) if it does not.")
    if state not in (LockState.ABANDONED, LockState.UNKNOWN):
        found = f"in use by {owner}" if owner is not None else "has no lock"
        raise FolderError(
            f"{folder}: {found}, expected a session left behind by a process that is gone: "
            "nothing was changed."
        )
    try:
        (folder / RESERVE).unlink(missing_ok=True)
        if not (folder / "summary.json").exists():
            text = json.dumps(_summary(folder), indent=2, ensure_ascii=False) + "\n"
            write_atomically(folder / "summary.json", utf8(text))
        report = build_report(folder)
        remove_lock(folder)
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot be finished ({error.strerror}): make room or allow writing there."
        ) from None
    return report


def _summary(folder: Path) -> dict[str, Any]:
    lines = list(_lines(folder / "events.jsonl"))
    onsets = [line["t_onset"] for line in lines if isinstance(line.get("t_onset"), float)]
    subject, preset = _names(folder)
    latencies = Latencies()
    for line in lines:
        stages = line.get("stages_ms")
        if isinstance(stages, Mapping) and set(StageTimes.__slots__) <= {*stages, "network"}:
            known = {key: stages[key] for key in StageTimes.__slots__ if key in stages}
            latencies.add(StageTimes(**known))
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
        "accuracy": accuracy_table(accuracy_of_events(lines)),
        "repetitions": repetitions_table(repetitions_of_events(lines)),
        "recording": {"path": recordings[0].name, "bytes": recordings[0].stat().st_size}
        if recordings
        else None,
        "warnings": [UNFINISHED],
    }


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Events that can be read; the last line of a crash may be half a line."""
    if not path.exists():
        return
    # Not splitlines(): a label may hold U+2028 and others that end a line there, and not in JSON.
    for text in read_text(path, limit=TABLE_LIMIT, errors="replace").split("\n"):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, Mapping):
            yield line


def _names(folder: Path) -> tuple[str, str]:
    try:
        config = load_config(folder / "session.toml")
    except (ConfigError, OSError):
        return "unknown", "unknown"
    return config.subject, config.preset
