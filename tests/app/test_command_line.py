"""What every command has in common: its help, `-v`, numbers that make no sense, no chatter."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.cli import COMMANDS, build_parser, main
from models.registry import read_registry
from pipeline.extras import EXTRAS
from tests.devices.edf_tools import write_edf

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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("record --out X.xdf --rcs 70000", "Port 70000 of the remote control given, expected 1 to"),
        ("record --out X.xdf --rcs -4", "Port -4 of the remote control given, expected 1 to"),
        ("attend --headless --person -1 --looks 1", "--person -1 given, expected 0 or more."),
        ("simulate --attend --subject -1", "--subject is -1, expected 0 or more."),
        ("simulate --attend --snr nan", "--snr is nan, expected 0 or more."),
        ("simulate --attend --duration -1", "--duration is -1, expected 0 or more."),
        ("simulate --attend --fmri", "--attend and --fmri given, expected --attend with"),
        ("simulate --attend --board cyton --out x.npz", "--attend and --board, --out given"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    words: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_a_stage_whose_folder_cannot_be_is_not_started_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("app.display.window_problem", lambda: "")
    monkeypatch.setattr("app.commands.stage.supervise", lambda _: pytest.fail("started"))
    assert main(["stage", "--out", str(tmp_path / "file" / "stage")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in line


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
    listed = [each for each in read_registry().systems.values() if each.descriptor.is_listed]
    assert len(lines) == 2 + len(listed) + 2
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


NEEDS = {
    "train mindeye high-level --data eeg --out o": "published",
    "train contrast-attend-diffuse phase-2 --data eeg --out o": "published",
    "train dreamdiffusion a --data eeg --out o --log tensorboard": "train",
    "generate atm-toy --data rec.edf --out o": "published",
    "compile --preset atm-toy": "published",
    "gallery make pictures --space clip-vit-h-14-image --out o": "published",
    "export rec.edf --bids o --subject 1 --task t": "bids",
    "devices": "brainflow",
    "device cyton --serial-port nowhere": "brainflow",
    "bench xdf": "peers",
    "bench classes --data rec.edf": "peers",
    "bench retrieval": "retrieval",
}
"""Command lines and the extra that each asks for."""

PROGRAM = """
import contextlib, io, json, sys
for name in sys.argv[1].split():
    sys.modules[name] = None
from app.cli import main
said = {}
for line in json.loads(sys.argv[2]):
    with contextlib.redirect_stderr(io.StringIO()) as err:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            said[line] = [main(line.split()), out.getvalue(), err.getvalue()]
from diffusers.utils import is_accelerate_available
assert not is_accelerate_available()
json.dump(said, sys.stdout)
"""


def test_a_system_without_its_extra_names_it(
    popen: Callable[..., subprocess.Popen[Any]], tmp_path: Path
) -> None:
    """Nor any command, and only that: diffusers would remark on a machine without accelerate."""
    (tmp_path / "eeg").mkdir()
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    np.save(tmp_path / "eeg" / "0.npy", rng.normal(0, 10, (128, 600)))
    np.save(tmp_path / "a.npy", rng.integers(0, 255, (4, 3, 16, 16), dtype=np.uint8))
    for name in "ab":
        Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / f"{name}.png")
    write_edf(tmp_path / "rec.edf", ["C3", "C4"], n_records=30, events=[(5.0, "a"), (9.0, "b")])
    process = popen(
        [sys.executable, "-c", PROGRAM, " ".join(EXTRAS), json.dumps(list(NEEDS))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    answers = json.loads(out)
    for line, (code, printed, said) in answers.items():
        assert (code, printed, said.count("\n")) == (1, "", 1), (line, said)
        assert said.startswith(f"phosphene {line.split()[0]}: "), said
        assert f"pip install 'phosphene[{NEEDS[line]}]'" in said, said
