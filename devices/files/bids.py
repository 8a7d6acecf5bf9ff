"""BIDS sidecars beside a recording: events, channels, electrode positions.

Owns the reading of `*_events.tsv`, `*_channels.tsv`, `*_electrodes.tsv` (a byte-order mark at the
start is common and harmless). A sidecar that is there wins over what the file says itself. Knows
nothing of the recording's own format. Source: BIDS specification, EEG.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.guard import TABLE_LIMIT, read_text
from devices.errors import FileError
from devices.files.base import FileEvent

SIMULATED = "Simulated EEG of a virtual headset: no person was recorded."
"""How the task's description of a recording begins that our own export says is simulated."""
_UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}


@dataclass(frozen=True, slots=True)
class Sidecars:
    """What stands beside a recording; empty where nothing does.

    `ch_types` and `bads` are by channel name (types in BIDS's words, upper case); `positions` in
    m.
    """

    events: tuple[FileEvent, ...] | None = None
    ch_names: tuple[str, ...] = ()
    ch_types: dict[str, str] | None = None
    ch_units: dict[str, str] | None = None
    bads: tuple[str, ...] = ()
    positions: dict[str, tuple[float, float, float]] | None = None
    reference: str = ""
    """What the voltages are measured against; empty where nobody says."""
    is_simulated: bool = False
    """As our own export says of a virtual headset's recording."""


def read_sidecars(path: Path) -> Sidecars:
    """Sidecars of `path`, found by BIDS's names.

    Raises
    ------
    FileError
        A sidecar is there but cannot be read.
    """
    stem = path.name.rsplit(".", 1)[0]
    if not stem.endswith("_eeg"):
        return Sidecars()
    base = stem.removesuffix("_eeg")
    events = path.with_name(f"{base}_events.tsv")
    channels = path.with_name(f"{base}_channels.tsv")
    rows = _rows(channels) if channels.exists() else []
    about = _json(path.with_suffix(".json"))
    reference = about.get("EEGReference")
    return Sidecars(
        events=tuple(_event(row, events, k) for k, row in enumerate(_rows(events), 2))
        if events.exists()
        else None,
        ch_names=tuple(row["name"] for row in rows if row.get("name")),
        ch_types={row["name"]: row.get("type", "").upper() for row in rows if row.get("name")},
        ch_units={
            row["name"]: row["units"]
            for row in rows
            if row.get("name") and _given(row.get("units"))
        },
        bads=tuple(row["name"] for row in rows if row.get("status", "").lower() == "bad"),
        positions=_positions(path, base),
        reference=reference if isinstance(reference, str) and _given(reference) else "",
        is_simulated=_is_simulated(about),
    )


def _is_simulated(about: dict[str, Any]) -> bool:
    task = about.get("TaskDescription")
    return about.get("Simulated") is True or (isinstance(task, str) and task.startswith(SIMULATED))


def _json(path: Path) -> dict[str, Any]:
    """A sidecar's table; empty where there is none that can be read."""
    try:
        table = json.loads(read_text(path, encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        lines = read_text(path, limit=TABLE_LIMIT, encoding="utf-8-sig").split("\n")
        return [
            {(k or "").strip(): (v or "").strip() for k, v in row.items() if isinstance(v, str)}
            for row in csv.DictReader(lines, delimiter="\t")
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(
            f"{path} cannot be read ({error}), expected a tab-separated table in UTF-8: mend it or "
            "move it away."
        ) from error


def _event(row: dict[str, str], path: Path, line: int) -> FileEvent:
    try:
        onset = float(row["onset"])
    except (KeyError, ValueError):
        raise FileError(
            f"{path}, line {line}: onset is {row.get('onset')!r}, expected a number of seconds: "
            "mend the table or move it away."
        ) from None
    label = next((row[k] for k in ("trial_type", "value") if _given(row.get(k))), "event")
    return FileEvent(onset, label, _number(row.get("duration")))


def _given(text: str | None) -> bool:
    return bool(text) and text != "n/a"


def _number(text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _positions(path: Path, base: str) -> dict[str, tuple[float, float, float]] | None:
    """Positions in m, from the electrodes table of the run, or else of the person."""
    person = "_".join(p for p in base.split("_") if p.startswith(("sub-", "ses-")))
    tables = sorted(path.parent.glob(f"{base}*_electrodes.tsv")) or sorted(
        path.parent.glob(f"{person}*_electrodes.tsv")
    )
    if not tables or not person:
        return None
    scale = _scale(tables[0], person)
    found = {}
    for row in _rows(tables[0]):
        values = [_number(row.get(axis)) if _given(row.get(axis)) else math.nan for axis in "xyz"]
        if row.get("name") and all(map(math.isfinite, values)):
            found[row["name"]] = (values[0] * scale, values[1] * scale, values[2] * scale)
    return found or None


def _scale(table: Path, person: str) -> float:
    """Metres a unit, as the coordinate system's description says; BIDS's example unit is mm."""
    systems = sorted(table.parent.glob(f"{person}*_coordsystem.json"))
    for system in systems:
        described = _json(system)
        if described:
            return _UNITS.get(str(described.get("EEGCoordinateUnits", "")).lower(), 1e-3)
    return 1e-3
