"""Processes that take one task after the other, and each task's outcome.

Owns how they begin and end and what becomes of one that dies: its task has failed, and another
process goes on. At most a task for each process is under way, so that memory does not grow with
their number. Knows nothing of the tasks.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

from app.runtime.processes import end_process, start_process
from configs import ConfigError
from configs.plain import plain
from pipeline.errors import PhospheneError
from pipeline.extras import extras_named

T = TypeVar("T")
LOOK = 0.2
"""Between two looks whether the command is to end, s."""
MOST_TASKS = 100
"""Of one process, which is then replaced: libraries keep a little of each (0.7 MB a session)."""
PATIENCE = 5.0
"""For the end of a process whose pipe has ended, s."""


def run_each(
    work: Callable[[T], object], tasks: Sequence[T], *, jobs: int, asked: threading.Event
) -> Generator[tuple[int, str], None, None]:
    """Run `work(task)` in `jobs` processes; yield each task's number and why it failed ("": done).

    Parameters
    ----------
    work : callable
        A function that a fresh process finds by its name.
    tasks : sequence
    jobs : int
    asked : Event
        Set to end: what is under way is given up, within a second.
    """
    idle: list[tuple[BaseProcess, Connection]] = []
    n_had: Counter[BaseProcess] = Counter()
    busy: dict[Connection, tuple[BaseProcess, int]] = {}
    share = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": share}
    coming = iter(enumerate(tasks))
    try:
        while not asked.is_set():
            while len(busy) < jobs and (following := next(coming, None)) is not None:
                number, task = following
                process, connection = (
                    idle.pop()
                    if idle
                    else start_process(
                        _work, work, name="batch", environment=environment, daemon=False
                    )
                )
                busy[connection] = process, number
                with contextlib.suppress(OSError):  # it is dead, which is seen when it is read
                    connection.send(task)
            if not busy:
                return
            ready = wait(list(busy), LOOK)
            for connection in [each for each in busy if each in ready]:
                process, number = busy.pop(connection)
                try:
                    why = connection.recv()
                except (EOFError, OSError):
                    why = _end_of(process)
                    _end(process, connection)
                else:
                    n_had[process] += 1
                    if n_had[process] < MOST_TASKS:
                        idle.append((process, connection))
                    else:
                        _end(process, connection)
                yield number, why
    finally:
        for connection, (process, _) in busy.items():
            process.kill()  # its results are unfinished, and never taken for whole
            idle.append((process, connection))
        for process, connection in idle:
            _end(process, connection)


def _end(process: BaseProcess, connection: Connection) -> None:
    connection.close()
    end_process(process)


def _end_of(process: BaseProcess) -> str:
    process.join(PATIENCE)
    code = process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = " (the system does that when memory is short)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}."
    return f"its process ended with exit code {code}: see its message above."


# ------------------------------------------------------------------ in the process


def _work(connection: Connection, work: Callable[[T], object]) -> None:
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(_outcome(work, task))


def _outcome(work: Callable[[T], object], task: T) -> str:
    said = io.StringIO()
    try:
        # What one of many says is kept for its failure; results are in files.
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(said),
            extras_named("this command"),
        ):
            work(task)
    except (PhospheneError, ConfigError) as error:
        return _sentence(said, str(error))
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return _sentence(said, f"{where}{error.strerror or error}.")
    return ""


def _sentence(said: io.StringIO, why: str) -> str:
    notes = [line for line in said.getvalue().splitlines() if line.startswith("phosphene: ")]
    before = f"{notes[-1].removeprefix('phosphene: ')} " if notes else ""
    return plain(before + why)
