"""`scripts/install.py`, which runs before anything is installed."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from tests.waiting import PATIENCE

SCRIPT = Path(__file__).parent.parent / "scripts" / "install.py"


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("phosphene_install", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PIP = """#!{python}
import sys, time
print("Collecting numpy>=2.0 (from phosphene==0.1.0)")
print("  Downloading numpy-2.4.1-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (6.6 kB)")
print("Downloading numpy-2.4.1-cp311-cp311-manylinux_2_28_x86_64.whl (16.9 MB)", flush=True)
print("Using cached mne-1.12.0-py3-none-any.whl (7.5 MB)")
print("Processing /opt/wheels/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl")
print("Requirement already satisfied: six")
print("Installing collected packages: numpy, mne, torch", flush=True)
time.sleep(0.3)
print("a complaint", file=sys.stderr)
sys.exit(3)
"""


def test_every_package_has_a_line_and_no_silence_is_long(
    install: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / "python"
    python.write_text(PIP.format(python=sys.executable), encoding="utf-8")
    python.chmod(0o755)
    install.SILENCE = 0.1
    assert install.pip(python, "phosphene") == 3
    said = capfd.readouterr().err.splitlines()
    wanted = [
        "  numpy-2.4.1 (16.9 MB)",
        "  mne-1.12.0 (7.5 MB)",
        "  torch-2.13.0+cpu",
        "  installing 3 packages",
    ]
    assert [
        line for line in said if not line.startswith("  ...") and line != "a complaint"
    ] == wanted
    assert "  ... 0 s" in said
    assert "a complaint" in said
    assert install.pip(python, "phosphene", quiet=True) == 3
    assert "a complaint" not in capfd.readouterr().err


def test_making_the_environment_is_not_silent(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = threading.Event()

    def say(text: str) -> None:
        if text.startswith("  ..."):
            heard.set()

    def create(*_arguments: object, **_options: object) -> None:
        assert heard.wait(PATIENCE)

    monkeypatch.setattr(install, "SILENCE", 0.01)
    monkeypatch.setattr(install, "say", say)
    monkeypatch.setattr(install.venv, "create", create)
    assert install.make_environment(tmp_path / "new").parent.parent == tmp_path / "new"
