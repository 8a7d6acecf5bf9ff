"""A finished session folder, read without trusting it.

Owns the tolerant reading of `summary.json`, `events.jsonl`, `session.toml` and the pictures:
numbers that are not numbers become None, lines that are not JSON are counted, a picture's path
cannot leave the folder. Knows nothing of HTML.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from app.errors import AppError
from app.report.markup import clean
from configs.guard import TABLE_LIMIT, read_bytes, read_text

PICTURE_LIMIT = 1 << 26
"""Largest file of a picture, bytes."""
STAGES = ("arrival", "filter", "epoch", "queue", "encode", "sample")
"""The stages whose times add up to `total_after_epoch`."""


class ReportError(AppError):
    """A folder is not a session that can be reported on."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of `events.jsonl`: one marker and how it ended."""

    index: int
    t_onset: float
    label: str
    outcome: str
    reason: str
    top: tuple[tuple[str, float], ...]
    retrieved: tuple[tuple[str, float], ...]
    chance: float | None
    rank: int | None
    confidence: float | None
    image: str | None
    image_sha256: str | None
    embedding_sha256: str | None = None
    learnt: bool = False
    """Whether the decoder was fitted to this trial, so that it is no test."""
    true_class: str = ""
    """The class that was shown, where the decoder knows classes."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Flatten it, for a row of a table; stages as `ms_encode` and the like."""
        best = self.top[0] if self.top else (None, None)
        row = {
            "index": self.index,
            "t_onset": self.t_onset,
            "label": self.label,
            "outcome": self.outcome,
            "reason": self.reason,
            "answer": best[0],
            "probability": best[1],
            "rank": self.rank,
            "chance": self.chance,
            "confidence": self.confidence,
            "image": self.image,
        }
        return row | {f"ms_{name}": value for name, value in self.stages_ms.items()}

    @property
    def is_decoded(self) -> bool:
        """Whether a picture was meant to come of it."""
        return self.outcome == "decoded"


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Everything that a report is made of.

    `summary` and `settings` are the parsed files; `n_unreadable` counts lines of
    `events.jsonl` that are not one event.
    """

    folder: Path
    summary: Mapping[str, Any]
    settings: Mapping[str, Any]
    events: tuple[Event, ...]
    n_unreadable: int

    def number(self, *keys: str) -> float | None:
        """Return the finite number at a path of keys in the summary, else None."""
        return as_number(dig(self.summary, *keys))

    def table(self, *keys: str) -> Mapping[str, Any]:
        """Return the table at a path of keys in the summary, else an empty one."""
        return as_table(dig(self.summary, *keys))

    @property
    def is_free(self) -> bool:
        """Whether windows were decoded, one after the other, instead of what follows a marker."""
        return bool(dig(self.settings, "epochs", "mode") == "free")

    @property
    def decoded(self) -> tuple[Event, ...]:
        """Events that ended as a picture, in order of onset."""
        return tuple(event for event in self.events if event.is_decoded)


def dig(table: object, *keys: str) -> Any:
    """Return the value at a path of keys, None where the path ends early."""
    for key in keys:
        if not isinstance(table, Mapping):
            return None
        table = table.get(key)
    return table


def as_number(value: object) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_table(value: object) -> Mapping[str, Any]:
    """Return a table, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def as_text(value: object, default: str = "") -> str:
    """Return text cleaned of control characters, or `default` for anything else."""
    return clean(value) if isinstance(value, str) else default


def read_record(folder: Path) -> SessionRecord:
    """Read a session folder.

    Raises
    ------
    ReportError
        The folder or its `summary.json` is missing or unreadable.
    """
    path = folder / "summary.json"
    try:
        summary = json.loads(read_text(path, limit=TABLE_LIMIT))
    except FileNotFoundError:
        raise ReportError(
            f"{path}: no such file, expected a session folder that was finished: "
            "give the folder that `phosphene run --out` wrote."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: cannot be read ({error}), expected JSON.") from None
    if not isinstance(summary, dict):
        raise ReportError(f"{path}: holds no table, expected the summary of a session.")
    events, n_unreadable = _read_events(folder / "events.jsonl")
    return SessionRecord(folder, summary, _read_settings(folder), events, n_unreadable)


def read_picture(record: SessionRecord, event: Event) -> bytes | None:
    """Return the bytes of an event's PNG; None where it is absent or not in `images/`."""
    if event.image is None:
        return None
    name = PurePosixPath(event.image)
    if name.parts[:1] != ("images",) or len(name.parts) != 2 or name.suffix != ".png":
        return None
    path = record.folder / "images" / name.name
    try:
        if path.resolve().parent != (record.folder / "images").resolve():
            return None
        return read_bytes(path, limit=PICTURE_LIMIT)
    except (OSError, ValueError):
        return None


def picture_is_genuine(event: Event, data: bytes) -> bool:
    """Whether a picture still has the hash that was written when it was made."""
    return event.image_sha256 is None or hashlib.sha256(data).hexdigest() == event.image_sha256


def _read_settings(folder: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(read_text(folder / "session.toml"))
    except (OSError, ValueError, RecursionError):
        return {}


def _read_events(path: Path) -> tuple[tuple[Event, ...], int]:
    try:
        lines = read_text(path, limit=TABLE_LIMIT, errors="replace").split("\n")
    except OSError:
        return (), 0
    events: list[Event] = []
    n_unreadable = 0
    for line in lines:
        if not line.strip():
            continue
        event = _read_event(line)
        if event is None:
            n_unreadable += 1
        else:
            events.append(event)
    return tuple(sorted(events, key=lambda event: (event.t_onset, event.index))), n_unreadable


def _read_event(line: str) -> Event | None:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    table = as_table(raw)
    index, t_onset = as_number(table.get("index")), as_number(table.get("t_onset"))
    outcome = as_text(table.get("outcome"))
    if index is None or t_onset is None or not outcome:
        return None
    rank = as_number(table.get("rank"))
    return Event(
        index=int(index),
        t_onset=t_onset,
        label=as_text(table.get("label")),
        outcome=outcome,
        reason=as_text(table.get("reason")),
        top=_read_top(table.get("top")),
        retrieved=_read_top(table.get("retrieved")),
        chance=as_number(table.get("chance")),
        rank=None if rank is None or rank < 1 else int(rank),
        confidence=as_number(table.get("confidence")),
        image=as_text(table.get("image")) or None,
        image_sha256=as_text(table.get("image_sha256")) or None,
        embedding_sha256=as_text(table.get("embedding_sha256")) or None,
        learnt=table.get("learnt") is True,
        true_class=as_text(table.get("class")),
        stages_ms=_read_stages(table.get("stages_ms")),
    )


def _read_stages(value: object) -> dict[str, float]:
    pairs = ((clean(name), as_number(each)) for name, each in as_table(value).items())
    return {name: number for name, number in pairs if number is not None}


def _read_top(value: object) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list):
        return ()
    pairs = []
    for item in value:
        if isinstance(item, list) and len(item) == 2:
            score = as_number(item[1])
            if isinstance(item[0], str) and score is not None:
                pairs.append((clean(item[0]), score))
    return tuple(pairs)
