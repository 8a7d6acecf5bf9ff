"""Prints what draws each picture of README and docs: `python -m research.figures [PICTURE ...]`.

Owns the reading of `pictures.toml`; a picture that it does not name is an error.
"""

from __future__ import annotations

import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).parent
IMAGES = HERE.parents[1] / "docs" / "img"


def commands() -> dict[str, str | None]:
    """What draws each picture below `docs/img`; None: nothing that is named."""
    table = tomllib.loads((HERE / "pictures.toml").read_text(encoding="utf-8"))
    globs = {**table["by_hand"], **table["drawn"]}
    return {
        path.name: next((globs[glob] for glob in globs if fnmatchcase(path.name, glob)), None)
        for path in sorted(IMAGES.iterdir())
    }


def main(names: list[str]) -> int:
    """Print a line a picture."""
    found = commands()
    for name in names or found:
        sys.stdout.write(f"{name}: {found.get(name) or 'no command is known'}\n")
    return int(any(found.get(name) is None for name in names or found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
