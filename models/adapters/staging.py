"""Where an adapter is made before it is there, and what is left of one that never was.

Owns hidden folders below a person's: `.part-*` while one is made (its maker holds a lock in it, so
that a dead one is known), `.gone-*` while one is deleted. Renaming is what makes both atomic.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from configs.private import FOLDER
from models.adapters.errors import AdapterError
from models.adapters.files import read_manifest
from models.adapters.history import STATE_NAME
from models.locking import hold, is_held

_PART, _GONE, _HELD = ".part-", ".gone-", ".held"
_OLD_INCOMING = ".incoming"
"""Where all imports of earlier versions were made."""


@dataclass(slots=True)
class Staged:
    """One adapter in the making: `folder` is renamed into the store when it is whole."""

    folder: Path
    handle: int

    @classmethod
    def open(cls, parent: Path) -> Staged:
        """Make one below a person's folder, for its owner only; the store's lock is held."""
        place = Path(tempfile.mkdtemp(prefix=_PART, dir=parent))
        return cls(place / "adapter", hold(place / _HELD))

    def close(self) -> None:
        """Take it away with what is still in it, and the person's folder if that is empty now."""
        os.close(self.handle)
        place = self.folder.parent
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.parent.rmdir()


def discard(folder: Path) -> None:
    """Delete a folder: at once out of sight, then from the disk.

    Raises
    ------
    AdapterError
        Something of it could not be deleted.
    """
    gone = folder.with_name(f"{_GONE}{secrets.token_hex(8)}-{folder.name}")
    try:
        folder.rename(gone)
    except OSError:
        gone = folder
    try:
        shutil.rmtree(gone)
    except OSError as error:
        raise AdapterError(f"could not delete all of {gone} ({error}).") from error


def left_in(folder: Path) -> tuple[Path, ...]:
    """What was begun below a person's folder and never finished, by a process that is gone."""
    try:
        found = [p for p in folder.iterdir() if p.name.startswith(".") and p.is_dir()]
    except OSError:
        return ()
    return tuple(sorted(p for p in found if not p.is_symlink() and not is_held(p / _HELD)))


def left_at_root(root: Path, subject: str | None = None) -> tuple[Path, ...]:
    """What is left directly below the root: half-deleted people, an old import (of `subject`)."""
    found = [p for p in left_in(root) if p.name.startswith(_GONE)]
    if subject is not None:
        found = [p for p in found if p.name.split("-", 2)[-1] == subject]
    incoming = root / _OLD_INCOMING
    if incoming.is_dir() and not incoming.is_symlink():
        with contextlib.suppress(AdapterError):
            if subject is None or read_manifest(incoming).subject == subject:
                found.append(incoming)
    return tuple(found)


def sweep(root: Path, folder: Path) -> None:
    """Delete what is left at the root and below a person's folder, as far as that goes."""
    for each in (*left_at_root(root), *left_in(folder)):
        shutil.rmtree(each, ignore_errors=True)


def has_history(folder: Path) -> bool:
    """Whether a person's folder says which adapters were active."""
    return (folder / STATE_NAME).exists()


def tighten(root: Path) -> None:
    """Close a store that an earlier version left open to others; another owner's stays."""
    with contextlib.suppress(OSError):
        if root.stat().st_mode & 0o077:
            root.chmod(FOLDER)
