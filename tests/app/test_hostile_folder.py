"""Commands started in a folder whose files are named as our packages: nothing of it is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A user's folder of her own programs."""
    for name in ("models/__init__.py", "devices.py", "pipeline.py", "configs.py", "numpy.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit(f'imported {__name__} of the current folder')\n")
    # What a spawned interpreter imports before anything can be said to it.
    (tmp_path / "multiprocessing.py").write_text("raise SystemExit('imported multiprocessing')\n")
    return tmp_path


def run(
    popen: Callable[..., subprocess.Popen[Any]], folder: Path, *words: str
) -> tuple[int, str, str]:
    process = popen(
        [sys.executable, "-m", "phosphene", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=110)
    return process.returncode, out, err


@pytest.mark.lsl
def test_doctor_judges_the_installation_not_the_current_folder(
    hostile: Path, popen: Callable[..., subprocess.Popen[Any]]
) -> None:
    code, out, err = run(popen, hostile, "doctor", "--json")
    assert "current folder" not in out + err
    checks = {each["name"]: each["status"] for each in json.loads(out)["checks"]}
    assert checks["window"] != "failed", out
    assert code == int("failed" in checks.values())


@pytest.mark.lsl
def test_demo_decodes_in_spite_of_the_current_folder(
    hostile: Path, popen: Callable[..., subprocess.Popen[Any]]
) -> None:
    words = ("demo", "--headless", "--duration", "1", "--out", "out", "--json")
    code, out, err = run(popen, hostile, *words)
    assert code == 0, err
    assert "current folder" not in err
    summary = json.loads(out)
    assert summary["decoder"]["encoder_sha256"], "its process has loaded the models"
    assert summary["markers"] >= 1, "the virtual headset has heard the first stimulus"
