"""The lock of a session folder: whose it is, and whether that process still lives.

Owns the file's content and the verdict on it. A number of a process means something on one
computer, in one container, until it starts again: a lock says all three, and when the process
began, because numbers are given out anew. What cannot be told from here is `UNKNOWN`, and a person
decides. Knows nothing of what else is in the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from app.runtime.process_times import started_at
from configs.guard import open_file

LOCK: Final = ".phosphene.lock"
_LONGEST: Final = 4096
"""Bytes of a lock that are read; ours have some two hundred."""
_FIRST_NAMESPACE: Final = "pid:[4026531836]"
"""Linux's own name of the processes of a whole computer, the same at every start."""
_held: set[Path] = set()
"""Folders that this process writes to now."""


class LockState(StrEnum):
    """What a lock says of the session."""

    FREE = "free"
    """There is no lock."""
    ALIVE = "alive"
    """Its process writes there."""
    ABANDONED = "abandoned"
    """Its process is gone."""
    UNKNOWN = "unknown"
    """Another computer's, another container's, or one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told from all others.

    `machine` and `boot_id` are the computer and its present start, `namespace` the container as the
    kernel names it; `start_time` is when the process began, in the system's own words. Empty:
    unknown.
    """

    host: str
    machine: str
    boot_id: str
    namespace: str
    pid: int
    start_time: str

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        return f"process {self.pid}{where}"


@cache
def _here() -> tuple[str, str, str, str]:
    """Host, machine, boot and namespace of this process."""
    machine = _first_line("/etc/machine-id")
    digest = hashlib.sha256(f"phosphene {machine}".encode()).hexdigest()[:16] if machine else ""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = Path("/proc/self/ns/pid").readlink().name
    return socket.gethostname(), digest, _first_line("/proc/sys/kernel/random/boot_id"), namespace


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def this_process() -> Owner:
    """Describe the process that asks."""
    return Owner(*_here(), os.getpid(), started_at(os.getpid()) or "")


def write_lock(folder: Path) -> None:
    """Claim a folder: of many that try, one makes the file.

    Raises
    ------
    FileExistsError
        There is a lock.
    OSError
        It cannot be made; none is left.
    """
    owner = this_process()
    handle = os.open(folder / LOCK, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    _held.add(folder.resolve())
    try:
        os.write(handle, (json.dumps(asdict(owner)) + "\n").encode())
    except OSError:
        remove_lock(folder)
        raise
    finally:
        os.close(handle)


def let_go(folder: Path) -> None:
    """Write there no more, but leave the lock: what is unfinished can be finished later."""
    _held.discard(folder.resolve())


def remove_lock(folder: Path) -> None:
    """Give a folder back that is finished; safe to call twice.

    Raises
    ------
    OSError
        The lock cannot be removed.
    """
    let_go(folder)
    (folder / LOCK).unlink(missing_ok=True)


def read_lock(folder: Path) -> tuple[LockState, Owner | None]:
    """Say how a folder's lock stands, and whose it is where that can be read."""
    try:
        with open_file(folder / LOCK) as stream:
            owner = _parse(stream.read(_LONGEST))
    except FileNotFoundError:
        return LockState.FREE, None
    except OSError:
        return LockState.UNKNOWN, None
    if owner is not None and owner == this_process() and folder.resolve() not in _held:
        return LockState.ABANDONED, owner  # ours, and we could not finish it
    return (LockState.UNKNOWN if owner is None else _judge(owner)), owner


def _parse(data: bytes) -> Owner | None:
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(table, int) and table > 0:
        return Owner("", "", "", "", table, "")  # before the rest was written, too
    if not isinstance(table, Mapping) or not isinstance(table.get("pid"), int):
        return None
    names = ("host", "machine", "boot_id", "namespace", "start_time")
    words = [table.get(name, "") for name in names]
    if not all(isinstance(word, str) for word in words) or table["pid"] <= 0:
        return None
    host, machine, boot_id, namespace, start_time = words
    return Owner(host, machine, boot_id, namespace, table["pid"], start_time)


def _judge(owner: Owner) -> LockState:
    if owner.host:
        host, machine, boot_id, namespace = _here()
        if (owner.host, owner.machine, owner.namespace) != (host, machine, namespace):
            return LockState.UNKNOWN
        if owner.boot_id != boot_id:
            # The same computer, started anew: nothing of before lives. A container's name and
            # number come again elsewhere, so that of one this cannot be said.
            restarted = machine and namespace == _FIRST_NAMESPACE
            return LockState.ABANDONED if restarted else LockState.UNKNOWN
    start_time = started_at(owner.pid)
    if start_time is None:
        return LockState.ABANDONED
    if not owner.start_time or not start_time:
        return LockState.UNKNOWN  # somebody has that number; whether it is the writer is not said
    return LockState.ALIVE if owner.start_time == start_time else LockState.ABANDONED
