"""Names of people and adapters, and the only places of the store that they may stand for.

Owns the pattern that every id and code must match before it becomes a part of a path, new ids, and
the refusal of links. Knows nothing of what an adapter is.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from models.adapters.errors import AdapterError

_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def is_subject(name: str) -> bool:
    """Whether `name` can be a subject code."""
    return _SUBJECT.fullmatch(name) is not None


def is_adapter_id(name: str) -> bool:
    """Whether `name` can be an adapter's id."""
    return _ID.fullmatch(name) is not None


def check_subject(name: str) -> str:
    """Return a subject code; raise `AdapterError` for anything else."""
    if not is_subject(name):
        raise AdapterError(
            f"{name!r} is no subject code, expected 1 to 64 letters, digits, '_' or '-'."
        )
    return name


def check_adapter_id(name: str) -> str:
    """Return an adapter's id; raise `AdapterError` for anything else."""
    if not is_adapter_id(name):
        raise AdapterError(
            f"there is no adapter {name!r}, expected an id (letters, digits, '_' and '-') as "
            "`phosphene adapters list` shows it."
        )
    return name


def new_adapter_id(subject: str) -> str:
    """Make an id: code, day, time (the last part begins with the microseconds), chance.

    Ids sort by age, and two processes never make the same one.
    """
    now = datetime.now(UTC)
    return f"{subject}-{now:%Y%m%d-%H%M%S}-{now.microsecond:05x}{secrets.token_hex(4)}"


def check_inside(root: Path, folder: Path) -> Path:
    """Return a folder of the store; raise `AdapterError` where a link leads away from it.

    The root itself may be a link: it is where the person keeps the store.
    """
    inner = folder.relative_to(root).parts
    steps = [root.joinpath(*inner[: n + 1]) for n in range(len(inner))]
    for step in steps:
        if step.is_symlink():
            raise AdapterError(
                f"{step} is a link to {step.readlink()}, expected a folder of the store itself: "
                "nothing was changed; look at it, and remove the link by hand."
            )
    return folder
