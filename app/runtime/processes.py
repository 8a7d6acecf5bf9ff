"""How a process that we started is ended; knows nothing of what it did."""

from __future__ import annotations

import subprocess
from multiprocessing.process import BaseProcess

PATIENCE = 2.0
"""Wait after each way of asking, s."""
COMMAND_PATIENCE = 3.0
"""The same for a command, which may have a device to give back, s."""


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


def end_command(process: subprocess.Popen[str]) -> None:
    """End a command: terminate it, then kill it; safe to call twice."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(COMMAND_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(COMMAND_PATIENCE)
