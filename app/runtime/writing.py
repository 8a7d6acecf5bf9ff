"""A session's files, written in spite of the disk.

Owns what becomes of a file or a line that the disk refuses: it is said at once (`alarm`), kept in
memory within bounds, and written as soon as there is room; where a fallback folder is given all
goes on there instead. Nothing here raises `OSError`, whichever thread calls. Knows nothing of what
the files hold.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from configs.plain import utf8
from configs.private import FILE, FOLDER, make_private, open_private

_LOG = logging.getLogger(__name__)

MAX_KEPT = 32 << 20
"""Bytes of files, and as many of lines, that wait in memory for the disk."""
MAX_RECENT = 4 << 20
"""Bytes of newest lines that are kept for the fallback folder: a disk that is gone has them not."""
RETRY = 1.0
"""Between two trials to write what waits, s."""


class PatientFiles:
    """Whole files and one growing file of lines, in a folder or, when that fails, in another.

    Parameters
    ----------
    folder : Path
        It exists; the file of lines is created at once (`OSError`).
    lines : str
        Name of the file of lines.
    fallback : Path or None
        Folder where all goes on when a write to `folder` fails; made when it is needed.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lines: str,
        fallback: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = self.where = folder
        self._name = lines
        self._fallback = fallback
        self._clock = clock
        self._lock = threading.RLock()
        self._file = _LineFile(folder / lines)
        self._waiting: deque[bytes] = deque()
        self._recent: deque[bytes] = deque()
        self._kept: dict[str, bytes] = {}
        self._notice = ""
        self.failure: OSError | None = None
        """The newest refusal."""
        self._tried_at = -RETRY
        self._lost: set[str] = set()
        self._n_lines_lost = 0

    @property
    def alarm(self) -> str:
        """One sentence from the first failure on; `""` while nothing has failed."""
        with self._lock:
            if self._waiting or self._kept:
                return (
                    f"{self.where} cannot be written ({self._why}): free disk space or allow "
                    "writing there; events and pictures wait in memory."
                )
            return self._notice

    @property
    def _why(self) -> str:
        return "" if self.failure is None else why(self.failure)

    @property
    def n_lines_missing(self) -> int:
        """Lines that are nowhere on a disk by now."""
        with self._lock:
            return self._n_lines_lost + len(self._waiting)

    @property
    def missing(self) -> frozenset[str]:
        """Names of the files that are nowhere on a disk by now."""
        with self._lock:
            return frozenset(self._kept) | self._lost

    def append(self, line: str) -> None:
        """Write a line, or keep it."""
        data = utf8(line + "\n")
        with self._lock:
            if _size(self._waiting) + len(data) > MAX_KEPT:
                self._n_lines_lost += 1
                return
            self._waiting.append(data)
            if len(self._waiting) == 1:
                self._attempt(self._write_lines)

    def write(self, name: str, data: bytes) -> str:
        """Write a file as a whole, or keep it; its name, or its path where it lies elsewhere."""
        with self._lock:
            self._kept[name] = data
            self._attempt(self._write_kept)
            if name in self._kept and _size(self._kept.values()) > MAX_KEPT:
                del self._kept[name]
                self._lost.add(name)
            # The attempt may have moved all to the fallback folder.
            return name if self.where == self._folder else str(self.where / name)

    def retry(self, *, at_once: bool = False) -> None:
        """Write what waits, if it is time again or `at_once`."""
        with self._lock:
            now = self._clock()
            if not (self._waiting or self._kept) or (now - self._tried_at < RETRY and not at_once):
                return
            self._tried_at = now
            self._attempt(self._write_waiting)
            if not (self._waiting or self._kept) and self.where == self._folder:
                self._notice = (
                    f"{self._folder} could not be written for a while ({self._why}); what "
                    "waited was written when there was room again."
                )

    def lines(self) -> list[str]:
        """Every line that is known: on either disk, and in memory; some twice, some cut short."""
        with self._lock:
            found: list[str] = []
            for folder in dict.fromkeys((self._folder, self.where)):
                with contextlib.suppress(OSError):
                    text = (folder / self._name).read_text(encoding="utf-8", errors="replace")
                    found += text.split("\n")
            return found + [line.decode() for line in (*self._recent, *self._waiting)]

    def settle(self, files: Mapping[str, bytes]) -> Path | None:
        """Write files, all in one folder: the first that takes them; None where none does.

        The file of lines may be among them: with every line, it takes the place of what is there.
        """
        with self._lock:
            for number in range(2):
                folder = self.where if number else self._folder
                if self._attempt(lambda folder=folder: _write_all(folder, files)):  # type: ignore[misc]
                    if self._name in files:
                        self._waiting.clear()
                    return folder
            return None

    def close(self) -> None:
        """Close the file of lines; safe to call twice."""
        with self._lock:
            self._fallback = None  # what comes now comes too late to begin another folder
            self._file.close()

    # -- the lock is held ---------------------------------------------------------------------

    def _attempt(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            self.failure = error
            _LOG.debug("%s cannot be written", self.where, exc_info=True)
            if self._fallback is not None:
                self._move(self._fallback, error)
            return False
        return True

    def _move(self, fallback: Path, reason: OSError) -> None:
        """Go on in the fallback folder; there is no third."""
        self._fallback = None
        try:
            make_private(fallback)
            file = _LineFile(fallback / self._name)
        except OSError as error:
            self.failure = OSError(
                reason.errno, f"{why(reason)}; the fallback {fallback} failed too: {why(error)}"
            )
            return
        self._file.close()
        self._notice = (
            f"The session's files go on in {fallback}, because {self._folder} cannot be written "
            f"({why(reason)})."
        )
        self._file, self.where = file, fallback
        self._waiting.extendleft(reversed(self._recent))
        self._recent.clear()
        self._attempt(self._write_waiting)

    def _write_waiting(self) -> None:
        self._write_lines()
        self._write_kept()

    def _write_lines(self) -> None:
        while self._waiting:
            self._file.write(self._waiting[0])
            line = self._waiting.popleft()
            if self._fallback is not None:
                self._recent.append(line)
                while _size(self._recent) > MAX_RECENT:
                    self._recent.popleft()

    def _write_kept(self) -> None:
        for name in list(self._kept):
            path = self.where / name
            if path.parent != self.where:  # a folder that somebody removed stays removed
                path.parent.mkdir(mode=FOLDER, exist_ok=True)
            write_atomically(path, self._kept[name])
            del self._kept[name]


class _LineFile:
    """A new file that grows by whole lines; one that was refused is taken up where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._fd: int | None = os.open(path, flags, FILE)
        self._n_written = 0

    def write(self, line: bytes) -> None:
        """Write a line; after an `OSError` call it again with the same one."""
        if self._fd is None:
            raise OSError(0, "it is closed already")
        while self._n_written < len(line):
            self._n_written += os.write(self._fd, line[self._n_written :])
        # A deleted file takes writes without an error, for ever.
        if not os.path.samestat(self._path.stat(), os.fstat(self._fd)):
            raise OSError(0, "it was replaced by another file")
        self._n_written = 0

    def close(self) -> None:
        """Close it; safe to call twice."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open_private(partial, "wb") as stream:
            stream.write(data)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()  # half a file would take the room that is missing
        raise


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        write_atomically(folder / name, data)


def why(error: OSError) -> str:
    """Say what the system said, without numbers and file names."""
    return error.strerror or str(error)


def _size(parts: Iterable[bytes]) -> int:
    return sum(map(len, parts))
