"""Every command that takes a file, given a pipe or a device: one line, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cli import main
from app.errors import AppError
from app.report.record import ReportError, read_record
from app.view_models.session.past_sessions import scan
from app.view_models.settings.preferences import Preferences, PreferencesStore
from app.view_models.settings.presets import PresetFiles
from configs import DecoderConfig, SessionConfig
from models.systems import UnknownSystemError, load_system

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are Unix's")

COMMANDS = (
    "run --headless --replay {}.xdf --out out",
    "run --headless --replay {}.edf --out out",
    "run --headless --config {}.toml --out out",
    "run --headless --montage {}.txt --out out",
    "gui --config {}.toml",
    "replay {}.fif",
    "export {}.vhdr --bids out --subject 1 --task t",
    "calibrate --headless --subject a --labels a,b --from {}.set --out out",
    "calibrate --headless --subject a --from {}.csv --labels {}.csv --out out",
    "calibrate --headless --config {}.toml --out out",
    "adapters import {}.zip",
    "import atm {}.pth --out out",
    "import atm {}.safetensors --out out",
    "import dreamdiffusion . --out out",
    "generate atm-toy --data {}-epo.fif --out out",
    "generate atm-toy --data . --out out",
    "generate atm-toy --config {}.toml --data . --out out",
    "train atm prepare --data . --out out",
    "train atm prepare --data {}.npy --out out",
    "train atm encoder --data empty --config {}.toml --out out",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_command_refuses_what_is_no_file(
    command: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path / "home"))
    Path("empty").mkdir()
    words = command.format(kind, kind).split()
    for name in {word for word in words if word.startswith(f"{kind}")} | {kind}:
        if kind == "pipe":
            os.mkfifo(name)
        else:
            Path(name).symlink_to("/dev/zero")
    assert main(words) == 1
    said = capsys.readouterr()
    assert f"(it is a {kind}, expected an ordinary file)" in said.err
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "command",
    [
        "run --headless --replay gone.xdf",
        "attend --headless --replay gone.xdf",
        "calibrate --headless --subject a --from gone.xdf",
        "evaluate --session gone --out a/b",
        "evaluate --session gone",
    ],
)
def test_a_refused_command_leaves_no_folder(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_of_weights_with_a_pipe_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    os.mkfifo(tmp_path / "encoder" / "config.json")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for config in (
        DecoderConfig(weights=str(tmp_path)),
        DecoderConfig(system="atm", weights=str(tmp_path)),
        DecoderConfig(adapter=str(tmp_path)),
    ):
        with pytest.raises(UnknownSystemError, match=r"config\.json cannot be read \(it is a pipe"):
            load_system(config)


def test_a_session_folder_of_pipes_is_listed_recovered_and_reported_without_a_wait(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "sessions" / "given"
    folder.mkdir(parents=True)
    (folder / "events.jsonl").write_text("")
    for name in (".phosphene.lock", "summary.json", "session.toml"):
        os.mkfifo(folder / name)
    found = scan(tmp_path / "sessions")
    assert [(each.path, each.summary) for each in found] == [(folder.resolve(), "")]
    assert main(["recover", str(folder)]) == 1
    with pytest.raises(ReportError, match=r"summary\.json: cannot be read \(it is a pipe"):
        read_record(folder)
    (folder / "summary.json").unlink()
    (folder / "summary.json").write_text("{}")
    (folder / "events.jsonl").unlink()
    os.mkfifo(folder / "events.jsonl")
    assert read_record(folder).events == ()
    assert read_record(folder).settings == {}


def test_settings_of_the_window_that_are_a_pipe_are_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "window.toml")
    store = PreferencesStore(tmp_path / "window.toml")
    assert "it is a pipe" in store.problem
    assert store.value == Preferences()


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/b", "..", "", "demo\n"])
def test_a_preset_s_name_never_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "presets"
    files = PresetFiles(("demo",), lambda _name: SessionConfig(), folder)
    (tmp_path / "out.toml").write_text("seed = 3\n")
    with pytest.raises(AppError, match="cannot name a file"):
        files.save(SessionConfig(preset=name))
    assert not files.is_changed(name)
    assert files.load(name) == SessionConfig()
    assert not folder.exists()
    assert (tmp_path / "out.toml").read_text() == "seed = 3\n"


@pytest.mark.parametrize(
    "command",
    [
        "run --headless --replay {} --out out",
        "run --headless --adapter {} --out out",
        "run --headless --config {} --out out",
        "export {} --bids out --subject 1 --task t",
        "calibrate --headless --subject a --labels a,b --from {} --out out",
        "adapters import {}",
        "replay {}",
        "recover {}",
        "generate atm-toy --data {} --out out",
    ],
)
def test_a_name_longer_than_a_system_takes_is_refused_in_a_line(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path / "home"))
    assert main(command.format("x" * 5000).split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("phosphene ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
