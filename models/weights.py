"""Whether a system's weights are there, whole and unchanged.

Owns the file of hashes that lies beside weights (`hashes.json`: path to SHA-256) and its check.
Imports no torch, so that asking is instant.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from configs.guard import read_text

HASHES = "hashes.json"
SUFFIX = ".safetensors"


class WeightState(StrEnum):
    """What was found."""

    READY = "ready"
    UNVERIFIED = "unverified"
    """Weights lie there without a list of their hashes."""
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class WeightStatus:
    """What was found in a folder of weights.

    `n_bytes` counts the weight files; `problems` holds one sentence for each file that is
    missing or changed.
    """

    state: WeightState
    folder: Path
    n_files: int = 0
    n_bytes: int = 0
    problems: tuple[str, ...] = ()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the hashes of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hash_file(path).encode())
    return digest.hexdigest()


def hash_folder(folder: Path) -> str:
    """SHA-256 over a folder's list of hashes; of an empty list where it has none."""
    hashes = folder / HASHES
    table = json.loads(hashes.read_text(encoding="utf-8")) if hashes.is_file() else {}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def write_hashes(folder: Path) -> Path:
    """Write `hashes.json` over every file of a folder of weights but its card, sorted by path."""
    without = (folder / HASHES, folder / "README.md")
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p not in without)
    table = {path.relative_to(folder).as_posix(): hash_file(path) for path in paths}
    target = folder / HASHES
    target.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return target


def check_weights(
    folder: Path,
    required: Sequence[str] = (),
    *,
    remedy: str = "install Phosphene again",
    below: str = "",
) -> WeightStatus:
    """Look for `required` files (paths below `folder`), then compare all with `hashes.json`.

    `remedy` says what to do about a file that was changed; only paths that begin with `below` are
    compared.
    """
    files = sorted(folder.rglob(f"*{SUFFIX}")) if folder.is_dir() else []
    n_bytes = sum(path.stat().st_size for path in files)
    absent = tuple(
        f"{folder / name}: missing" for name in required if not (folder / name).is_file()
    )
    if absent:
        return WeightStatus(WeightState.MISSING, folder, len(files), n_bytes, absent)
    expected = _read_hashes(folder / HASHES)
    if expected is None:
        problem = f"{folder / HASHES}: absent or unreadable, so the weights cannot be checked"
        state = WeightState.UNVERIFIED
        return WeightStatus(state, folder, len(files), n_bytes, (problem,))
    problems = tuple(
        sentence
        for name, digest in expected.items()
        if name.startswith(below) and (sentence := _problem(folder, name, digest, remedy))
    )
    state = WeightState.DAMAGED if problems else WeightState.READY
    return WeightStatus(state, folder, len(files), n_bytes, problems)


def _read_hashes(path: Path) -> dict[str, str] | None:
    try:
        table = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(table, dict) or not table:
        return None
    return {str(name): str(digest) for name, digest in table.items()}


def _problem(folder: Path, name: str, digest: str, remedy: str) -> str:
    path = folder / name
    if not path.is_file():
        return f"{path}: missing; {remedy}"
    if hash_file(path) != digest:
        return f"{path}: changed since its hash was taken; {remedy}"
    return ""
