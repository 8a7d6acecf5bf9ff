"""Drawn pictures beside what was shown: of a session, of two folders, of two tensors.

Owns how each is found and read, one picture at a time and as data of unknown origin. Knows nothing
of measures.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import AppError
from app.report.pictures import MAX_PIXELS, gallery_stimuli
from app.report.record import Event, SessionRecord, read_picture, read_record
from configs.arrays import array_errors
from configs.guard import check_file, read_text
from configs.plain import plain
from pipeline.gallery.pictures import read_picture as read_file
from pipeline.values import Uint8

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_LIMIT = 1 << 24
_COPY = re.compile(r"^(.*?)[_-](\d+)$")
_CACHE = 256


class SessionPictures:
    """What a session drew, beside the gallery's pictures that it showed.

    Parameters
    ----------
    folder : Path
        A finished session.
    with_learnt : bool
        Whether trials that its decoder learnt from count.

    Raises
    ------
    AppError
        It is none, or nothing in it can be compared.
    """

    def __init__(self, folder: Path, *, with_learnt: bool = False) -> None:
        self.record: SessionRecord = read_record(folder)
        self.name = folder.resolve().name
        self.n_copies = 1
        self.look_up = gallery_stimuli(self.record)
        known = {e.label for e in self.record.decoded}
        known = {label for label in known if self.look_up(label) is not None}
        self.events: tuple[Event, ...] = tuple(
            event
            for event in self.record.decoded
            if event.label in known
            and event.image is not None
            and (with_learnt or not event.learnt)
        )
        self.n_left_out = sum(
            event.image is not None and event.label not in known for event in self.record.decoded
        )
        """Pictures whose marker names no picture of the gallery: nothing to compare them with."""
        if not self.events or (self.n_left_out and len({e.label for e in self.events}) < 2):
            which = f"but {plain(self.events[0].label)} " if self.events else ""
            raise AppError(
                f"{folder} has {len(self.record.decoded)} decoded pictures and none {which}whose "
                "marker names a picture of its gallery, expected markers such as the gallery's "
                "labels: compare folders with --drawn and --shown instead."
            )
        self.stimuli: Sequence[str] = tuple(event.label for event in self.events)
        self._shown = lru_cache(_CACHE)(self._picture)

    def keep(self, indices: Collection[int]) -> None:
        """Leave every event out but those of `indices`.

        Raises
        ------
        AppError
            None would be left.
        """
        self.events = tuple(event for event in self.events if event.index in indices)
        self.stimuli = tuple(event.label for event in self.events)
        if not self.events:
            raise AppError(f"{self.name} has no trial that every system decoded, expected some.")

    def _picture(self, key: str) -> Uint8:
        found = self.look_up(key)
        if found is None:
            raise AppError(f"the gallery of {self.record.folder} lost its picture {key!r}.")
        return found

    def shown(self, key: str) -> Uint8:
        """Picture of a label."""
        return self._shown(key)

    def drawn(self, item: int, copy: int) -> Uint8:  # noqa: ARG002 - a session draws once
        """Picture of an event."""
        event = self.events[item]
        data = read_picture(self.record, event)
        if data is None:
            raise AppError(f"{self.record.folder}: {event.image} is gone or no picture of its own.")
        return pixels_of(data, str(event.image))


@dataclass(frozen=True, slots=True)
class Pair:
    """One drawing: its file, the shown picture's, and which item it is a drawing of."""

    drawn: Path
    shown: Path
    item: str


class FolderPictures:
    """Pictures of any system, beside what was shown, in two folders.

    Parameters
    ----------
    drawn, shown : Path
        Folders.
    pairs : Path, optional
        A CSV with the columns `drawn`, `shown` and, where several drawings are of one item,
        `item`; without, a drawing `cat.png`, `cat_0.png`, `cat-12.png` is of the shown `cat.*`.
    """

    def __init__(self, drawn: Path, shown: Path, *, pairs: Path | None = None) -> None:
        found = _by_name(drawn, shown) if pairs is None else _by_table(pairs, drawn, shown)
        items: dict[str, list[Pair]] = {}
        for pair in found:
            items.setdefault(pair.item, []).append(pair)
        self.name = drawn.resolve().name
        self.n_copies = min(len(each) for each in items.values())
        self.n_left_out = len(found) - self.n_copies * len(items)
        self._items = list(items.values())
        self.stimuli: Sequence[str] = tuple(str(each[0].shown) for each in self._items)
        self._shown = lru_cache(_CACHE)(_read)

    def shown(self, key: str) -> Uint8:
        """Picture of a shown file."""
        return self._shown(Path(key))

    def drawn(self, item: int, copy: int) -> Uint8:
        """Picture of a drawn file."""
        return _read(self._items[item][copy].drawn)


