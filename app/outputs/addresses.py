"""Addresses as they are given: `HOST:PORT`.

Owns how they are read. Opens nothing.
"""

from __future__ import annotations

from app.errors import OutputError

LOOPBACK = "127.0.0.1"


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; the brackets of an IPv6 address are taken off.

    Raises
    ------
    OutputError
        There is no port from 1 to 65535.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise OutputError(
            f"Address is {text!r}, expected HOST:PORT with a port from 1 to 65535, such as "
            f"{LOOPBACK}:9000."
        )
    return host.removeprefix("[").removesuffix("]"), int(port)
