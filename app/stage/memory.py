"""Memory of a window that runs for days: what sessions leave behind goes back to the system.

Owns what is asked of the C library. glibc keeps an arena for each thread that ever ran and gives
little of it back, so that every session, with threads of its own, leaves some megabytes; elsewhere
nothing is asked.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

_ARENA_MAX = -8
"""`M_ARENA_MAX` of malloc.h."""


def keep_one_arena() -> bool:
    """Let all threads that begin from now on share memory; whether that could be asked for."""
    libc = _libc()
    return libc is not None and libc.mallopt(_ARENA_MAX, 1) == 1


def give_back() -> None:
    """Give what is free back to the system; some milliseconds."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _libc() -> Any:
    """The C library where it is glibc; None elsewhere."""
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        _ = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):  # musl
        return None
    return libc
