"""Folders and files that only their owner can read: recordings of brains and what is made of them.

Owns the modes, whatever the umask says, and nothing about what is written. The lowest layer, so
that every writer can use it; on Windows a person's own folders are private already.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any, Final

FOLDER: Final = 0o700
FILE: Final = 0o600
UMASK: Final = 0o077
"""For a whole command, so that what a library writes is private as well."""


def make_private(folder: Path, *, exist_ok: bool = True) -> None:
    """Make a folder for its owner only, and each missing one above it; modes of others stay.

    Raises
    ------
    OSError
        It cannot be made, or (without `exist_ok`) is there.
    """
    missing = [folder, *folder.parents]
    missing = missing[: next((k for k, each in enumerate(missing) if k and each.exists()), None)]
    for each in reversed(missing[1:]):
        each.mkdir(mode=FOLDER, exist_ok=True)
    folder.mkdir(mode=FOLDER, exist_ok=exist_ok)


def open_private(path: Path, mode: str, *, encoding: str | None = None) -> IO[Any]:
    """Open a file for writing that is its owner's only; an old one of the name keeps its mode.

    Raises
    ------
    OSError
        As `open`.
    """
    return open(path, mode, encoding=encoding, opener=_open)


def _open(name: str, flags: int) -> int:
    return os.open(name, flags, FILE)
