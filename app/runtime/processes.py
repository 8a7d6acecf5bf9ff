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
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from types import MappingProxyType

from app.ending import SIGNALS, at_hard_end

PATIENCE = 2.0
"""Wait for the end of what was killed, s."""
COMMAND_PATIENCE = 3.0
"""What a command gets to end by itself, s: it may have a device to give back."""

_SAFE_PATH = "PYTHONSAFEPATH"
_ENVIRONMENT = threading.Lock()
_started: weakref.WeakSet[BaseProcess | subprocess.Popen[str]] = weakref.WeakSet()


def start_process(
    target: Callable[..., object],
    *args: object,
    name: str,
    niceness: int = 0,
    environment: Mapping[str, str] = MappingProxyType({}),
    daemon: bool = True,
) -> tuple[SpawnProcess, Connection]:
    """Spawn a process that runs `target(connection, *args)`; our end of its pipe comes with it.

    Parameters
    ----------
    target, *args
        What it runs.
    name : str
    niceness : int
        Added to ours, where the system knows that: a higher one lets others go first.
    environment : mapping
        Variables that it begins with unless they are set already: what reads them when it is
        loaded (OpenMP) can be told no other way.
    daemon : bool
        False for one that starts processes of its own, and is ended by who started it.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_enter, args=(target, niceness, theirs, *args), name=name, daemon=daemon
    )
    unset = {key: value for key, value in environment.items() if key not in os.environ}
    # As `-P`: multiprocessing hands on the flags of this interpreter, which may have none.
    with _environment({**unset, _SAFE_PATH: "1"}):
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
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Within, what is spawned begins with these variables.

    They are put back, because other programs of this process inherit the environment.
    """
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


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


def _enter(
    target: Callable[..., object], niceness: int, connection: Connection, *args: object
) -> None:
    if sys.platform != "win32":
        os.nice(niceness)
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
