"""Names that nobody gave: of many that begin at once, each gets its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.calibration.factory import CalibrationFactory
from app.errors import FolderError
from app.runtime import folder as folder_module
from app.runtime.folder import SessionFolder, default_out
from configs import RecordingConfig, SessionConfig
from devices.stream_recorder import StreamRecorder
from tests.waiting import PATIENCE, wait_for


class _Noon(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return datetime(2026, 1, 2, 12, 0, 0)


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> str:
    """The time of day in every name."""
    monkeypatch.setattr(folder_module, "datetime", _Noon)
    return "20260102-120000"


def test_sessions_of_one_second_take_the_next_number(tmp_path: Path, one_second: str) -> None:
    n, root = 12, tmp_path / "deep" / "sessions"
    together = threading.Barrier(n)

    def begin(_: int) -> SessionFolder:
        together.wait(PATIENCE)
        return SessionFolder(default_out(root))

    with ThreadPoolExecutor(n) as pool:
        folders = list(pool.map(begin, range(n)))
    names = [one_second, *(f"{one_second}-{number}" for number in range(2, n + 1))]
    assert sorted(each.path.name for each in folders) == sorted(names)
    for each in folders:
        each.close()


def test_six_processes_that_begin_at_once_each_get_a_folder(
    tmp_path: Path, popen: Callable[..., subprocess.Popen[Any]]
) -> None:
    code = (
        "from app.runtime.folder import SessionFolder, default_out\n"
        "print('ready', flush=True); input()\n"
        "folder = SessionFolder(default_out()); print(folder.path, flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = Path(folder_module.__file__).parents[2]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{code}"]
    many = [popen(command, cwd=tmp_path, **pipes) for _ in range(6)]
    assert [each.stdout.readline().strip() for each in many] == ["ready"] * 6
    for each in many:
        each.stdin.write("\n")
        each.stdin.flush()
    paths = {each.stdout.readline().strip() for each in many}
    assert len(paths) == 6
    assert {path.name for path in (tmp_path / "sessions").iterdir()} == {
        Path(path).name for path in paths
    }


def test_calibrations_of_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_second: str
) -> None:
    monkeypatch.chdir(tmp_path)
    factory, config = CalibrationFactory(store=tmp_path / "store"), SessionConfig()
    flows = [factory.live(config), factory.live(config), factory.recording(tmp_path / "a", config)]
    assert [flow.out.name for flow in flows] == [
        f"{one_second}-calibration",
        f"{one_second}-calibration-2",
        f"{one_second}-calibration-3",
    ]


def test_where_no_folder_can_be_made_it_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=r"cannot be made .* choose one with --out"):
        default_out(tmp_path / "file" / "sessions")


def test_recorders_that_fall_back_at_once_each_have_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sessions on one full disk: both find the name free before either has taken it."""
    from devices import stream_recorder

    real, raced = stream_recorder._free_name, tmp_path / "fallback" / "recording.xdf"

    def late(folder: Path, path: Path) -> Path:
        target = real(folder, path)
        if target == raced:
            raced.touch()  # the other one was quicker
        return target

    monkeypatch.setattr(stream_recorder, "_free_name", late)
    config = RecordingConfig(fallback=str(tmp_path / "fallback"))
    recorder = StreamRecorder(tmp_path / "absent" / "recording.xdf", config)
    recorder.close()
    assert recorder.path == tmp_path / "fallback" / "recording-2.xdf"
    wait_for(recorder.path.is_file)
    assert raced.read_bytes() == b""
