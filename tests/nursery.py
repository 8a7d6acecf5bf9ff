"""The suite's workers: forked from one process that has imported the tests, not begun one by one.

A worker of pytest-xdist computes for some twenty seconds before its first test, nearly all of it
imports that every other worker repeats. `begin` starts a process that imports what the decoders'
server (`tests.forking`) needs and forks it, then collects the run's tests and forks the workers.
Each worker then collects for itself, from modules that are there. The fixtures' own module is not
shared: it gives every worker an LSL session of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import os
import signal
import subprocess
import sys
from itertools import chain
from multiprocessing import forkserver
from types import ModuleType
from typing import Any, NoReturn

import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook
from execnet import gateway_io
from execnet.gateway_base import Popen2IO

Pipes = list[tuple[int, int]]
"""For each worker, an end to read and an end to write."""


def begin(config: pytest.Config, preload: list[str], listener: int, alive: int) -> None:
    """Start the process; pytest-xdist's next workers are its children."""
    asked = [os.pipe() for _ in range(config.getoption("numprocesses"))]
    told = [os.pipe() for _ in asked]
    theirs = [(get, put) for (get, _), (_, put) in zip(asked, told, strict=True)]
    ours = [(get, put) for (_, put), (get, _) in zip(asked, told, strict=True)]
    arguments = [str(argument) for argument in config.invocation_params.args]
    call = f"_nursery({arguments!r}, {preload!r}, {theirs!r}, {listener}, {alive})"
    nursery = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            f"import sys; sys.path[:] = {sys.path!r}; from tests.nursery import _nursery; {call}",
        ],
        stdin=subprocess.DEVNULL,
        pass_fds=[listener, alive, *chain(*theirs)],
    )
    _close(theirs)
    create = gateway_io.create_io

    def create_io(spec: Any, execmodel: Any) -> Any:
        if not (ours and spec.popen and not spec.python):
            return create(spec, execmodel)
        worker = _Forked(nursery, *ours.pop(0), execmodel)
        if worker.pid:
            return worker
        # Whatever ended it: a worker that is begun in the usual way finds that, too, and tells.
        worker.close_read()
        worker.close_write()
        return create(spec, execmodel)

    def end() -> None:
        _close(ours)
        nursery.wait()

    gateway_io.create_io = create_io
    config.add_cleanup(end)


def _close(pairs: Pipes) -> None:
    for number in chain(*pairs):
        os.close(number)


class _Forked(Popen2IO):
    """What execnet knows of a worker: how to talk to it, to wait for it and to end it."""

    def __init__(
        self, nursery: subprocess.Popen[bytes], get: int, put: int, execmodel: Any
    ) -> None:
        super().__init__(os.fdopen(put, "wb"), os.fdopen(get, "rb"), execmodel)
        self.nursery = nursery
        self.pid = int(self.infile.readline() or 0)

    def wait(self) -> int:
        # It ends with the last of its workers.
        return self.nursery.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class _Decoders:
    """A plug-in that forks the decoders' server as soon as it has what that needs, and no test."""

    def __init__(self, preload: list[str], pipes: Pipes, listener: int, alive: int) -> None:
        self.preload, self.pipes, self.listener, self.alive = preload, pipes, listener, alive

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        # Not before: what pytest would rewrite, pytest has to import.
        for name in self.preload:
            importlib.import_module(name)
        if os.fork() == 0:
            _close(self.pipes)
            sys.meta_path[:] = [
                finder for finder in sys.meta_path if not isinstance(finder, AssertionRewritingHook)
            ]
            try:
                forkserver.main(self.listener, self.alive, [])
            finally:
                os._exit(0)
        os.close(self.listener)
        os.close(self.alive)


def _nursery(
    arguments: list[str], preload: list[str], pipes: Pipes, listener: int, alive: int
) -> NoReturn:
    with contextlib.redirect_stdout(io.StringIO()):
        # What it finds wrong every worker finds again, and tells.
        pytest.main(
            [*arguments, "--collect-only", "-qq", "-n0", "-p", "no:cacheprovider"],
            plugins=[_Decoders(preload, pipes, listener, alive)],
        )
    # A worker looks for garbage from its first test on (`tests.conftest`).
    gc.disable()
    for name in [name for name in sys.modules if name.endswith(".conftest")]:
        del sys.modules[name]
    for own in pipes:
        if os.fork() == 0:
            _close([pair for pair in pipes if pair is not own])
            _work(*own)
    _close(pipes)
    for _ in pipes:
        os.wait()
    os._exit(0)


def _work(get: int, put: int) -> NoReturn:
    # What `python -c` of execnet's line does.
    os.dup2(get, 0)
    os.dup2(put, 1)
    os.close(get)
    os.close(put)
    sys.stdin, sys.stdout = os.fdopen(0, "r", closefd=False), os.fdopen(1, "w", closefd=False)
    sys.argv = ["-c"]
    sys.modules["__main__"] = main = ModuleType("__main__")
    try:
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        if line := sys.stdin.readline():
            exec(eval(line), vars(main))
    finally:
        # As an interpreter ends, but without taking down every module.
        atexit._run_exitfuncs()
        sys.stderr.flush()
        os._exit(0)
