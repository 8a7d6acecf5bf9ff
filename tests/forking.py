"""Decoder processes of the tests: forked from one that has imported torch, instead of spawned.

A spawned decoder computes for some eight seconds before it can do anything, all of it imports, and
the suite starts a hundred. What it runs, how it is watched, told and ended stays the product's own.
`spawned` gives a test the product's way of starting it, too. `run_program` runs a user's program in
an interpreter of its own that begins in the same way. The workers of one run share one server.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing import connection, forkserver, resource_tracker
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.runtime import processes
from tests import nursery

PRELOAD = ["torch", "scipy.signal", "diffusers.models.autoencoders", "diffusers.models.unets"]
"""What takes a decoder most of its start. Installed packages only: the server of Python 3.11 knows
no other path."""
_ENTER = processes._enter
_SERVER = "PHOSPHENE_TEST_FORK_SERVER"


def _enter(environment: Mapping[str, str], *args: Any) -> None:
    # The server's environment is that of its own start.
    os.environ.clear()
    os.environ.update(environment)
    _ENTER(*args)


def _context() -> Any:
    if not hasattr(os, "fork"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def share_server(config: pytest.Config) -> None:
    """Start the server beside the workers, or let a worker use that one: it imports for 8 s."""
    # From 3.14 on a server knows its clients by a key.
    if not hasattr(os, "fork") or sys.version_info >= (3, 14):
        return
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    if hasattr(config, "workerinput"):
        if (address := os.environ.get(_SERVER)) is not None:
            server._forkserver_address = address
            # What keeps it alive: the first process has the real one.
            server._forkserver_alive_fd = os.open(os.devnull, os.O_RDONLY)
            server.ensure_running = resource_tracker.ensure_running
    elif config.getoption("numprocesses", None):
        _begin(config, server)


def _begin(config: pytest.Config, server: Any) -> None:
    if sys.platform != "linux":
        # What other systems' libraries do not stand: to be forked once they are loaded.
        _context()
        server.ensure_running()
        os.environ[_SERVER] = server._forkserver_address
        return
    # As `ensure_running`, but in a process that goes on to be the workers' parent.
    address = connection.arbitrary_address("AF_UNIX")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        alive, server._forkserver_alive_fd = os.pipe()
        os.environ[_SERVER] = server._forkserver_address = address
        nursery.begin(config, PRELOAD, listener.fileno(), alive)
        os.close(alive)


def _program(environment: Mapping[str, str], folder: str, code: str, said: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with Path(said).open("wb", buffering=0) as both:
        os.dup2(both.fileno(), 1)
        os.dup2(both.fileno(), 2)
    exec(compile(code, "program.py", "exec"), {"__name__": "__main__"})


def run_programs(
    code: str, folder: Path, *environments: Mapping[str, str]
) -> list[tuple[int | None, str]]:
    """Run Python in processes of its own, at once; the exit code and all that each printed."""
    files = [folder / f"said-{number}.txt" for number in range(len(environments))]
    running = [
        _context().Process(
            target=_program, args=({**os.environ, **each}, str(folder), code, str(said))
        )
        for each, said in zip(environments, files, strict=True)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    codes = [process.exitcode for process in running]
    for process in running:
        process.close()
    return [(code, said.read_text("utf-8")) for code, said in zip(codes, files, strict=True)]


def run_program(code: str, folder: Path, **environment: str) -> tuple[int | None, str]:
    """Run Python in a process and a folder of its own; its exit code, and all that it printed."""
    return run_programs(code, folder, environment)[0]


@pytest.fixture(scope="session", autouse=True)
def _forked_decoders() -> Iterator[None]:
    # Of the session: fixtures of a module start decoders, too.
    if not hasattr(os, "fork"):
        yield
        return
    context = _context()

    def process(*, target: Callable[..., object], args: tuple[object, ...], **options: Any) -> Any:
        enter = partial(_enter, dict(os.environ))
        return context.Process(target=enter, args=args, **options)

    own = SimpleNamespace(Pipe=context.Pipe, Process=process)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            processes,
            "multiprocessing",
            SimpleNamespace(
                get_context=lambda _: own, parent_process=multiprocessing.parent_process
            ),
        )
        yield


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder's process is spawned, as in the product."""
    monkeypatch.setattr(processes, "multiprocessing", multiprocessing)
