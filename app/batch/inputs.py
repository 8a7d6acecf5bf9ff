"""What a batch works on: recordings and sessions that were given, or lie in folders that were.

Owns which files of a folder are meant and how each input is called. Knows nothing of what is done
with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import AppError
from app.recordings import recordings_below
from app.runtime.folder import EVENTS, RECORDING

LONGEST_NAME = 200
"""Bytes of a name; a folder's name has at most 255, and a number and a system may follow."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input, and what it would like to be called."""

    path: Path
    name: str


def recordings(given: Sequence[Path], *, out: Path) -> list[Input]:
    """Take files and folders; a folder is one input where it is a session or prepared data.

    What lies below `out` is left out: a batch does not work on what it made.

    Raises
    ------
    AppError
        A folder holds no recording.
    """
    found: list[Input] = []
    for path in given:
        if not path.is_dir() or (path / RECORDING).is_file() or (path / "eeg.npy").is_file():
            found.append(Input(path, _name(path, path.resolve().parent)))
            continue
        below = [each for each in recordings_below(path) if not _is_below(each, out)]
        found += [Input(each, _name(each, path)) for each in below]
    return found


def sessions(given: Sequence[Path], *, out: Path) -> list[Input]:
    """Take session folders, and folders of them.

    Raises
    ------
    AppError
        A folder holds no session.
    """
    found: list[Input] = []
    for path in given:
        below = [] if (path / EVENTS).is_file() else sorted(path.rglob(EVENTS))
        folders = [each.parent for each in below if not _is_below(each, out)] or [path]
        if folders == [path] and not (path / EVENTS).is_file():
            raise AppError(
                f"{path} holds no session, expected a folder with {EVENTS}, or a folder of those."
            )
        root = path if below else path.resolve().parent
        found += [Input(each, _name(each, root)) for each in folders]
    return found


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _name(path: Path, root: Path) -> str:
    """Call a recording as its file, one of a session as the session; folders between go before."""
    whole = path.resolve()
    if path.name == RECORDING:
        whole = whole.parent
    elif path.is_file():
        whole = whole.with_suffix("")
    top = root.resolve()
    parts = whole.relative_to(top).parts if whole.is_relative_to(top) else (whole.name,)
    # What begins with a dot is hidden, and the names of our own files end in .json and .csv.
    # Nor is every letter that a folder's name can hold one for a terminal, or for JSON.
    name = "".join(c if c.isprintable() else "_" for c in "-".join(parts or (whole.name,)))
    return name.lstrip(".").encode()[:LONGEST_NAME].decode(errors="ignore") or "input"
