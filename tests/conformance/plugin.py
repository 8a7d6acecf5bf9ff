"""Distributions as if they were installed, without the seconds that installing takes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import how_to

SOURCE = Path(__file__).parents[1] / "plugin_example"


def write_example(folder: Path) -> None:
    """Copy the example plug-in, with its metadata."""
    folder.mkdir()
    for name in ("pyproject.toml", "lab_decoder.py"):
        shutil.copy(SOURCE / name, folder)
    how_to.install(folder)


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """Make what was written into a folder found; its modules are forgotten afterwards."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for path in folder.glob("*.py"):
            sys.modules.pop(path.stem, None)
