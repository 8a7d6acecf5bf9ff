"""A disk that is full whenever a test says so, without mounting one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.runtime import writing
from configs.private import open_private


class FullDisk:
    """Below `root` every write is refused while `is_full`, but for the first `room` bytes.

    What is left of a file that did not fit as a whole takes no room: it is removed.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.is_full = False
        self.room = 0
        self.n_refused = 0
        self._descriptors: dict[int, Path] = {}
        self._open, self._write, self._close = os.open, os.write, os.close
        self._open_private = open_private
        monkeypatch.setattr(os, "open", self._opened)
        monkeypatch.setattr(os, "write", self._written)
        monkeypatch.setattr(os, "close", self._closed)
        monkeypatch.setattr(writing, "open_private", self._opened_private)

    def _allowed(self, path: Path, size: int) -> int:
        """How many of `size` bytes go through; raise when none does."""
        if not self.is_full or self.root not in (path, *path.parents):
            return size
        allowed = min(size, self.room)
        self.room -= allowed
        if allowed == 0 and size:
            self.n_refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return allowed

    def _opened(self, path: str | Path, flags: int, mode: int = 0o777, **more: int) -> int:
        descriptor = self._open(path, flags, mode, **more)
        if isinstance(path, str | Path):
            self._descriptors[descriptor] = Path(path).absolute()
        return descriptor

    def _closed(self, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)
        self._close(descriptor)

    def _written(self, descriptor: int, data: bytes) -> int:
        path = self._descriptors.get(descriptor)
        size = len(data)
        allowed = size if path is None else self._allowed(path, size)
        return self._write(descriptor, data[:allowed])

    @contextmanager
    def _opened_private(self, path: Path, mode: str) -> Iterator[Any]:
        """A whole file: what of it does not fit is refused when it is written."""
        with self._open_private(path, mode) as stream:
            disk = self

            class Checked:
                def write(self, data: bytes) -> None:
                    allowed = disk._allowed(path.absolute(), len(data))
                    stream.write(data[:allowed])
                    if allowed < len(data):
                        disk.room += allowed
                        disk.n_refused += 1
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

            yield Checked()
