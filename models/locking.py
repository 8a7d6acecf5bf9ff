"""A lock between processes on a file: the system frees it when its holder ends, however it does.

Owns the two systems' calls. A file that only says who locked it was rejected: what a killed
process leaves behind would lock for ever.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from configs.private import FILE
from pipeline.errors import PhospheneError

_PAUSE = 0.01


class HeldError(PhospheneError):
    """Another process holds a lock."""


@contextlib.contextmanager
def locked(path: Path, *, timeout: float) -> Iterator[None]:
    """Hold the lock on `path` (made if need be, never deleted) for the block.

    Raises
    ------
    HeldError
        Another process holds it for longer than `timeout`, s.
    OSError
        The file cannot be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, FILE)
    try:
        end = time.monotonic() + timeout
        while not _try(handle):
            if time.monotonic() > end:
                raise HeldError(
                    f"{path.parent} has been in use by another process for {timeout:g} s, "
                    "expected it free: end that process, or try again."
                )
            time.sleep(_PAUSE)
        yield
    finally:
        # Closing frees it.
        os.close(handle)


def hold(path: Path) -> int:
    """Make and lock a file of one's own; `os.close` of the returned handle frees it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE)
    _try(handle)
    return handle


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on `path`; a missing file is not held."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try(handle)
    finally:
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _try(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
