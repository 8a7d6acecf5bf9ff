"""Folders and files that only their owner can read: recordings of brains and what is made of them.

Owns the modes, whatever the umask says, and nothing about what is written. The lowest layer, so
that every writer can use it; on Windows a person's own folders are private already.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

FOLDER: Final = 0o700
FILE: Final = 0o600
UMASK: Final = 0o077
"""For a whole command, so that what a library writes is private as well."""
_watchers: list[list[Path]] = []
"""Lists that get each folder that `make_private` makes."""


@contextlib.contextmanager
def made_folders() -> Iterator[list[Path]]:
    """Within, each folder that `make_private` makes is added to the list that is yielded."""
    made: list[Path] = []
    _watchers.append(made)
    try:
        yield made
    finally:
        _watchers.pop()


def remove_empty(folders: list[Path]) -> None:
    """Remove those that nothing was put in; the last one that was made first."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()


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
    was_there = folder.exists()
    folder.mkdir(mode=FOLDER, exist_ok=exist_ok)
    new = [*reversed(missing[1:]), *([] if was_there else [folder])]
    for made in _watchers:
        made.extend(each.absolute() for each in new)


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
