"""How-tos as tests follow them: the files that a page shows, installed as a page says.

A fenced block whose info string names a file (```` ```python acme_eeg.py ````) is that file.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PAGES = Path(__file__).resolve().parents[1] / "docs" / "how-to"
_BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(page: str) -> dict[str, str]:
    """The files that a how-to shows, by name."""
    found = dict(_BLOCK.findall((PAGES / page).read_text(encoding="utf-8")))
    assert found, f"{page} shows no file"
    return found


def write_files(page: str, folder: Path) -> None:
    """Write the files that a how-to shows."""
    for name, text in files_of(page).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def install(folder: Path) -> None:
    """Do what pip does with the distribution in `folder`: its metadata beside its modules."""
    table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = table["name"].replace("-", "_")
    info = folder / f"{name}-{table['version']}.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n"
    (info / "METADATA").write_text(about, encoding="utf-8")
    lines: list[str] = []
    for group, entries in table["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
