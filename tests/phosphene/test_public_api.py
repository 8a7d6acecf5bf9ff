"""`import phosphene`: instant, typed, documented; and it knows its own packages."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import phosphene

ROOT = Path(phosphene.__file__).resolve().parents[1]
MODULES = sorted(
    f"phosphene.{p.stem}" for p in (ROOT / "phosphene").glob("*.py") if not p.stem.startswith("_")
)


def python(code: str, *, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_importing_it_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, phosphene\n"
        "heavy = {'torch', 'diffusers', 'mne', 'pylsl', 'PySide6', 'scipy', 'numpy', 'brainflow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "phosphene.decode, phosphene.System, phosphene.list_systems()\n"
        "heavy = {'torch', 'diffusers', 'mne', 'pylsl', 'PySide6', 'brainflow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    assert python(code, cwd=tmp_path).stderr == ""


def test_what_a_type_checker_sees_is_what_there_is() -> None:
    tree = ast.parse((ROOT / "phosphene" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n))
    seen = {a.name for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert seen == set(phosphene.__all__) == set(dir(phosphene))
    for name in phosphene.__all__:
        assert getattr(phosphene, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        phosphene.nothing  # noqa: B018


def test_everything_public_is_documented_and_on_the_reference_page() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in phosphene.__all__:
        found = getattr(phosphene, name)
        assert f"`{name}" in page, name
        text = inspect.getdoc(found) or ""
        assert text, name
        if inspect.isfunction(found) and found.__module__.startswith("phosphene"):
            assert "Examples\n--------" in text, name


@pytest.mark.parametrize("module", ["phosphene", *MODULES])
def test_the_examples_run(module: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(module), verbose=False)
    assert failed == 0


@pytest.mark.parametrize("name", ["models/__init__.py", "app/__init__.py", "pipeline.py"])
def test_an_intruder_on_the_path_is_named(tmp_path: Path, name: str) -> None:
    intruder = tmp_path / name
    intruder.parent.mkdir(exist_ok=True)
    intruder.write_text("", encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(1, {str(ROOT)!r})\n"
        "try:\n    import phosphene\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = python(code, cwd=tmp_path, path=tmp_path)
    (line,) = done.stdout.splitlines()
    assert done.stderr == ""
    assert line.startswith("PhospheneError ")
    assert str(tmp_path / Path(name).parts[0]) in line
    assert str(ROOT) in line


def test_a_distribution_that_was_imported_before_is_an_intruder_too(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("", encoding="utf-8")
    code = (
        "import sys, app\nsys.path.remove(sys.path[0])\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "try:\n    import phosphene\nexcept Exception as error:\n    print(error)\n"
    )
    done = python(code, cwd=tmp_path, path=tmp_path)
    assert done.stdout.startswith(str(tmp_path / "app")), (done.stdout, done.stderr)


def test_python_m_phosphene_is_the_command_beside_a_users_models(tmp_path: Path) -> None:
    """A folder `models/` where somebody stands is none of our business: it is not on the path."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('mine')", encoding="utf-8")
    (tmp_path / "devices.py").write_text("raise SystemExit('mine')", encoding="utf-8")
    command = [sys.executable, "-m", "phosphene", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("phosphene ")
