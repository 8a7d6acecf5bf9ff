"""What draws: the generator that settings choose, by name, folder or file.

Owns that choice. Loads nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from configs import DecoderConfig
from configs.guard import read_text
from configs.plugins import ID_RULE
from models.registry import (
    Registered,
    UnknownSystemError,
    find_part,
    find_system,
    read_registry,
)


def choose_generator(config: DecoderConfig) -> tuple[Registered, str | None]:
    """Find what draws, and the folder of its weights (None: the installed ones).

    A folder is loaded by the generator that it names in its `system.json` (`generator`) or
    `config.json` (`system`), else by the one that opens its pipeline (`model_index.json`), else
    by the system's own; a file by the one that opens its ending.

    Raises
    ------
    UnknownSystemError
        There is none of that name, or the system has none of its own.
    """
    own = find_system(config.system).descriptor
    default = own.drawn_by or own.name
    chosen = config.generator
    if chosen is None:
        return find_part(default, "sampler"), config.weights if default == own.name else None
    place = Path(chosen)
    if ID_RULE.fullmatch(chosen) and not place.exists():
        weights = config.weights if chosen == own.name else None
        return find_part(chosen, "sampler", what="generator"), weights
    if place.is_dir():
        return find_part(_generator_of(place) or default, "sampler"), chosen
    if place.is_file() and (opener := _opener(place.suffix)):
        return find_part(opener, "sampler"), chosen
    raise UnknownSystemError(
        f"generator {chosen!r} is neither a name that `phosphene systems` lists nor a folder or "
        "file of weights (.safetensors): mend decoder.generator."
    )


def _generator_of(folder: Path) -> str:
    """Name of the generator that a folder of weights says it is of; empty where it does not."""
    for file, key in (("system.json", "generator"), ("config.json", "system")):
        if name := _read_key(folder / file, key):
            return name
    return _opener(_read_key(folder / "model_index.json", "_class_name"))


def _read_key(file: Path, key: str) -> str:
    try:
        name = json.loads(read_text(file)).get(key)
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
    return name if isinstance(name, str) else ""


def _opener(kind: str) -> str:
    """Name of the generator that opens a kind of folder or file; empty: none."""
    found = read_registry().systems.items() if kind else ()
    return next((name for name, each in found if kind in each.descriptor.opens), "")
