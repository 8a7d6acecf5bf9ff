"""Where engines are kept between sessions: a folder that only its owner can write.

Owns the folder, its checks and its layout: one folder an engine, named by the hash of everything
that it depends on, with a manifest and a file a network. A file is read once, compared with the
manifest's hash and handed on as bytes; nothing is unpickled, and a folder or file that somebody
else could have written is refused whatever its hash. Knows no back-end.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from configs.guard import TABLE_LIMIT, check_file, read_bytes, read_text
from configs.private import make_private, open_private
from models.sampling.backends.base import BackendError

MANIFEST = "manifest.json"
SCHEMA = 1
_LARGEST = 1 << 36
"""Largest file of an engine, bytes."""


@dataclass(frozen=True, slots=True)
class Key:
    """Everything that an engine depends on, as text; `weights` apart from the rest."""

    facts: Mapping[str, Any]
    weights: str

    @property
    def architecture(self) -> str:
        """Hash of all but the weights: engines that agree in it differ by a refit."""
        return _hash({"schema": SCHEMA, **self.facts})

    @property
    def name(self) -> str:
        """Hash of everything: the folder's name."""
        return _hash({"architecture": self.architecture, "weights": self.weights})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an engine's folder says of it.

    `refused` is the sentence why it must not be used; then it has no files. `deviations` from eager
    by part (`picture` is the whole), as parts of the largest value. `answers` are hashes of what
    each part gave for fixed inputs, which the same machine gives again to the bit.
    """

    key: str
    architecture: str
    facts: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, list[Any]] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    deviations: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 0.0
    seconds: float = 0.0
    n_bytes: int = 0
    is_refitted: bool = False
    refused: str = ""


class EngineCache:
    """Engines in `folder`; None: the user's cache folder."""

    def __init__(self, folder: Path | None = None) -> None:
        own = Path(platformdirs.user_cache_dir("phosphene", appauthor=False)) / "engines"
        self.folder = own if folder is None else folder

    def find(self, key: Key) -> Manifest | None:
        """Look an engine up; None where there is none, or none that can be trusted to be ours.

        Raises
        ------
        BackendError
            Somebody else could have written it.
        """
        return self._read(self.folder / key.name)

    def usage(self) -> tuple[int, int]:
        """How many engines are kept, and their bytes."""
        sizes = [each.stat().st_size for each in self.folder.glob("*/*.engine")]
        return len(list(self.folder.glob(f"[!.]*/{MANIFEST}"))), sum(sizes)

    def relatives(self, key: Key) -> list[Manifest]:
        """Engines of the same architecture with other weights."""
        if not self.folder.is_dir():
            return []
        found = [self._read(each) for each in sorted(self.folder.iterdir()) if each.is_dir()]
        return [
            each
            for each in found
            if each is not None
            and each.architecture == key.architecture
            and each.key != key.name
            and not each.refused
        ]

    def load(self, manifest: Manifest, part: str) -> bytes:
        """Read one network's engine, and compare it with its hash.

        Raises
        ------
        BackendError
            It is not what was built.
        """
        path = self.folder / manifest.key / f"{part}.engine"
        _check_owner(path)
        try:
            content = read_bytes(path, limit=check_file(path, limit=_LARGEST))
        except OSError as error:
            raise BackendError(f"{path} cannot be read ({error}): delete its folder.") from None
        if hashlib.sha256(content).hexdigest() != manifest.files.get(part):
            raise BackendError(
                f"{path} is not the engine that was built (another hash): delete its folder; it is "
                "built anew."
            )
        return content

    def store(self, manifest: Manifest, engines: Mapping[str, bytes]) -> None:
        """Keep an engine; one of the same key is replaced, all at once.

        Raises
        ------
        BackendError
            The folder is not ours alone, or cannot be written.
        """
        try:
            make_private(self.folder)
            _check_owner(self.folder)
            # Made 0700 by the standard library.
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
            for part, content in engines.items():
                with open_private(new / f"{part}.engine", "wb") as file:
                    file.write(content)
            with open_private(new / MANIFEST, "w", encoding="utf-8") as file:
                json.dump(asdict(manifest), file, indent=1)
            target = self.folder / manifest.key
            if target.exists():
                shutil.rmtree(target)
            new.rename(target)
        except OSError as error:
            raise BackendError(
                f"engines cannot be kept in {self.folder} ({error.strerror}): make room, or allow "
                "writing there."
            ) from None

    def _read(self, folder: Path) -> Manifest | None:
        if not folder.is_dir():
            return None
        for each in (self.folder, folder, folder / MANIFEST):
            _check_owner(each)
        try:
            table = json.loads(read_text(folder / MANIFEST, limit=TABLE_LIMIT))
            manifest = Manifest(**table)
        except (OSError, ValueError, TypeError, RecursionError):
            return None  # half written, or of another version: built anew
        return manifest if manifest.key == folder.name else None


def _check_owner(path: Path) -> None:
    """Refuse what somebody else owns or may write, and links to elsewhere."""
    try:
        found = path.lstat()
    except OSError as error:
        raise BackendError(
            f"{path} cannot be read ({error.strerror}): delete its folder."
        ) from None
    if stat.S_ISLNK(found.st_mode):
        raise BackendError(f"{path} is a link, expected a file of our own: delete it.")
    if os.name != "posix":
        return  # a person's own folders are private there
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BackendError(
            f"{path} could have been written by somebody else (owner {found.st_uid}, mode "
            f"{stat.S_IMODE(found.st_mode):o}), expected ours alone: delete it; engines are built "
            "anew."
        )


def _hash(table: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:32]
