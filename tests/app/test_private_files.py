"""Brain recordings and what is made of them: their owner's only, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from app.benchmarks.idle import idle_decoder
from app.calibration.files import write_about
from app.cli import main
from app.runtime.decoder import Decoder
from app.runtime.folder import default_out
from app.runtime.session import Session
from configs import EpochsConfig, OutletsConfig, RecordingConfig, SessionConfig
from configs.private import make_private, open_private
from devices.hostile import HostileSettings, HostileSource
from devices.xdf.writer import XdfWriter
from tests.waiting import PATIENCE

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes are Unix's")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(path: Path) -> dict[str, str]:
    """Modes of all below a folder that are not 700 (folders) or 600 (files)."""
    found = {}
    for each in [path, *path.rglob("*")]:
        mode = stat.S_IMODE(each.lstat().st_mode)
        if mode != (0o700 if each.is_dir() else 0o600):
            found[each.relative_to(path).as_posix()] = oct(mode)
    return found


def test_a_session_s_folder_is_its_owners_only(tmp_path: Path, umask: None) -> None:
    out = default_out(tmp_path / "deep" / "sessions")
    session = Session(
        SessionConfig(
            epochs=EpochsConfig(reject_uv={}),
            outlets=OutletsConfig(enabled=False),
            recording=RecordingConfig(enabled=True),
        ),
        out=out,
        open_source=lambda _stop: HostileSource(HostileSettings(duration=4.0, chunk=20)),
        clock=lambda: 0.0,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=False,
    )
    session.start()
    assert session.wait(PATIENCE)
    assert {"session.toml", "events.jsonl", "summary.json", "report.html", "recording.xdf"} <= {
        each.name for each in out.iterdir()
    }
    assert list((out / "images").iterdir())
    assert modes(tmp_path / "deep") == {}


@pytest.mark.parametrize(
    "write",
    [
        lambda out: XdfWriter(out / "x.xdf").close(),
        lambda out: write_about(out / "calibration", {"a": 1}),
    ],
)
def test_what_is_written_from_python_is_its_owners_only(
    tmp_path: Path, umask: None, write: Callable[[Path], object]
) -> None:
    out = tmp_path / "out"
    make_private(out)
    write(out)
    assert list(out.iterdir())
    assert modes(out) == {}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir(mode=0o750)
    (tmp_path / "own").chmod(0o750)
    make_private(tmp_path / "own" / "new" / "deep")
    assert modes(tmp_path / "own") == {".": "0o750"}
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "own", exist_ok=False)
    with open_private(tmp_path / "x", "xb") as file:
        file.write(b"1")
    with pytest.raises(FileExistsError):
        open_private(tmp_path / "x", "xb")


def test_a_command_s_libraries_write_for_its_user_only(
    tmp_path: Path, umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path))
    assert main(["adapters", "list"]) == 0
    (tmp_path / "of a library").write_text("1")
    assert stat.S_IMODE((tmp_path / "of a library").stat().st_mode) == 0o600
