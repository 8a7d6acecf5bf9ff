"""A folder that cannot be finished: one sentence, no traceback, and it stays recoverable."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from app.commands.common import watch
from app.port import Phase
from app.runtime import folder as folder_module
from app.runtime import writing
from app.runtime.lock import LOCK
from app.runtime.recovery import is_abandoned, recover
from app.runtime.session import Session
from app.runtime.writing import write_atomically
from configs import DecoderConfig, SessionConfig
from devices.hostile import HostileSettings, HostileSource
from devices.hostile.faults import Fault, Flat
from tests.waiting import PATIENCE


class Closing:
    """What must be closed whatever happens."""

    def __init__(self) -> None:
        self.ended = 0

    def __call__(self) -> None:
        self.ended += 1


def session_in(
    out: Path,
    on_end: Closing,
    at_end: Callable[[], None] = lambda: None,
    faults: tuple[Fault, ...] = (),
) -> Session:
    """A short session; `at_end` happens once its stream is over, before its files are finished."""
    source = HostileSource(HostileSettings(duration=8.0, chunk=50), faults)
    close = source.close

    def ending() -> None:
        close()
        at_end()

    source.close = ending  # type: ignore[method-assign]
    return Session(
        SessionConfig(buffer=60.0, decoder=DecoderConfig(enabled=False)),
        out=out,
        open_source=lambda _: source,
        clock=lambda: source.now,
        is_live=False,
        on_end=on_end,
    )


@pytest.fixture
def no_inodes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What makes a disk take no new file any more."""
    real = writing.open_private

    def refuse(path: Path, mode: str) -> IO[Any]:
        if path.name.endswith(".partial"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, mode)

    return lambda: monkeypatch.setattr(writing, "open_private", refuse)


def test_a_disk_without_inodes_leaves_a_folder_that_can_be_finished_later(
    tmp_path: Path,
    no_inodes: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out, on_end = tmp_path / "out", Closing()
    session = session_in(out, on_end, no_inodes)
    assert watch(lambda: session, as_json=True) == 1
    said = capsys.readouterr()
    assert said.out == ""
    line = said.err.strip().split("\n")[-1]
    assert f"{out} could not be finished (No space left on device)" in line
    assert f"phosphene recover {out}" in line
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]
    assert on_end.ended == 1
    assert not (out / "summary.json").exists()
    assert is_abandoned(out)
    monkeypatch.undo()
    recover(out)
    summary = json.loads((out / "summary.json").read_text())
    assert sum(summary["outcomes"].values()) == summary["markers"] == session.snapshot().n_markers
    assert not (out / LOCK).exists()


def test_what_is_known_at_the_end_only_is_said_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That an electrode was bad nearly always stands in the report, and on the terminal."""
    flat = Flat(0.0, 8.0, "O1")
    assert watch(lambda: session_in(tmp_path / "out", Closing(), faults=(flat,))) == 0
    assert "1 of 4 channels were bad for most of the session: O1" in capsys.readouterr().err


def test_a_folder_that_was_removed_is_said_to_be_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    out, on_end = tmp_path / "out", Closing()
    session = session_in(out, on_end, lambda: shutil.rmtree(out))
    assert watch(lambda: session, as_json=True) == 1
    line = capsys.readouterr().err.strip().split("\n")[-1]
    assert "is gone" in line
    assert not [r for r in caplog.records if r.exc_info and r.levelno > logging.DEBUG]
    assert on_end.ended == 1


def test_a_session_without_its_report_is_finished_later_with_its_own_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    out = tmp_path / "out"
    monkeypatch.setattr(folder_module, "write_atomically", refuse)
    session = session_in(out, Closing())
    session.start()
    assert session.wait(PATIENCE)
    assert session.snapshot().phase is Phase.FAILED
    assert "Read-only file system" in session.snapshot().message
    summary = (out / "summary.json").read_bytes()
    monkeypatch.undo()
    assert recover(out).is_file()
    assert (out / "summary.json").read_bytes() == summary
    assert not (out / LOCK).exists()


def test_what_is_closed_at_the_end_is_closed_though_a_part_of_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`folder.close` and all that follows it run; none skips the others."""
    on_end = Closing()
    session = session_in(tmp_path / "out", on_end)

    close, descriptor = os.close, session._folder._files._file._fd

    def refuse(which: int) -> None:
        close(which)
        if which == descriptor:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "close", refuse)
    session.start()
    assert session.wait(PATIENCE)
    assert session.snapshot().phase is Phase.STOPPED
    assert on_end.ended == 1
    assert not (tmp_path / "out" / LOCK).exists()


@pytest.mark.parametrize("name", ["events.jsonl", "images"])
def test_a_folder_that_takes_the_lock_and_no_more_is_refused_and_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real_mkdir = Path.mkdir

    def refuse(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(path: Path, *args: object, **options: object) -> object:
            if Path(path).name == name:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return call(path, *args, **options)

        return wrapped

    monkeypatch.setattr(os, "open", refuse(os.open))
    monkeypatch.setattr(Path, "mkdir", refuse(real_mkdir))
    with pytest.raises(folder_module.FolderError, match="No space left on device"):
        folder_module.SessionFolder(tmp_path / "out")
    monkeypatch.undo()
    assert not (tmp_path / "out" / LOCK).exists()


def test_no_partial_file_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, _: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Read-only"):
        write_atomically(tmp_path / "a", b"x")
    assert not list(tmp_path.iterdir())
