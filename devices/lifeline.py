"""The end of a process with the one that started it.

Whoever starts it holds the other end of its standard input, which closes with that process however
it ends, killed too. Owns the thread that waits for this.
"""

from __future__ import annotations

import os
import threading

PATIENCE = 3.0
"""How long the own end may take then, s: a board is given back in that time."""


def follow_stdin(stop: threading.Event) -> None:
    """Set `stop` when standard input ends; a process that is still there `PATIENCE` s later goes.

    What comes on standard input before its end is thrown away.
    """
    threading.Thread(target=_follow, args=(stop,), name="lifeline", daemon=True).start()


def _follow(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()
    threading.Event().wait(PATIENCE)
    os._exit(1)
