"""How a process that we spawned is ended; knows nothing of what it did."""

from __future__ import annotations

from multiprocessing.process import BaseProcess

PATIENCE = 2.0
"""Wait after each way of asking, s."""


def end_process(process: BaseProcess, *, grace: float = 0.0) -> None:
    """End a process: wait `grace` seconds, then terminate it, then kill it.

    On a starved machine a killed process may take longer still. Nothing is gained by waiting for
    it: then its handle is left to the garbage collector.
    """
    process.join(grace)
    if process.is_alive():
        process.terminate()
        process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join(PATIENCE)
    if process.exitcode is not None:
        process.close()
