"""A gallery's folder: `gallery.json`, pictures, and `<space>.safetensors` per embedding space.

Owns reading, checking and writing it. A folder may be somebody else's: all of it is data, bounded
in size, and refused in one sentence where it does not fit.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load

from configs.guard import read_bytes
from pipeline.errors import GalleryError
from pipeline.gallery import pictures
from pipeline.gallery.table import SPACE, Gallery, Kind, Stimulus
from pipeline.values import Float32

LISTING = "gallery.json"
SUFFIX = ".safetensors"
TENSOR = "embeddings"
LISTING_LIMIT = 8 * 2**20
TABLE_LIMIT = 512 * 2**20
MAX_STIMULI = 10_000
SPACE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_UNIT = 1e-2
"""How far a row's norm may be from 1: tables may be of half precision."""

_Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Colour = Annotated[int, Field(ge=0, le=255)]


class Entry(BaseModel):
    """A stimulus as `gallery.json` has it."""

    model_config = ConfigDict(frozen=True)

    label: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
    name: _Text
    category: _Text
    kind: Kind = "upright"
    concept: str = Field(default="", max_length=64)
    code_point: str | None = Field(default=None, max_length=64)
    image: str = Field(default="", max_length=200)
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class Listing(BaseModel):
    """What `gallery.json` holds."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    name: str = Field(default="", max_length=64)
    licence: str = Field(default="", max_length=2000)
    background: tuple[_Colour, _Colour, _Colour] = pictures.BACKGROUND
    stimuli: list[Entry] = Field(min_length=1, max_length=MAX_STIMULI)


def open_gallery(folder: Path) -> Gallery:
    """Read a gallery's folder.

    Raises
    ------
    GalleryError
        Something is missing, damaged, hostile, or of another version.
    """
    text = _read(folder / LISTING, LISTING_LIMIT)
    listing = _parse(text, folder / LISTING)
    stimuli = tuple(_stimulus(entry, folder) for entry in listing.stimuli)
    raw = {space: _read(folder / f"{space}{SUFFIX}", TABLE_LIMIT) for space in _spaces(folder)}
    tables = {
        space: _table(content, folder / f"{space}{SUFFIX}", len(stimuli))
        for space, content in raw.items()
    }
    space = SPACE if SPACE in tables else next(iter(tables), "")
    digest = hashlib.sha256(text)
    for content in raw.values():
        digest.update(content)
    return Gallery(
        stimuli=stimuli,
        embeddings=tables.get(space, np.zeros((len(stimuli), 0), np.float32)),
        sha256=digest.hexdigest(),
        space=space,
        name=listing.name or folder.resolve().name.replace("_", "-"),
        licence=listing.licence or _licence(folder),
        folder=folder,
        background=listing.background,
        tables=tables,
    )


def write_gallery(
    folder: Path,
    *,
    name: str,
    licence: str,
    entries: Sequence[tuple[Entry, bytes]],
    tables: Mapping[str, Float32],
) -> Gallery:
    """Write a gallery into a new folder and read it back.

    Parameters
    ----------
    entries : sequence of (Entry, bytes)
        Stimuli in order, each with the file that its `image` names.
    tables : mapping of str to ndarray, shape (n_stimuli, ...), float32
        Unit vectors by space.
    """
    from safetensors.numpy import save_file

    for entry, content in entries:
        path = folder / entry.image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for space, table in tables.items():
        save_file({TENSOR: np.ascontiguousarray(table, np.float32)}, folder / f"{space}{SUFFIX}")
    listing = Listing(schema=1, name=name, licence=licence, stimuli=[entry for entry, _ in entries])
    text = listing.model_dump_json(indent=1, by_alias=True, exclude_none=True)
    # Last: a folder without it is no gallery.
    (folder / LISTING).write_text(text + "\n", encoding="utf-8")
    return open_gallery(folder)


def check_words(name: str, licence: str) -> None:
    """Refuse a name or a licence that `gallery.json` cannot hold, before anything is written.

    Raises
    ------
    GalleryError
        One is too long, or no text.
    """
    any_entry = Entry(label="any", name="any", category="any")
    try:
        Listing(schema=1, name=name, licence=licence, stimuli=[any_entry])
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        given = str(first["input"])
        raise GalleryError(
            f"the gallery's {field} is {given[:60]!r} of {len(given)} characters, expected text of "
            f"at most {64 if field == 'name' else 2000}: give another --{field}."
        ) from None


def _spaces(folder: Path) -> list[str]:
    """Spaces by the names of the folder's tables, sorted."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        space = path.name.removesuffix(SUFFIX)
        if not SPACE_NAME.fullmatch(space):
            raise GalleryError(
                f"{path} names no embedding space, expected lower-case letters, digits, dots and "
                f"hyphens, such as {SPACE}{SUFFIX}: rename it."
            )
        if stat.S_ISLNK(path.lstat().st_mode):
            raise GalleryError(f"{path} is a link, expected a file: put a copy there.")
        found.append(space)
    return found


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_bytes(path, limit=limit)
    except OSError as error:
        raise GalleryError(
            f"{path} cannot be read ({error.strerror or error}), expected a gallery: a folder with "
            f"{LISTING}, as `phosphene gallery make` writes it."
        ) from error


def _parse(text: bytes, path: Path) -> Listing:
    try:
        return Listing.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise GalleryError(
            f"{path}: {where} is wrong ({first['msg']}), expected a gallery's list of schema 1: "
            "make the gallery anew."
        ) from error


def _stimulus(entry: Entry, folder: Path) -> Stimulus:
    if entry.kind != "checkerboard":
        pictures.inside(folder, entry.image)
    concept = entry.concept or entry.label
    return Stimulus(
        entry.label, entry.name, entry.category, entry.kind, concept, entry.code_point,
        entry.image, entry.sha256,
    )  # fmt: skip


def _table(content: bytes, path: Path, n_stimuli: int) -> Float32:
    try:
        table = load(content)[TENSOR]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise GalleryError(
            f"{path} holds no tensor {TENSOR!r} that can be read ({error}): make the gallery anew."
        ) from error
    if table.dtype not in (np.float32, np.float16) or table.ndim < 2 or len(table) != n_stimuli:
        raise GalleryError(
            f"{path} holds {table.dtype} of shape {table.shape}, expected float32 or float16 "
            f"({n_stimuli}, n_features), a row for each stimulus of {LISTING}."
        )
    rows = np.ascontiguousarray(table, dtype=np.float32)
    norms = np.linalg.norm(rows.reshape(n_stimuli, -1), axis=1)
    # Asked this way round, so that NaN is refused.
    if not (np.abs(norms - 1) < _UNIT).all():
        raise GalleryError(
            f"{path} holds rows of norm {norms.min():.3g} to {norms.max():.3g}, expected finite "
            "unit vectors: make the gallery anew."
        )
    rows.flags.writeable = False
    return rows


def _licence(folder: Path) -> str:
    """Return what a LICENSE file beside the list says first."""
    path = folder / "LICENSE"
    if not path.is_file() or path.is_symlink():
        return ""
    text = _read(path, LISTING_LIMIT).decode("utf-8", "replace")
    return " ".join(text.split("\n\n", 1)[0].split())[:2000]
