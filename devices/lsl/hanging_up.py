"""Ends the connections to an outlet before the outlet itself is closed.

Owns a workaround. When an outlet is destroyed, liblsl (1.16 to 1.18) walks its table of connections
and hands each to its own thread to be closed. One that ends while the walk still holds it is taken
out of the table under the walk, and the process dies of SIGSEGV. Connections that carry samples are
held by a thread of theirs; one that has only begun (somebody reads the description, or a port is
scanned) is not. So they are ended here, and have ended before liblsl looks.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pylsl

PATIENCE = 0.05
"""Longest wait for connections to end, s. Those that carry samples notice with the next one only,
and need not: their thread holds them."""
_PAUSE = 0.001
_PORT = re.compile(r"<v[46]data_port>(\d+)<")


def hang_up(*outlets: pylsl.StreamOutlet, patience: float = PATIENCE) -> None:
    """End every connection to outlets that are about to be closed, and wait up to `patience` s.

    Does nothing on Windows, which does not list a process's sockets.
    """
    if sys.platform == "win32":
        return
    ports = {int(port) for each in outlets for port in _PORT.findall(each.get_info().as_xml())}
    deadline = time.monotonic() + patience
    while _shut_down(ports) and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _shut_down(ports: set[int]) -> int:
    """Shut down this process's connections at its own `ports`; how many there still are."""
    n_open = 0
    for connection in _connections():
        with connection:
            try:
                if connection.getsockname()[1] not in ports:
                    continue
                connection.getpeername()  # the socket that listens has no peer
            except OSError:
                continue
            n_open += 1
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its peer was faster
    return n_open


def _connections() -> Iterator[socket.socket]:
    """Open each TCP socket of this process once more; the caller closes what it gets."""
    for entry in Path("/dev/fd").iterdir():
        try:
            if not stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                continue
            again = os.dup(int(entry.name))
        except OSError:
            continue  # closed meanwhile
        found = socket.socket(fileno=again)
        if found.type is socket.SOCK_STREAM and found.family in (socket.AF_INET, socket.AF_INET6):
            yield found
        else:
            found.close()
