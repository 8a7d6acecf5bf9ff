"""Whether a process lives, and when it began, on each system; without a library for it.

Owns the three ways to ask: Linux's `/proc`, Windows' handles, `ps` anywhere else. (psutil knows
all three, but is one more thing to install for two calls.) The time is an opaque word: equal for
one process whenever it is asked, another for the next one with its number.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PS_TIMEOUT = 5.0
"""Longest wait for `ps`, s."""


def started_at(pid: int) -> str | None:
    """When process `pid` began; empty: it lives and that is not told. None: there is none."""
    if pid <= 0:
        return None
    if sys.platform == "win32":
        return _on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # somebody else's
    return _by_proc(pid) if Path("/proc/self/stat").exists() else _by_ps(pid)


def _by_proc(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""  # hidden from us, or gone this moment
    # The name in parentheses may hold anything: the fields are counted from behind it.
    fields = text.rpartition(b")")[2].split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None  # ended; only its parent has not asked yet how
    return fields[19].decode("ascii", "replace")


def _by_ps(pid: int) -> str | None:
    try:
        done = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=_PS_TIMEOUT,
            check=False,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    state, _, started = done.stdout.strip().partition(" ")
    return None if state.startswith("Z") else " ".join(started.split())


def _on_windows(pid: int) -> str | None:
    # There, os.kill with any signal but two ends the process it asks about.
    ctypes: Any = importlib.import_module("ctypes")
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.OpenProcess.restype = ctypes.c_void_p
    query, still_active, denied = 0x1000, 259, 5
    handle = ctypes.c_void_p(kernel32.OpenProcess(query, False, pid))
    if not handle:
        return "" if ctypes.get_last_error() == denied else None
    try:
        code = ctypes.c_ulong()
        known = kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
        if known and code.value != still_active:
            return None
        times = (ctypes.c_ulonglong * 4)()  # made, ended, and the time used twice
        told = kernel32.GetProcessTimes(handle, *(ctypes.byref(times, 8 * at) for at in range(4)))
        return str(times[0]) if told else ""
    finally:
        kernel32.CloseHandle(handle)
