"""What the stage leaves on the disk: nothing of a visitor unless it is kept, and only a quota.

Owns the folders below the stage's own root, and nothing outside of it. A folder that a session
still writes is never touched.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

_LOG = logging.getLogger(__name__)
SESSION_FILES = frozenset({"session.toml", "events.jsonl", "summary.json"})
"""What tells a session's folder: anything else below the root is left alone."""


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += 0 if path.is_symlink() or not path.is_file() else path.stat().st_size
        except OSError:
            continue
    return total


def remove(folder: Path) -> bool:
    """Delete a session's folder; False where it is none, or cannot be deleted."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    if not SESSION_FILES & {path.name for path in folder.iterdir()}:
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
    if not root.is_dir():
        return 0
    held = {path.resolve() for path in in_use}
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink())
    sizes = {folder: size_of(folder) for folder in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total <= quota:
            break
        if folder.resolve() not in held and remove(folder):
            total -= sizes[folder]
    return total
