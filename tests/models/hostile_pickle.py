"""What a pickle can do to whoever loads it, made visible."""

from __future__ import annotations

import os
from pathlib import Path


class Hostile:
    """Makes the folder `marker` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Run code, as a file from a stranger may."""
        return os.mkdir, (str(self.marker),)
