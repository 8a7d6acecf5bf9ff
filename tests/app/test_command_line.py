"""What every command has in common: its help, `-v`, numbers that make no sense, no chatter."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli import COMMANDS, build_parser, main

ROOT = Path(__file__).parents[2]


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Each command's own parser."""
    (choices,) = (a.choices for a in build_parser()._actions if a.dest == "command")
    assert isinstance(choices, dict)
    return choices


def test_help_speaks_to_a_person_and_not_of_modules() -> None:
    found = parsers()
    assert set(found) == set(COMMANDS)
    for name, parser in found.items():
        words = parser.description or ""
        assert words[:1].isupper(), name
        assert words.endswith("."), name
        for inside in ("Owns", "torch", "QApplication", "`app.", f"`phosphene {name}`:"):
            assert inside not in words, f"{name}: {words}"


@pytest.mark.parametrize(
    "words",
    [
        "demo --headless --duration 0",
        "demo --headless --duration -3",
        "demo --fast --duration nan",
        "run --headless --duration inf --out X",
        "run --headless --replay X --speed 0 --out X",
        "replay X --speed -1",
        "record --out X.xdf --duration 0",
        "device synthetic --duration 0",
        "doctor --timeout zero",
        "calibrate --headless --virtual --subject S --minutes 0",
    ],
)
def test_a_time_that_is_none_is_wrong_usage(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert "expected a number above 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_verbose_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for words in ("-v systems", "systems -v", "systems --verbose"):
        assert main(words.split()) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2]
    assert "option training.multi_positive: Every repetition" in texts[0]


def test_systems_are_a_short_table_and_one_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 10 + 2
    assert max(len(line) for line in lines) <= 100
    assert main(["systems", "atm"]) == 0
    text = capsys.readouterr().out
    assert "encoder/model.safetensors is missing" in text
    assert "dreamdiffusion" not in text
    assert main(["systems", "nosuch"]) == 1
    assert "Unknown system 'nosuch', expected one of atm, " in capsys.readouterr().err


def test_loading_models_and_streams_prints_nothing(
    popen: Callable[..., subprocess.Popen[Any]], tmp_path: Path
) -> None:
    """Without settings of LSL, too: libraries keep their remarks."""
    code = (
        "import sys\n"
        "from configs import load_preset\n"
        "from models.systems import load_system\n"
        "load_system(load_preset('demo').decoder).measure()\n"
        "from devices.lsl.discovery import resolve\n"
        "resolve(0.1)\n"
        "sys.stdout.write('done')"
    )
    hidden = ("LSLAPICFG", "DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    process = popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert (out, err) == ("done", "")
