"""What `phosphene generate` drew, beside what was shown.

Owns the reading of its folder (`generation.json`, as data of unknown origin): which drawings belong
to which item, a set for each mode and part. Each picture must be the one that was drawn.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.errors import AppError
from app.evaluation.sets import below, pixels_of
from app.generation.pictures import ORACLE_WARNING, REPORT
from configs.guard import read_bytes, read_text
from pipeline.values import Uint8

_LIMIT = 1 << 26
_NAME = re.compile(r"([a-z]+)/(\d{6})(?:-s(\d+))?(?:-(\d+-[\w+ -]+))?\.png")
Place = tuple[str, str]
"""Path below the folder and SHA-256."""


class GeneratedPictures:
    """One mode (and part) of a folder, satisfies `models.evaluation.measuring.Pictures`.

    Parameters
    ----------
    folder : Path
    name : str
    items : sequence of (shown, drawings)
        Path and hash of each.
    """

    def __init__(
        self, folder: Path, name: str, items: Sequence[tuple[str, Sequence[Place]]]
    ) -> None:
        self.name = name
        self.n_copies = min(len(drawn) for _, drawn in items)
        self.stimuli: Sequence[str] = tuple(shown for shown, _ in items)
        self._folder, self._items = folder, items
        self._shown = lru_cache(256)(self._read)

    def shown(self, key: str) -> Uint8:
        """What an item showed."""
        return self._shown(key, Path(key).stem)

    def drawn(self, item: int, copy: int) -> Uint8:
        """Drawing of an item."""
        return self._read(*self._items[item][1][copy])

    def _read(self, name: str, sha256: str) -> Uint8:
        path = below(self._folder, name)
        data = b"" if path is None else read_bytes(path, limit=_LIMIT)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise AppError(
                f"{self._folder / name} is not the picture that {REPORT} names, expected it as "
                "`phosphene generate` wrote it: generate anew, or compare with --drawn and --shown."
            )
        return pixels_of(data, name)


def generated_sets(folder: Path) -> tuple[list[GeneratedPictures], str]:
    """Read a folder; return its sets, and what a reader must know of them (empty: nothing).

    Raises
    ------
    AppError
        It is none, or does not hold what its items showed.
    """
    report = _report(folder)
    found: dict[str, list[tuple[str, list[Place]]]] = {}
    n_unknown = 0
    for item in report["items"]:
        shown, images = item.get("shown"), item.get("images")
        if not isinstance(shown, str) or not isinstance(images, Mapping):
            n_unknown += 1
            continue
        groups: dict[str, dict[int, Place]] = {}
        for path, sha256 in images.items():
            parts = _NAME.fullmatch(path)
            if parts is None:
                raise AppError(f"{folder / REPORT} names {path[:80]!r}, expected MODE/NNNNNN.png.")
            mode, _, sample, part = parts.groups()
            name = mode if part is None else f"{mode} {part}"
            groups.setdefault(name, {})[int(sample or 0)] = (path, str(sha256))
        for name, drawn in groups.items():
            found.setdefault(name, []).append((shown, [drawn[k] for k in sorted(drawn)]))
    if not found:
        raise AppError(
            f"{folder} does not hold what its {n_unknown} items showed, expected pictures of a "
            "gallery or of THINGS that `phosphene generate` found: compare with --drawn "
            f"{folder}/MODE --shown FOLDER --pairs CSV."
        )
    faults = report.get("faults")
    oracle = isinstance(faults, list) and "oracle_prompt" in faults
    title = folder.resolve().name
    sets = [
        GeneratedPictures(folder, title if len(found) == 1 else f"{title} {name}", items)
        for name, items in found.items()
    ]
    return sets, f"{title}: {ORACLE_WARNING}" if oracle else ""


def _report(folder: Path) -> dict[str, Any]:
    path = folder / REPORT
    try:
        report = json.loads(read_text(path, limit=_LIMIT))
        is_right = isinstance(report, dict) and all(isinstance(i, dict) for i in report["items"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        is_right = False
    if not is_right:
        raise AppError(f"{path} cannot be read, expected a folder that `phosphene generate` wrote.")
    return dict(report)
