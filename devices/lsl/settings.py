"""liblsl's settings for streams that stay on one machine and with one program.

Owns the text of an `lsl_api.cfg`; knows nothing of streams. Tests and benchmarks write it before
liblsl's first call in a process, because liblsl reads it once.
"""

from __future__ import annotations


def machine_only(session_id: str) -> str:
    """Return settings under which only streams of one session id on this machine are in reach.

    `KnownPeers` stands beside the scope because liblsl before 1.18 (the one in MNE-LSL) hears its
    own machine by multicast only, which one of several outlets answers; asked directly, all do.
    """
    return (
        "[multicast]\nResolveScope = machine\n"
        f"[lab]\nKnownPeers = {{127.0.0.1}}\nSessionID = {session_id}\n"
        "[log]\nlevel = -2\n"
    )
