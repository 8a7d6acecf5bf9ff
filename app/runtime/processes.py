"""How the processes that we start begin and end; knows nothing of what they do.

Each is started with `-P`, so that nothing in the user's current folder is imported by mistake; in
a session of its own, so that what a terminal sends to its processes (Ctrl-C, a hang-up) reaches
this one only, which then ends the others; and it ends when this one is gone, however it went.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess

from app.ending import SIGNALS, at_hard_end

PATIENCE = 2.0
"""Wait for the end of what was killed, s."""
COMMAND_PATIENCE = 3.0
"""What a command gets to end by itself, s: it may have a device to give back."""

_SAFE_PATH = "PYTHONSAFEPATH"
_ENVIRONMENT = threading.Lock()
_started: weakref.WeakSet[BaseProcess | subprocess.Popen[str]] = weakref.WeakSet()


def start_process(
    target: Callable[..., object], *args: object, name: str
) -> tuple[SpawnProcess, Connection]:
    """Spawn a process that runs `target(connection, *args)`; our end of its pipe comes with it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_enter, args=(target, theirs, *args), name=name, daemon=True)
    with _without_the_current_folder():
        if sys.platform != "win32":
            # multiprocessing's own helper, whose first start lets signals through again.
            with _signals_held_back():
                resource_tracker.ensure_running()
        with _signals_held_back():
            process.start()
    theirs.close()
    _started.add(process)
    return process, ours


def start_module(module: str, *arguments: str, stderr: int | None = None) -> subprocess.Popen[str]:
    """Run `python -m module`, which ends when its standard input does (`devices.lifeline`)."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )
    _started.add(process)
    return process


@contextlib.contextmanager
def _without_the_current_folder() -> Iterator[None]:
    """Within, a spawned Python keeps the current folder off its path, as with `-P`.

    multiprocessing hands on the flags of this interpreter, which may have been started without; the
    environment is put back, because other programs of this process inherit it.
    """
    with _ENVIRONMENT:
        before = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = before


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Within, what is started inherits that signals wait until it can take them (`_enter`)."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_process(process: BaseProcess, *, grace: float = 0.0) -> None:
    """End a process: wait `grace` seconds, then kill it: it has nothing to lose.

    On a starved machine a killed process may take longer still. Nothing is gained by waiting for
    it: then its handle is left to the garbage collector.
    """
    process.join(grace)
    if process.is_alive():
        process.kill()
        process.join(PATIENCE)
    if process.exitcode is not None:
        process.close()


def end_command(process: subprocess.Popen[str], *, patience: float = COMMAND_PATIENCE) -> None:
    """End a command: terminate it, then kill it after `patience` s; safe to call twice."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(COMMAND_PATIENCE)
    if process.stdin is not None:
        process.stdin.close()


def _kill_all() -> None:
    for process in list(_started):
        with contextlib.suppress(OSError, ValueError):  # gone, or closed
            process.kill()


at_hard_end(_kill_all)


# ------------------------------------------------------------------ in the process


def _enter(target: Callable[..., object], connection: Connection, *args: object) -> None:
    if sys.platform != "win32":
        with contextlib.suppress(PermissionError):
            os.setsid()
    # What came while it was started was meant for the whole group; the parent decides.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    target(connection, *args)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
