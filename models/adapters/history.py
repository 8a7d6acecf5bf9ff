"""Which adapters a person used, the active one last: `active.json` in the person's folder.

Owns that file. What it names is believed only where it is an id and such an adapter is there, so
that deleting an adapter needs no writing here, and a damaged file means no active adapter.
"""

from __future__ import annotations

import json
from pathlib import Path

from configs.guard import SETTINGS_LIMIT, read_bytes
from models.adapters.atomic import write_pair
from models.adapters.naming import is_adapter_id

STATE_NAME = "active.json"
LENGTH = 100
"""Adapters that are remembered; older ones stay in the store."""


def read_history(folder: Path) -> tuple[str, ...]:
    """Ids of a person's adapters in order of activation; empty where nothing can be read."""
    try:
        table = json.loads(read_bytes(folder / STATE_NAME, limit=SETTINGS_LIMIT))
        names = [each for each in table["history"] if isinstance(each, str) and is_adapter_id(each)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(each for each in names[-LENGTH:] if (folder / each).is_dir())


def write_history(folder: Path, history: tuple[str, ...]) -> None:
    """Write it anew; raise `AdapterError` where that fails, and the old one stays."""
    table = {"schema_version": 1, "history": history[-LENGTH:]}
    write_pair(folder, (STATE_NAME, json.dumps(table, indent=1).encode() + b"\n"))
