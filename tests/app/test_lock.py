"""A folder's lock says whose it is; a folder that may be live is never written to by another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.errors import FolderError
from app.runtime import lock
from app.runtime.folder import SessionFolder
from app.runtime.lock import LOCK, LockState, Owner, read_lock, this_process, write_lock
from app.runtime.process_times import started_at
from app.runtime.recovery import doubt, is_abandoned, recover
from tests.app.test_recovery import crashed, dead_pid
from tests.waiting import wait_for

Popen = Callable[..., subprocess.Popen[Any]]
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def other(popen: Popen) -> subprocess.Popen[Any]:
    """Another process that lives."""
    return popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)


def of(pid: int) -> Owner:
    """The owner that process `pid` of this computer would write."""
    return replace(this_process(), pid=pid, start_time=started_at(pid) or "")


def locked_by(path: Path, owner: Owner | str) -> Path:
    """A session that was not finished, with a lock of `owner`."""
    folder = crashed(path)
    text = owner if isinstance(owner, str) else json.dumps(asdict(owner))
    (folder / LOCK).write_text(text)
    return folder


def test_a_lock_says_host_start_of_the_computer_process_and_its_start(tmp_path: Path) -> None:
    write_lock(tmp_path)
    table = json.loads((tmp_path / LOCK).read_text())
    assert table["host"] == this_process().host != ""
    assert table["pid"] == os.getpid()
    if sys.platform == "linux":
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        assert (table["boot_id"], table["start_time"]) == (boot_id, start)
    with pytest.raises(FileExistsError):
        write_lock(tmp_path)
    assert read_lock(tmp_path)[0] is LockState.ALIVE
    lock.remove_lock(tmp_path)
    assert read_lock(tmp_path) == (LockState.FREE, None)


def test_of_many_that_claim_one_folder_at_once_one_gets_it(tmp_path: Path, popen: Popen) -> None:
    code = (
        "import sys; from pathlib import Path; from app.runtime.folder import SessionFolder\n"
        "print('ready', flush=True); input()\n"
        "try: SessionFolder(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, flush=True)\n"
        "else: print('mine', flush=True)\n"
        "input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", code, str(tmp_path / "one")]
    many = [popen(command, **pipes) for _ in range(4)]
    assert [each.stdout.readline().strip() for each in many] == ["ready"] * 4
    for each in many:
        each.stdin.write("\n")
        each.stdin.flush()
    said = sorted(each.stdout.readline().strip() for each in many)
    assert said == ["FolderError"] * 3 + ["mine"]
    for each in many:
        each.stdin.close()


@linux
def test_a_living_session_is_told_from_one_whose_number_was_given_anew(
    tmp_path: Path, other: subprocess.Popen[Any]
) -> None:
    live = locked_by(tmp_path / "live", of(other.pid))
    assert read_lock(live)[0] is LockState.ALIVE
    with pytest.raises(FolderError, match=f"in use by process {other.pid} on "):
        recover(live, confirmed=True)
    assert not (live / "summary.json").exists()
    reused = locked_by(tmp_path / "reused", replace(of(other.pid), start_time="1"))
    assert is_abandoned(reused)
    assert recover(reused).is_file()
    assert not (reused / LOCK).exists()
    other.kill()
    # Nobody has waited for it yet: a process that is only a number any more.
    wait_for(lambda: is_abandoned(live))
    assert recover(live).is_file()


@linux
def test_another_host_a_container_or_a_lock_that_says_nothing_is_in_doubt(
    tmp_path: Path, other: subprocess.Popen[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ours = of(dead_pid())
    strangers: dict[str, Owner | str] = {
        "host": replace(ours, host="labpc"),
        "container": replace(ours, namespace="pid:[4026999999]"),
        "machine": replace(ours, machine="0000000000000000"),
        "old": str(other.pid),
        "empty": "",
        "words": "not a lock",
    }
    for name, owner in strangers.items():
        folder = locked_by(tmp_path / name, owner)
        before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
        assert read_lock(folder)[0] is LockState.UNKNOWN, name
        assert not is_abandoned(folder)
        assert "cannot be told from here" in doubt(folder)
        assert main(["recover", str(folder)]) == 1
        said = capsys.readouterr().err
        assert "--yes" in said
        assert len(said.strip().splitlines()) == 1
        assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
        assert main(["recover", str(folder), "--yes"]) == 0
        assert json.loads((folder / "summary.json").read_text())["outcomes"] == {"decoded": 3}
        assert not (folder / LOCK).exists()
    assert "labpc" in doubt(locked_by(tmp_path / "named", replace(ours, host="labpc")))


@linux
def test_after_the_computer_started_anew_nothing_of_before_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "pid:[4026531836]"
    for name, namespace, state in (
        ("computer", first, LockState.ABANDONED),
        ("container", "pid:[4026999999]", LockState.UNKNOWN),
    ):
        here = ("lab", "0123456789abcdef", "this start", namespace)
        monkeypatch.setattr(lock, "_here", lambda here=here: here)
        owner = replace(this_process(), boot_id="an earlier one")
        assert read_lock(locked_by(tmp_path / name, owner))[0] is state


def test_a_lock_of_before_holds_a_number_only(tmp_path: Path) -> None:
    folder = locked_by(tmp_path / "a", str(dead_pid()))
    assert is_abandoned(folder)
    assert recover(folder).is_file()


def test_whoever_cannot_have_a_folder_is_told_why(tmp_path: Path) -> None:
    ours = of(dead_pid())
    for owner, words in (
        (ours, f"left behind by process {ours.pid} on {ours.host}, whose session was never"),
        (replace(ours, host="labpc"), "in use by process .* on labpc, or left behind by it"),
        ("", "whose lock cannot be read"),
    ):
        folder = locked_by(tmp_path / words[:9].strip(), owner)
        with pytest.raises(FolderError, match=f"{words}.*choose another --out.*phosphene recover"):
            SessionFolder(folder)


def test_a_folder_that_we_could_not_finish_is_abandoned_in_our_own_eyes_too(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path / "a")
    assert read_lock(folder.path)[0] is LockState.ALIVE
    folder.close()
    assert is_abandoned(folder.path)
    assert recover(folder.path).is_file()


def test_a_session_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path / "a")
    folder.discard()
    assert list(tmp_path.iterdir()) == []
