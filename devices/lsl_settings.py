"""liblsl's settings: streams that stay on one machine, and a library that keeps quiet.

Owns the text of an `lsl_api.cfg`; knows nothing of streams. liblsl reads its settings once, at its
first call in a process: `devices.lsl` quiets it, tests and benchmarks write a file of their own
before anything of `devices.lsl` is imported.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_PLACES = ("lsl_api.cfg", "~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")
"""Where liblsl looks for its settings, in this order, unless `LSLAPICFG` names a file."""
_QUIET = "level = -3"
"""Nothing short of its own end is logged: what it meets (-2, -1), we tell in our words; its remarks
on version and settings file (0) help nobody."""


_FIRST_PORT, _N_PORTS, _N_RANGES = 17_000, 96, 150
"""Ranges of ports below those that systems give out by themselves; liblsl's own has 32."""


def machine_only(session_id: str) -> str:
    """Return settings under which only streams of one session id on this machine are in reach.

    The session id chooses a range of ports too: on a machine with many outlets the usual ones are
    all taken, and an outlet beyond them is not found.

    `KnownPeers` stands beside the scope because liblsl before 1.18 (the one in MNE-LSL) hears its
    own machine by multicast only, which one of several outlets answers; asked directly, all do.
    """
    number = int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:4], "big")
    port = _FIRST_PORT + _N_PORTS * (number % _N_RANGES)
    return (
        f"[ports]\nMulticastPort = {port}\nBasePort = {port + 1}\nPortRange = {_N_PORTS - 1}\n"
        "[multicast]\nResolveScope = machine\n"
        f"[lab]\nKnownPeers = {{127.0.0.1}}\nSessionID = {session_id}\n"
        f"[log]\n{_QUIET}\n"
    )


def quieted(text: str) -> str:
    """Return settings with liblsl's remarks off, unless they set `[log] level` themselves."""
    before, head, log = text.partition("[log]")
    if not head:
        return f"{text}\n[log]\n{_QUIET}\n"
    if re.search(r"^\s*level\s*=", log.partition("\n[")[0], re.MULTILINE):
        return text
    return f"{before}[log]\n{_QUIET}{log}"


def quiet() -> None:
    """Let liblsl keep its remarks to itself: they would stand in the middle of a command's output.

    The settings that it would have found hold as they are, but for the level of its log.
    """
    from pylsl.lib import lib

    named = os.environ.get("LSLAPICFG")
    places = [Path(place).expanduser() for place in ((named,) if named else _PLACES)]
    found = next((place for place in places if place.is_file()), None)
    if found is None and named:
        return  # liblsl says that the file is missing
    try:
        text = "" if found is None else found.read_text(encoding="utf-8")
        lib.lsl_set_config_content(quieted(text).encode())
    except (OSError, UnicodeDecodeError, AttributeError):
        return  # not ours to read, or a liblsl that cannot be told: it stays as it is, and talks
