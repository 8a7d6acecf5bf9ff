"""The example plug-in as if it were installed, without the seconds that installing takes."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "plugin_example"


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Put its module and a distribution of its entry points on the path."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    about = folder / f"lab_decoder-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    added = [str(SOURCE), str(folder)]
    sys.path[:0] = added
    try:
        yield
    finally:
        for each in added:
            sys.path.remove(each)
        sys.modules.pop("lab_decoder", None)
