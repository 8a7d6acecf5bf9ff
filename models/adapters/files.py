"""Writing two files that belong together so that no reader ever sees half of them.

Owns atomic writing: each file goes to a neighbour first and is renamed, the manifest last. A
folder that has its manifest is complete.
"""

from __future__ import annotations

import os
from pathlib import Path

from models.adapters.errors import AdapterError


def write_pair(folder: Path, *files: tuple[str, bytes]) -> None:
    """Write `(name, content)` pairs into `folder` (made if need be), the last one last.

    Raises
    ------
    AdapterError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files:
            part = folder / f"{name}.part"
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, folder / name)  # noqa: PTH105 - replaces on every system
    except OSError as error:
        raise AdapterError(f"cannot write to {folder} ({error}).") from error
