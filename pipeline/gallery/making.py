"""A gallery of somebody's own pictures: which files, under which labels, as which pictures.

Owns labels and categories by file and folder names, and the files that are written: small squares
without the camera's notes (place, time, person). Vectors come from outside, per space.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import GalleryError
from pipeline.gallery import pictures
from pipeline.gallery.folder import (
    MAX_STIMULI,
    Entry,
    check_words,
    open_gallery,
    write_gallery,
)
from pipeline.gallery.table import Gallery
from pipeline.values import Float32, Uint8

SIDE = 256
"""Side of a made gallery's pictures, pixels."""
CATEGORY = "picture"
"""Of pictures that lie in no subfolder."""
LICENCE = "Pictures of the person who made this gallery; not for others unless that person says so."

PictureVectors = Callable[[Uint8], Float32]
"""Unit vectors (n, ...) float32 of squares (n, height, width, 3) uint8."""


@dataclass(frozen=True, slots=True)
class Found:
    """A picture's file, and what it will be called."""

    path: Path
    label: str
    name: str
    category: str


def find_pictures(folder: Path) -> tuple[Found, ...]:
    """Pictures in a folder and its subfolders, in order of category and name.

    The file's name is the picture's name, the subfolder's its category. Hidden files and links are
    left out.

    Raises
    ------
    GalleryError
        It is no folder, there are fewer than two pictures, or two would get one label.
    """
    if not folder.is_dir():
        raise GalleryError(f"{folder} is no folder, expected one with pictures (jpg, png, webp).")
    files = [path for path in _files(folder) if path.suffix.lower() in pictures.SUFFIXES]
    if not 2 <= len(files) <= MAX_STIMULI:
        raise GalleryError(
            f"{folder} holds {len(files)} pictures ({', '.join(pictures.SUFFIXES)}), expected 2 to "
            f"{MAX_STIMULI}: put them there, or into its subfolders (which become categories)."
        )
    plain = [_label(path.stem) for path in files]
    found: dict[str, Found] = {}
    for path in files:
        category, label = CATEGORY, _label(path.stem)
        if path.parent != folder:
            category = _words(path.parent.name)
            if plain.count(label) > 1:
                # The same name in two subfolders: the subfolder's makes it another.
                label = _label(f"{path.parent.name} {path.stem}")
        if label in found:
            raise GalleryError(
                f"{path} and {found[label].path} would both be called {label!r}: rename one."
            )
        found[label] = Found(path, label, _words(path.stem), category)
    return tuple(found.values())


@contextlib.contextmanager
def made_whole(out: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """Give a folder to write in, which becomes `out` (new or empty) in the end, or is taken away.

    Parameters
    ----------
    mode : int
        Of the folder, before the umask.
    """
    whole = out.resolve()
    whole.parent.mkdir(parents=True, exist_ok=True)
    partial = whole.with_name(f".part-{secrets.token_hex(8)}")
    try:
        partial.mkdir(mode=mode)
        yield partial
        partial.replace(whole)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def make_gallery(
    found: tuple[Found, ...],
    out: Path,
    *,
    name: str,
    encoders: Mapping[str, PictureVectors],
    licence: str = LICENCE,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Gallery:
    """Write a gallery of pictures, with a table of vectors from each encoder.

    Parameters
    ----------
    found : tuple of Found
    out : Path
        A new or empty folder.
    name : str
        Of the gallery.
    encoders : mapping of str to callable
        By embedding space.
    on_progress : callable
        Takes how many pictures are read, and of how many.

    Raises
    ------
    GalleryError
        A picture cannot be read, two are the same, the folder is not empty, or the name or licence
        is too long.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GalleryError(f"{out} is not empty, expected a new folder: choose another --out.")
    check_words(name, licence)
    squares: list[Uint8] = []
    entries: list[tuple[Entry, bytes]] = []
    seen: dict[str, Path] = {}
    for one in found:
        square = pictures.square(pictures.read_picture(one.path))
        if min(square.size) < 8:
            raise GalleryError(f"{one.path} has {square.size} pixels, expected at least 8 x 8.")
        small = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        squares.append(np.array(small, dtype=np.uint8))
        content = _encoded(small)
        digest = hashlib.sha256(content).hexdigest()
        if digest in seen:
            raise GalleryError(f"{one.path} and {seen[digest]} are the same picture: remove one.")
        seen[digest] = one.path
        image = f"images/{len(entries):05d}.webp"
        entry = Entry(
            label=one.label, name=one.name, category=one.category, image=image, sha256=digest
        )
        entries.append((entry, content))
        on_progress(len(entries), len(found))
    stacked = np.stack(squares)
    tables = {space: encode(stacked) for space, encode in encoders.items()}
    with made_whole(out, mode=0o700) as partial:
        write_gallery(partial, name=name, licence=licence, entries=entries, tables=tables)
    return open_gallery(out)


def _files(folder: Path) -> Iterator[Path]:
    """Files of the folder and of its subfolders, one deep, in order of name."""
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    yield from (path for path in inside if path.is_file() and not path.is_symlink())
    for below in inside:
        if below.is_dir() and not below.is_symlink():
            names = sorted(path for path in below.iterdir() if not path.name.startswith("."))
            yield from (path for path in names if path.is_file() and not path.is_symlink())


def _words(text: str) -> str:
    """Name for people of a file or folder: spaces for hyphens, nothing that cannot be printed."""
    spaced = "".join(c if c.isprintable() and c not in "_-" else " " for c in text)
    return " ".join(spaced.split())[:200] or CATEGORY


def _label(text: str) -> str:
    """Label of a name: small letters and digits, with hyphens between."""
    kept = "".join(c if c.isalnum() else " " for c in text.lower())
    return "-".join(kept.split())[:60].rstrip("-") or CATEGORY


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=92, method=6)
    return buffer.getvalue()
