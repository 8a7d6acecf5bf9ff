"""The one door for a file that somebody names: ordinary files only, of a bounded size.

Owns what keeps a pipe, a device or a folder from being opened like a file, where it would hang, do
something or never end, and a file that is far too large from filling the memory. Everything that
takes a path (command line, settings, a window's dialogue, a name inside another file) asks here
first; the lowest layer, so that all can. Knows nothing of what a file holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import IO, Final

SETTINGS_LIMIT: Final = 1 << 20
"""Largest file of settings, labels or notes that a person writes, bytes."""
TABLE_LIMIT: Final = 1 << 28
"""Largest table (JSON, TSV) that a program writes beside its data, bytes."""

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
# Not there on Windows, which has no pipes in folders either.
_NO_WAIT: Final[int] = getattr(os, "O_NONBLOCK", 0)


class UnfitFileError(OSError):
    """What is there is no ordinary file, or a larger one than its kind can be.

    An `OSError`, so that whoever refuses a file that cannot be read refuses this one as well;
    `strerror` is the reason, in words that follow "cannot be read".
    """

    def __str__(self) -> str:
        """The reason alone: the one who catches it names the path."""
        return str(self.strerror)


def check_file(path: Path | str, *, limit: int | None = None) -> int:
    """Return the size of an ordinary file, bytes; nothing is opened.

    Raises
    ------
    UnfitFileError
        A folder, a pipe, a device or a socket (behind a link, too), or more than `limit` bytes.
    OSError
        It is not there, or may not be seen.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - takes text as well
    except ValueError:
        reason = "its name holds a character that no file's can"
        raise UnfitFileError(errno.EINVAL, reason, str(path)) from None
    return _check(path, found, limit)


def check_tree(path: Path | str) -> None:
    """Refuse a file, or a folder in which anything, at any depth, is no ordinary file or folder.

    For what a library opens by itself. A link that leads nowhere (a data set that is not all here)
    is no bar: opening it fails at once.

    Raises
    ------
    UnfitFileError
        A pipe, a device or a socket; `filename` says which.
    OSError
        It is not there, or may not be seen.
    """
    path = Path(path)
    if not path.is_dir():
        check_file(path)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                check_file(Path(folder, name))


def open_file(path: Path | str, *, limit: int | None = None) -> IO[bytes]:
    """Open an ordinary file for reading; it is looked at again once open.

    Raises
    ------
    OSError
        As `check_file`, or it may not be read.
    """
    check_file(path, limit=limit)
    # Between the look and the opening a pipe may take the file's place: it must not block either.
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NO_WAIT))  # noqa: SIM115
    try:
        _check(path, os.fstat(file.fileno()), limit)
    except OSError:
        file.close()
        raise
    return file


def read_bytes(path: Path | str, *, limit: int) -> bytes:
    """Read a whole file of at most `limit` bytes; one that grows meanwhile is refused, too.

    Raises
    ------
    OSError
        As `open_file`.
    """
    with open_file(path, limit=limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise _too_large(path, len(content), limit)
    return content


def read_text(
    path: Path | str,
    *,
    limit: int = SETTINGS_LIMIT,
    encoding: str = "utf-8",
    errors: str = "strict",
) -> str:
    """Read a whole text of at most `limit` bytes, its line ends as line feeds.

    Raises
    ------
    OSError
        As `open_file`.
    UnicodeDecodeError
        It is no text of this encoding.
    """
    text = read_bytes(path, limit=limit).decode(encoding, errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check(path: Path | str, found: os.stat_result, limit: int | None) -> int:
    if not stat.S_ISREG(found.st_mode):
        kind = next((word for is_kind, word in _KINDS if is_kind(found.st_mode)), "no file")
        raise UnfitFileError(errno.EINVAL, f"it is {kind}, expected an ordinary file", str(path))
    if limit is not None and found.st_size > limit:
        raise _too_large(path, found.st_size, limit)
    return found.st_size


def _too_large(path: Path | str, size: int, limit: int) -> UnfitFileError:
    return UnfitFileError(errno.EFBIG, f"it has {size} bytes, expected at most {limit}", str(path))
