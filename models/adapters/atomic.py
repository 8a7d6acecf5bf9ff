"""Writing two files that belong together so that no reader ever sees half of them.

Owns atomic writing: each file goes to a neighbour first and is renamed, the manifest last, for
their owner only. A folder that has its manifest is complete.
"""

from __future__ import annotations

import os
from pathlib import Path

from configs.private import make_private, open_private
from models.adapters.errors import AdapterError, unwritable


def write_pair(folder: Path, *files: tuple[str, bytes]) -> None:
    """Write `(name, content)` pairs into `folder` (made if need be), the last one last.

    Raises
    ------
    AdapterError
        The folder cannot be written.
    """
    try:
        make_private(folder)
        for name, content in files:
            part = folder / f"{name}.part"
            try:
                with open_private(part, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(part, folder / name)  # noqa: PTH105 - replaces on every system
            except OSError:
                # Half of it would take the room that a full disk lacks.
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise AdapterError(unwritable(folder, error)) from error
