"""`phosphene compile`: what it says of engines that were built, refused, or not wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.cli import main
from models import ahead
from models.ahead import Built

GOOD = Built(
    "onnxruntime",
    "cpu",
    "float32",
    is_kept=True,
    n_bytes=195_081,
    seconds=1.5,
    deviation=2e-6,
    tolerance=1e-3,
    picture=0.04,
    eager=0.08,
)
BAD = Built("trace", "cpu", "float32", reason="unet deviates from eager by 0.5")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Built]:
    built: list[Built] = [GOOD, BAD]

    def build_ahead(*_: Any, **__: Any) -> Iterator[Built]:
        yield from built

    monkeypatch.setattr(ahead, "build_ahead", build_ahead)
    return built


def test_it_says_size_time_tolerance_and_gain(
    builds: list[Built], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile"]) == 0
    out, err = capsys.readouterr()
    row = next(line for line in out.splitlines() if line.startswith("onnxruntime  "))
    assert row.split("  ")[-1] == "2.00x"
    for words in ("195 kB", "1.5 s", "2e-06", "0.001", "40.0 ms", "80.0 ms"):
        assert words in row
    assert "trace: not used: unet deviates from eager by 0.5" in out
    assert "auto draw by onnxruntime here" in out
    assert err == ""


def test_json_is_one_document(builds: list[Built], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["backend"] == "onnxruntime"
    assert [each["reason"] for each in document["engines"]] == ["", BAD.reason]


def test_nothing_that_can_be_used_is_a_failure(
    builds: list[Built], capsys: pytest.CaptureFixture[str]
) -> None:
    builds.remove(GOOD)
    assert main(["compile", "--backend", "trace"]) == 1
    assert capsys.readouterr().err == f"phosphene compile: trace: {BAD.reason}\n"


def test_eager_needs_no_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--backend", "eager"]) == 1
    assert "needs no engine: name a back-end (--backend), or auto" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run --headless --out X", "demo --fast", "gui", "compile"])
@pytest.mark.parametrize(("option", "value"), [("--backend", "magic"), ("--dtype", "float8")])
def test_an_unknown_back_end_or_type_is_one_line(
    command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), option, value]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"decoder.{option[2:]} = {value!r}" in line
