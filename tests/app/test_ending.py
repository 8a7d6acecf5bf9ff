"""Commands end at signals: whole, at once, without an exception at a random place."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pylsl
import pytest

from app.benchmarks.idle import idle_decoder
from app.ending import caught, orderly, take_back
from app.port import Phase
from app.runtime.decoder import Decoder
from app.runtime.processes import end_process, start_process
from app.runtime.session import Session
from configs import SessionConfig
from devices.hostile import HostileSettings, HostileSource
from tests.waiting import PATIENCE, wait_for

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
    pytest.mark.usefixtures("spawned"),
]

_PROGRAM = """
import sys, threading, time
from app.ending import caught, orderly
with caught(for_good=True) as ending:
    ending.name = "program"
    mode = sys.argv[1]
    if mode == "nothing to lose":
        print("ready", flush=True)
        time.sleep(60)
    with orderly(0.3 if mode == "deaf" else 30, leave=lambda: print("left", flush=True)) as end:
        print("ready", flush=True)
        if mode == "deaf":
            time.sleep(60)
        end.asked.wait(60)
        print("asked", flush=True)
        threading.Event().wait(0.5)
        print("whole", flush=True)
sys.exit(end.code)
"""


@pytest.fixture
def program(popen: Callable[..., subprocess.Popen[Any]]) -> Callable[[str], subprocess.Popen[Any]]:
    def start(mode: str) -> subprocess.Popen[Any]:
        process = popen(
            [sys.executable, "-c", _PROGRAM, mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    return start


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_signal_asks_once_and_a_second_changes_nothing(
    program: Callable[[str], subprocess.Popen[Any]], name: str
) -> None:
    process, number = program("orderly"), signal.Signals[name]
    process.send_signal(number)
    assert process.stdout is not None
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + number, "whole\n")
    assert "ending already" in err
    assert "Traceback" not in err


def test_where_nothing_is_to_be_lost_the_end_comes_at_once(
    program: Callable[[str], subprocess.Popen[Any]],
) -> None:
    process = program("nothing to lose")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == ("", "program: interrupted\n")
    assert process.returncode == 143


def test_a_command_that_does_not_look_is_ended_after_its_patience(
    program: Callable[[str], subprocess.Popen[Any]],
) -> None:
    process = program("deaf")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("left\n", "program: interrupted\n")
    assert process.returncode == 130


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with caught(for_good=False) as ending, orderly() as end:
        assert end is ending
        signal.raise_signal(signal.SIGTERM)
        assert end.asked.wait(PATIENCE)
        assert end.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    with orderly() as nobody:
        assert nobody.code == 0


def test_signals_are_taken_back_from_a_library_that_took_them() -> None:
    with caught(for_good=False), orderly(PATIENCE) as end:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # And beneath the interpreter, as Ray does: 1 is SIG_IGN.
        ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(1))
        take_back()
        os.kill(os.getpid(), signal.SIGTERM)
        assert end.asked.wait(PATIENCE)


def test_a_session_whose_waiter_is_interrupted_ends_whole(tmp_path: Path) -> None:
    """On Python 3.11 and 3.12 an exception within `Thread.join` takes a living thread for ended."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    session = Session(
        SessionConfig(buffer=10.0),
        out=tmp_path / "out",
        open_source=lambda _: HostileSource(HostileSettings(duration=1e6)),
        clock=pylsl.local_clock,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=False,
    )
    session.start()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        wait_for(lambda: session.snapshot().n_received > 0)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            session.wait(60.0)
        session.stop()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert session.snapshot().phase is Phase.STOPPED
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["samples"]["received"] > 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert not (tmp_path / "out" / ".phosphene.lock").exists()


def tell(connection: Any) -> None:
    """Say what this process is, and wait for the other end to close."""
    handlers = [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, 1)]
    connection.send((os.getsid(0), os.getpid(), sys.flags.safe_path, handlers))
    threading.Event().wait(PATIENCE)


def test_a_process_of_ours_is_out_of_the_terminals_reach_and_of_the_folders() -> None:
    process, connection = start_process(tell, name="told")
    try:
        assert connection.poll(PATIENCE)
        session, pid, is_safe, ignores = connection.recv()
        assert session == pid != os.getsid(0)
        assert is_safe
        assert ignores == [True, True]
    finally:
        end_process(process)
        connection.close()


_PARENT = """
import sys
from app.runtime.processes import start_module, start_process
from tests.app.test_ending import tell
if __name__ == "__main__":
    process, connection = start_process(tell, name="told")
    headset = start_module("devices.virtual")
    print(process.pid, headset.pid, flush=True)
    print(connection.recv(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_no_process_of_ours_outlives_a_killed_parent(
    tmp_path: Path, popen: Callable[..., subprocess.Popen[Any]]
) -> None:
    (tmp_path / "parent.py").write_text(_PARENT)
    parent = popen(
        [sys.executable, tmp_path / "parent.py"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert parent.stdout.readline()
    parent.kill()
    parent.wait(PATIENCE)

    def left() -> list[int]:
        return [pid for pid in pids if _is_running(pid)]

    wait_for(lambda: not left(), timeout=10.0)


def _is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
