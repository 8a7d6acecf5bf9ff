"""Without an extra, every command that needs it ends in one line that names what to install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.extras import EXTRAS, MissingExtraError, extras_named
from tests.devices.edf_tools import write_edf

ROOT = Path(__file__).resolve().parents[2]

NEEDS = {
    "train mindeye high-level --data eeg --out o": "published",
    "train contrast-attend-diffuse phase-2 --data eeg --out o": "published",
    "train dreamdiffusion a --data eeg --out o --log tensorboard": "train",
    "generate atm-toy --data rec.edf --out o": "published",
    "compile --preset atm-toy": "published",
    "evaluate --tensors a.npy a.npy --out o": "published",
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


def test_every_command_without_its_extra_names_it(
    popen: Callable[..., subprocess.Popen[Any]], tmp_path: Path
) -> None:
    """And only that: diffusers would remark on a machine without accelerate."""
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


def test_every_extra_that_is_named_exists() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(EXTRAS.values()) <= set(table["project"]["optional-dependencies"])


def test_what_no_extra_brings_is_raised_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError), extras_named("this"):
        import no_such_library  # noqa: F401
    with (
        pytest.raises(MissingExtraError, match=r"^an MP4 needs av, .*\[video\]', or a GIF\.$"),
        extras_named("an MP4", otherwise="or a GIF"),
    ):
        raise ModuleNotFoundError(name="av.container")
