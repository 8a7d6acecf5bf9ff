"""Fixtures of every test: an LSL of one's own, no leaks, no screen."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from pytestqt.qtbot import QtBot

import models  # noqa: F401 - keeps libraries from reporting, before a test imports one of them
from devices.lsl_settings import machine_only, quiet
from tests.forking import _forked_decoders, share_server, spawned  # noqa: F401 - fixtures
from tests.reports import Reports
from tests.waiting import PATIENCE

# How long an example takes is the machine's load, not the code's right or wrong.
settings.register_profile("phosphene", deadline=None)
settings.load_profile("phosphene")
# What a worker imports and collects stays to its end: to look through it for garbage, again and
# again, is a sixth of the time it takes to begin. `pytest_collection_finish` goes on with it.
gc.disable()
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite started in a shell's background ignores Ctrl-C, and so would every command it tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    # The same of `nohup`, which a command obeys: it outlives its terminal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A machine that keeps no bytecode would compile our modules anew in each process of each test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# liblsl reads its settings once, at its first call in a process; so they are written before any
# test can import pylsl. Machine scope and an own session id keep parallel runs apart.
_LSL_FOLDER = Path(tempfile.mkdtemp(prefix="phosphene-lsl-"))
_LSL_CONFIG = _LSL_FOLDER / "lsl_api.cfg"
_LSL_CONFIG.write_text(machine_only(f"phosphene-{uuid.uuid4().hex[:12]}"), encoding="utf-8")
os.environ["LSLAPICFG"] = str(_LSL_CONFIG)
if "devices.lsl" in sys.modules:
    # Imported before this worker was forked (`tests.nursery`): liblsl has the text of another file.
    quiet()

SHARED = Path(
    os.environ.get("PHOSPHENE_SHARED", Path(__file__).resolve().parents[2] / "shared")
).resolve()


def pytest_configure(config: pytest.Config) -> None:
    if "PHOSPHENE_TEST_REPORTS" not in os.environ:  # one for all processes of a run
        os.environ["PHOSPHENE_TEST_REPORTS"] = str(os.getpid())
        config.pluginmanager.register(Reports())
    share_server(config)
    if config.getoption("numprocesses", None):
        # By what tests take (below), not by how many there are.
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers begin with the longest files: none is alone with one at the end."""
    if not hasattr(config, "workerinput"):
        return
    weights: Counter[Path] = Counter()
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        weights[item.path] += 30 if "slow" in marks else 5 if "lsl" in marks else 1
    items.sort(key=lambda item: -weights[item.path])


def pytest_collection_finish() -> None:
    # From 700: where a test makes many objects, most of them stay. Not frozen: hypothesis asks who
    # refers to an object, and what is frozen refers to nothing.
    gc.set_threshold(50_000)
    gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; the test is skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the real recordings are not part of the project")
    return folder


@pytest.fixture
def popen() -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """`subprocess.Popen`, but whatever becomes of the test, no process outlives it."""
    started: list[subprocess.Popen[Any]] = []

    def start(*args: Any, **options: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen(*args, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def qtbot(qtbot: QtBot) -> QtBot:
    """pytest-qt's, which waits five seconds for a condition: too little beside other work."""
    qtbot.waitUntil = partial(qtbot.waitUntil, timeout=round(1000 * PATIENCE))  # type: ignore[method-assign]
    return qtbot


@pytest.fixture(autouse=True)
def _own_torch_settings() -> Iterator[None]:
    """Give back what a loaded system sets for its process: gradients, determinism, threads."""
    torch = sys.modules.get("torch")
    deterministic, threads = False, 1
    if torch is not None:
        deterministic = torch.are_deterministic_algorithms_enabled()
        threads = torch.get_num_threads()
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _own_user_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep caches, settings and adapters of the tests away from the user's."""
    home = tmp_path_factory.mktemp("home")
    names = {
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "XDG_DOCUMENTS_DIR": "documents",
        "XDG_STATE_HOME": "state",
    }
    before = {name: os.environ.get(name) for name in names}
    for name, folder in names.items():
        os.environ[name] = str(home / folder)
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _copy_made(source: Path, target: Path) -> None:
    """Copy the engines and toys that `target` lacks, each of them whole or not at all."""
    for each in source.glob("*/[!.]*"):
        place = target / each.relative_to(source)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=place.parent))
            shutil.copytree(each, part / each.name)
            # Where another worker was first, its copy is as good.
            with contextlib.suppress(OSError):
                (part / each.name).rename(place)
            shutil.rmtree(part)


@pytest.fixture(autouse=True)
def _made_once(_own_user_folders: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Share engines (ten seconds of a processor) and toys among workers, but between tests only."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    own = Path(os.environ["XDG_CACHE_HOME"]) / "phosphene"
    shared = tmp_path_factory.getbasetemp().parent / "made"
    _copy_made(shared, own)
    yield
    _copy_made(own, shared)


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread or a child process running."""
    threads = set(threading.enumerate())
    children = set(multiprocessing.active_children())
    yield
    for child in set(multiprocessing.active_children()) - children:
        child.join(PATIENCE)
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE)
    left = [t.name for t in set(threading.enumerate()) - threads if t.is_alive()]
    left += [c.name for c in set(multiprocessing.active_children()) - children]
    assert not left, f"left running: {left}"
