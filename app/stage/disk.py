"""What the stage leaves on the disk: nothing of a visitor unless it is kept, and only a quota.

Owns the folders below the stage's own root, and nothing outside of it. A folder that a session
still writes is never touched.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from app.errors import AppError
from configs.plain import plain

_LOG = logging.getLogger(__name__)
MARK = ".phosphene-stage"
"""A file in a folder that the stage may delete from: it was new, or empty, when the stage began."""
SESSION_FILES = frozenset({"session.toml", "events.jsonl", "summary.json"})
"""What tells a session's folder: anything else below the root is left alone."""


def claim(root: Path) -> None:
    """Take a folder for the stage's sessions, which it will delete one day.

    Raises
    ------
    AppError
        It holds what somebody else put there.
    OSError
        It cannot be written.
    """
    mark = root / MARK
    if mark.exists():
        return
    strange = next(root.iterdir(), None)
    if strange is not None:
        raise AppError(
            f"{root} holds {plain(strange.name)!r}, expected a folder of the stage's own, from "
            "which it may delete: name a new or an empty one with --out."
        )
    mark.write_text("Sessions below are deleted by `phosphene stage`.\n", encoding="utf-8")


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for below, _, names in os.walk(folder):  # passes over folders that it cannot list
        for name in names:
            with contextlib.suppress(OSError):
                found = (Path(below) / name).lstat()
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def remove(folder: Path) -> bool:
    """Delete a session's folder; False where it is none, or cannot be deleted."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError:
        return False
    if not SESSION_FILES & names:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _LOG.warning("%s cannot be deleted: delete it by hand", folder)
        return False
    return True


def keep_quota(root: Path, quota: int, *, in_use: Collection[Path] = ()) -> int:
    """Delete the oldest sessions below `root` until all of it is within `quota` bytes.

    Returns what is left, bytes; more than `quota` where the rest is in use, or not ours.
    """
    try:
        folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink())
    except OSError:
        return 0
    held = {path.resolve() for path in in_use}
    sizes = {folder: size_of(folder) for folder in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total <= quota:
            break
        if folder.resolve() not in held and remove(folder):
            total -= sizes[folder]
    return total