class TensorPictures:
    """Two tensors as MindEye's evaluation saves them: (n, 3, h, w), or (n, n_copies, 3, h, w).

    Numbers from 0 to 1, or 8-bit. Read as data (`.pt`, `.pth`, `.safetensors`, `.npy`).
    """

    def __init__(self, drawn: Path, shown: Path) -> None:
        self._drawn, self._real = _tensor(drawn), _tensor(shown)
        self.name = drawn.stem
        copies = self._drawn.ndim == 5
        if self._real.ndim != 4 or self._drawn.ndim not in (4, 5):
            shapes = f"{self._drawn.shape} and {self._real.shape}"
            raise AppError(
                f"{drawn} and {shown} have shapes {shapes}, expected (n, 3, height, width) of what "
                "was shown and the same, or (n, n_copies, 3, height, width), of the drawings."
            )
        if len(self._drawn) != len(self._real):
            raise AppError(
                f"{drawn} has {len(self._drawn)} items and {shown} has {len(self._real)}, expected "
                "as many, in one order."
            )
        self.n_copies = self._drawn.shape[1] if copies else 1
        same = _equal_rows(self._real)
        self.stimuli: Sequence[str] = tuple(f"{k:06d}" for k in same)

    def shown(self, key: str) -> Uint8:
        """Picture of a row."""
        return _from_channels(self._real[int(key)])

    def drawn(self, item: int, copy: int) -> Uint8:
        """Drawing of a row."""
        found = self._drawn[item]
        return _from_channels(found[copy] if found.ndim == 4 else found)


def _equal_rows(rows: NDArray[np.generic]) -> list[int]:
    """Number of the first row that equals each: repeats of a stimulus are one stimulus."""
    first: dict[bytes, int] = {}
    return [first.setdefault(np.ascontiguousarray(row).tobytes(), k) for k, row in enumerate(rows)]


def _by_name(drawn: Path, shown: Path) -> list[Pair]:
    real = {path.stem: path for path in _files(shown)}
    pairs, strangers = [], []
    for path in _files(drawn):
        copy = _COPY.match(path.stem)
        stem = path.stem if path.stem in real or copy is None else copy[1]
        if stem in real:
            pairs.append(Pair(path, real[stem], stem))
        else:
            strangers.append(path.name)
    if not pairs or strangers:
        raise AppError(
            f"{len(strangers)} of the pictures in {drawn} have no namesake in {shown} "
            f"({', '.join(strangers[:3])}), expected NAME.png or NAME_0.png of a NAME.* there: "
            "name the pairs in a CSV with --pairs (columns drawn,shown)."
        )
    return pairs


def _by_table(table: Path, drawn: Path, shown: Path) -> list[Pair]:
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(table, limit=_LIMIT)), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise AppError(f"{table} cannot be read ({error}), expected a CSV.") from None
    if not rows or not {"drawn", "shown"} <= set(rows[0]):
        names = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise AppError(f"{table} has {names}, expected the columns drawn and shown (and item).")
    pairs = []
    for number, row in enumerate(rows, 2):
        one, other = below(drawn, row["drawn"]), below(shown, row["shown"])
        if one is None or other is None:
            raise AppError(
                f"{table}, line {number} names {row['drawn']!r} and {row['shown']!r}, expected a "
                f"picture below {drawn} and one below {shown}."
            )
        pairs.append(Pair(one, other, row.get("item") or f"line {number}"))
    return pairs


def below(folder: Path, name: str | None) -> Path | None:
    """Path of a file in the folder or below; None for anything else."""
    path = folder / (name or "")
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):
        return None
    return path if is_inside else None


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise AppError(f"{folder} is no folder, expected one with pictures.")
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def _read(path: Path) -> Uint8:
    return np.asarray(read_file(path).convert("RGB"), dtype=np.uint8)


def pixels_of(data: bytes, name: str) -> Uint8:
    """Pixels (height, width, 3) of a PNG; raises `AppError` where it is none."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise AppError(f"{name} is larger than {MAX_PIXELS} pixels and is not read.")
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise AppError(f"{name} is no picture that can be read ({error}).") from None


def _tensor(path: Path) -> NDArray[np.generic]:
    if path.suffix == ".npy":
        try:
            check_file(path)
            with array_errors():
                return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise AppError(f"{path} cannot be read ({error}), expected an array.") from None
    from models.checkpoints import load_tensor

    found = load_tensor(path)
    return np.asarray((found.float() if found.is_floating_point() else found).numpy())


def _from_channels(pixels: NDArray[np.generic]) -> Uint8:
    """(3, height, width) from 0 to 1, or 8-bit, to (height, width, 3) uint8."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))
    values = np.nan_to_num(pixels.astype(np.float32)).clip(0.0, 1.0)
    return np.ascontiguousarray((values.transpose(1, 2, 0) * 255.0).round().astype(np.uint8))
