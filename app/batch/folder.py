"""What a batch has done: a folder for each input that is whole, and nothing that is half made.

Owns `--out` of a batch. An input's results are made in a hidden place and take their name by one
renaming once they are whole, so that a folder that is there is done, however a batch ended. Knows
nothing of what the results are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.batch.inputs import Input
from app.errors import AppError
from app.runtime.lock import LOCK, LockState, read_lock, remove_lock, write_lock
from app.runtime.writing import write_atomically
from configs.guard import read_text
from configs.plain import utf8
from configs.private import make_private

BATCH, STAMP, PARTS = "batch.json", "input.json", ".unfinished"
_LIMIT = 1 << 26


@dataclass(frozen=True, slots=True)
class Place:
    """Where an input's results come to lie, and whether they do; `why_not` is said of a changed."""

    input: Input
    folder: Path
    is_done: bool
    why_not: str = ""


class BatchFolder:
    """A folder of results, one batch at a time.

    Parameters
    ----------
    path : Path
        New, empty, or begun by the same command with the same options.
    command : str
    options : mapping of str to str
        What the results depend on, beside the inputs.

    Raises
    ------
    AppError
        It holds something else, was begun with other options, or another process works on it.
    """

    def __init__(self, path: Path, command: str, options: Mapping[str, str]) -> None:
        self.path = path
        self._begun = {"schema_version": 1, "command": command, "options": dict(options)}
        before = self._before()
        others = {} if before is None else before.get("options")
        others = others if isinstance(others, dict) else {}
        other = next((k for k in {**others, **options} if others.get(k) != options.get(k)), None)
        if before is not None and (before.get("command") != command or other is not None):
            what = f"`{before.get('command')}`" if other is None else f"--{other}"
            then = (
                ""
                if other is None
                else f" ({others.get(other, 'not given')}, now {options.get(other, 'not given')})"
            )
            raise AppError(
                f"{path} was begun with another {what}{then}, expected what it was begun with, or "
                "a new folder: results of both would lie side by side."
            )
        self._parts = path / PARTS

    def _before(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        if not self.path.is_dir():
            raise AppError(f"{self.path} is a file, expected a new folder.")
        file = self.path / BATCH
        if not file.is_file():
            if any(each.name != LOCK for each in self.path.iterdir()):
                raise AppError(
                    f"{self.path} is not empty and no batch of ours, expected a new folder: "
                    "nothing is overwritten."
                )
            return None
        return _read(file)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Within, it is this process's; what an earlier one left half made is taken away.

        Raises
        ------
        AppError
            Another process works on it.
        """
        make_private(self.path)
        state, owner = read_lock(self.path)
        if state in (LockState.ALIVE, LockState.UNKNOWN):
            raise AppError(
                f"{self.path} is in use by {owner or 'an unknown process'}: wait for it, or delete "
                f"{self.path / LOCK} where that is gone."
            )
        with contextlib.suppress(FileNotFoundError):
            if state is LockState.ABANDONED:
                remove_lock(self.path)
        try:
            write_lock(self.path)
        except FileExistsError:
            raise AppError(f"{self.path} was just taken by another process: wait for it.") from None
        try:
            shutil.rmtree(self._parts, ignore_errors=True)
            make_private(self._parts)
            self.write({})
            yield
        finally:
            shutil.rmtree(self._parts, ignore_errors=True)
            remove_lock(self.path)

    def write(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Write `batch.json`; return its content."""
        document = {**self._begun, **found}
        write_atomically(
            self.path / BATCH, utf8(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        )
        return document

    def places(self, inputs: Sequence[Input]) -> list[Place]:
        """Find each input's folder; two of one name get numbers, and keep them."""
        taken: set[Path] = set()
        places = []
        for each in inputs:
            source, number = str(each.path.resolve()), 1
            while True:
                folder = self.path / (each.name if number == 1 else f"{each.name}-{number}")
                number += 1
                if folder in taken or folder.name in (BATCH, LOCK, PARTS):
                    continue
                if not folder.exists():
                    places.append(Place(each, folder, is_done=False))
                    break
                stamp = _read(folder / STAMP) if (folder / STAMP).is_file() else {}
                if stamp.get("input") != source:
                    continue
                why = "" if stamp.get("fingerprint") == fingerprint(each.path) else _changed(folder)
                places.append(Place(each, folder, is_done=not why, why_not=why))
                break
            taken.add(folder)
        return places

    def part(self, place: Place) -> Path:
        """Where an input's results are made."""
        return self._parts / place.folder.name

    def finish(self, place: Place, before: str) -> None:
        """Give whole results their name; `before` is the input's fingerprint of when it began.

        Raises
        ------
        OSError
            It cannot be written.
        """
        stamp = {"input": str(place.input.path.resolve()), "fingerprint": before}
        part = self.part(place)
        write_atomically(part / STAMP, (json.dumps(stamp, indent=1) + "\n").encode())
        part.rename(place.folder)

    def drop(self, place: Place) -> None:
        """Take away what a failed one left."""
        shutil.rmtree(self.part(place), ignore_errors=True)


def fingerprint(path: Path) -> str:
    """Tell a file, or the files of a folder, from what they were: by sizes and times of change."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for each in files:
        with contextlib.suppress(OSError):
            found = each.stat()
            if each.is_file():
                digest.update(f"{each.name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _changed(folder: Path) -> str:
    return f"it has changed since {folder} was made of it: delete that folder to do it again."


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(file, limit=_LIMIT))
    except ValueError as error:
        raise AppError(f"{file} is damaged ({error}): delete it, or take a new --out.") from None
    if not isinstance(found, dict):
        raise AppError(f"{file} is damaged: delete it, or take a new --out.")
    return found
