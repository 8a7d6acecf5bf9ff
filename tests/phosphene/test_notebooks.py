"""The notebooks of docs/notebooks run as they stand, offline, each in an interpreter of its own.

By their code cells and not through nbclient: that would add a kernel, a message bus and a dozen
distributions to the test extra, and no cell uses a magic. They are committed without outputs, so
that nothing shown can fall behind the code.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.forking import run_program

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OFFLINE = (
    "import socket\n"
    "def _refuse(*_args, **_options):\n    raise OSError('a notebook reached for the network')\n"
    "socket.create_connection = socket.getaddrinfo = _refuse\n"
)


def cells(path: Path) -> list[str]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


def test_they_are_these() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["calibrate", "decode", "draw"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_plain_and_small(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert path.stat().st_size < 20_000
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == []
    for cell in cells(path):
        ast.parse(cell)  # no magic, so that it is Python anywhere


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    code = OFFLINE + "\n\n".join(cells(path))
    exit_code, said = run_program(code, tmp_path, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
    assert exit_code == 0, said[-2000:]
    assert "Traceback" not in said
