"""A stranger's `session.toml`: no folder is made for its word, and other weights are said."""

from __future__ import annotations

import json
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from app.benchmarks.idle import idle_decoder
from app.cli import main
from app.commands.common import load, load_run
from app.foreign import other_weights, without_foreign_fallback
from app.runtime.decoder import Decoder
from app.runtime.session import Session
from configs import LoadedConfig, OutletsConfig, RecordingConfig, SessionConfig, read_config
from devices.hostile import HostileSettings, HostileSource
from tests.waiting import PATIENCE


def repeat(folder: Path, recorded: dict[str, Any] | None, said: list[str]) -> Path:
    """Replay three seconds, as the session whose `run` table is given."""
    session = Session(
        SessionConfig(
            outlets=OutletsConfig(enabled=False), recording=RecordingConfig(enabled=False)
        ),
        out=folder,
        open_source=lambda _stop: HostileSource(HostileSettings(duration=3.0, chunk=20)),
        clock=lambda: 0.0,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=False,
        replay_of=Path("recording.xdf"),
        recorded=recorded,
        say=said.append,
    )
    session.start()
    assert session.wait(PATIENCE)
    return folder


def run_table(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((folder / "session.toml").read_text())["run"]
    return table


def test_a_replay_under_other_weights_says_so_at_once_and_in_its_files(tmp_path: Path) -> None:
    said: list[str] = []
    first = run_table(repeat(tmp_path / "first", None, said))
    repeat(tmp_path / "same", first, said)
    assert said == []
    assert json.loads((tmp_path / "same" / "summary.json").read_text())["warnings"] == []
    weights = "Other weights than recorded: "
    for key, words in (
        ("encoder_sha256", weights + "encoder (or adapter)"),
        ("sampler_sha256", weights + "sampler"),
        ("gallery_sha256", "Another gallery than recorded: fluent-emoji"),
    ):
        out = repeat(tmp_path / key, first | {key: "beef" * 16}, said)
        sentence = said.pop()
        assert sentence.startswith(words)
        assert "(recorded: beefbeefbeef)" in sentence
        assert said == []
        assert sentence in json.loads((out / "summary.json").read_text())["warnings"]
        assert words.split(":")[0] in (out / "report.html").read_text()


@pytest.mark.parametrize("strange", ["\x1b[2J", 7, ["a"], "", {"a": 1}])
def test_a_strange_hash_is_said_without_its_strangeness(strange: object) -> None:
    sentence = other_weights({"encoder_sha256": strange}, {"encoder_sha256": "a" * 64})
    assert "encoder (or adapter) aaaaaaaaaaaa (recorded: " in sentence
    assert sentence.isprintable()


def test_what_was_not_recorded_is_not_compared() -> None:
    assert other_weights({}, {"encoder_sha256": "a"}) == ""
    assert other_weights({"sampler_sha256": "b"}, {"encoder_sha256": "a"}) == ""


def config_with(path: Path, fallback: Path) -> Path:
    path.write_text(tomli_w.dumps({"recording": {"fallback": str(fallback)}}))
    return path


def test_a_fallback_of_a_file_is_taken_only_where_it_is_there_and_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = tmp_path / "given.toml", tmp_path / "spare"
    config_with(path, folder)
    assert load(None, path).recording.fallback is None
    said = capsys.readouterr().err
    assert str(folder) in said
    assert str(path) in said
    assert "--fallback DIR" in said
    assert not folder.exists()
    folder.mkdir()
    assert load(None, path).recording.fallback == str(folder)
    assert capsys.readouterr().err == ""
    (tmp_path / "link").symlink_to(folder)
    config_with(path, tmp_path / "link")
    assert load(None, path).recording.fallback is None
    # The person's own word is enough, and wins.
    chosen = load_run(None, path, fallback=tmp_path / "mine").config
    assert chosen.recording.fallback == str(tmp_path / "mine")


@pytest.mark.skipif(not hasattr(__import__("os"), "getuid"), reason="owners are Unix's")
def test_a_fallback_of_another_owner_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    loaded = LoadedConfig(SessionConfig(recording=RecordingConfig(fallback=str(tmp_path))))
    assert without_foreign_fallback(loaded, Path("x"))[1] == ""
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    config, sentence = without_foreign_fallback(loaded, Path("x"))
    assert config.recording.fallback is None
    assert "no folder of yours" in sentence


def test_a_session_begun_with_it_makes_no_folder(tmp_path: Path) -> None:
    """The whole command: refused at its recording, after the settings were read."""
    folder = tmp_path / "spare" / "deep"
    path = config_with(tmp_path / "given.toml", folder)
    words = ["run", "--headless", "--config", str(path), "--replay", str(tmp_path / "none.xdf")]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "spare").exists()


def test_a_run_table_is_handed_on_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_text('run = "what"\n')
    assert read_config(path).run == {}
    path.write_text('[run]\nencoder_sha256 = "a"\n')
    assert read_config(path).run == {"encoder_sha256": "a"}
