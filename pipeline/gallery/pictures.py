"""Pictures of a gallery as square pixels, from files that somebody else may have made.

Owns what is refused (links, paths that leave the folder, other formats, pictures too large to
decode) and the drawn checkerboards.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import stat
import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from configs.guard import read_bytes
from pipeline.errors import GalleryError
from pipeline.values import Uint8, read_only

BACKGROUND = (210, 214, 220)
"""Behind what covers its picture only in part, sRGB."""
OUTLINE = 8
"""Levels by which an object differs from the background."""
FORMATS = ("JPEG", "PNG", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
FILE_LIMIT = 64 * 2**20
"""Largest file of a picture, bytes."""
MAX_PIXELS = 80_000_000
"""Largest picture that is decoded; a camera's has 12 to 60 million pixels."""
_NAME = re.compile(r"[^\x00-\x1f\\:*?\"<>|]{1,200}")


def inside(folder: Path, name: str) -> Path:
    """Path of the ordinary file `name` below `folder`; nothing outside of it, and no link.

    Raises
    ------
    GalleryError
        The name leads out of the folder or over a link, or there is no such file.
    """
    parts = name.split("/")
    if not _NAME.fullmatch(name) or any(part in ("", ".", "..") for part in parts):
        raise GalleryError(
            f"{folder} names the file {name!r}, expected one below that folder, such as "
            "images/cat.webp: make the gallery anew."
        )
    path = folder
    for part in parts:
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError:
            raise GalleryError(
                f"{path} is missing, expected the file that {folder.name}/gallery.json names: "
                "restore it, or make the gallery anew."
            ) from None
        if stat.S_ISLNK(mode):
            raise GalleryError(f"{path} is a link, expected a file or folder: put a copy there.")
    return path


def read_picture(path: Path, *, sha256: str = "") -> Image.Image:
    """Read a JPEG, PNG or WebP file as it is to be seen (turned as its camera says).

    Raises
    ------
    GalleryError
        It cannot be read, is none, is too large, or is not the file with that hash.
    """
    try:
        content = read_bytes(path, limit=FILE_LIMIT)
    except OSError as error:
        raise GalleryError(f"{path} cannot be read ({error.strerror}): restore it.") from error
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise GalleryError(
            f"{path} is not the picture that the gallery was made with (another SHA-256): restore "
            "it, or make the gallery anew."
        )
    try:
        with warnings.catch_warnings():
            # Our own limit is below; Pillow's sentence would be the second.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise GalleryError(
                        f"{path} has {width} x {height} pixels, expected at most "
                        f"{MAX_PIXELS // 10**6} million: make it smaller."
                    )
                picture.draft("RGB", (1024, 1024))
                return ImageOps.exif_transpose(picture)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        # Pillow's sentence of a file that it does not know names our buffer, not the file.
        is_unknown = isinstance(error, UnidentifiedImageError)
        raise GalleryError(
            f"{path} is no picture that can be read ({'another format' if is_unknown else error}), "
            "expected a JPEG, PNG or WebP file: save it anew."
        ) from error


def object_of(pixels: Uint8, background: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Which pixels (..., 3) are an object's: more than `OUTLINE` levels off the background."""
    away = np.abs(pixels.astype(np.int16) - np.array(background, dtype=np.int16))
    is_object: NDArray[np.bool_] = away.max(axis=-1) > OUTLINE
    return is_object


def square(picture: Image.Image, background: tuple[int, int, int] = BACKGROUND) -> Image.Image:
    """Cut the middle square out of a picture, RGB; what is see-through shows the background."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        picture = Image.new("RGB", seen.size, background)
        picture.paste(seen, (0, 0), seen)
    width, height = picture.size
    if width != height:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return picture.convert("RGB")


@functools.lru_cache(maxsize=512)
def read_square(
    folder: Path, name: str, sha256: str, size: int, background: tuple[int, int, int]
) -> Uint8:
    """Pixels (size, size, 3) uint8 of a gallery's picture, read-only."""
    picture = square(read_picture(inside(folder, name), sha256=sha256), background)
    if picture.width != size:
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    return read_only(np.array(picture, dtype=np.uint8))


def checkerboard(
    side: str, size: int, background: tuple[int, int, int], *, n_cells: int = 8
) -> Uint8:
    """Black and white squares in the `left` or `right` half field, or `full`."""
    cell = (np.arange(size) * n_cells // size) % 2
    board = (cell[:, None] ^ cell[None, :]).astype(bool)
    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:] = background
    left = 0 if side in ("left", "full") else size // 2
    right = size // 2 if side == "left" else size
    pixels[:, left:right] = np.where(board[:, left:right, None], 236, 22)
    return read_only(pixels)
