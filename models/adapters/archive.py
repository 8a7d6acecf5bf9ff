"""An adapter on its way: one zip file with the two files of its folder, and nothing else.

Owns writing it, and reading what a stranger may have sent: bounded, members by name, nothing
unpacked to the disk. Returns bytes; what they mean is `files`'s.
"""

from __future__ import annotations

import contextlib
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Final

from configs.guard import UnfitFileError, open_file, read_bytes
from configs.private import make_private, open_private
from models.adapters.errors import AdapterError, unwritable
from models.adapters.files import MANIFEST_LIMIT, MANIFEST_NAME, WEIGHTS_LIMIT, WEIGHTS_NAME

LIMITS: Final = {WEIGHTS_NAME: WEIGHTS_LIMIT, MANIFEST_NAME: MANIFEST_LIMIT}
"""Largest size of each member, bytes; weights first, the manifest last."""
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1


def write_archive(folder: Path, path: Path) -> None:
    """Write an adapter's folder as a zip file for its owner only; an existing file is refused.

    Raises
    ------
    AdapterError
        The file is there, or cannot be written; then nothing is left of it.
    """
    try:
        make_private(path.parent)
        with open_private(path, "xb") as stream:
            try:
                with zipfile.ZipFile(stream, "w") as archive:
                    for name in LIMITS:
                        archive.write(folder / name, name)
            except BaseException:
                with contextlib.suppress(OSError):
                    path.unlink()
                raise
    except FileExistsError as error:
        raise AdapterError(f"{path} exists already: give another name.") from error
    except OSError as error:
        raise AdapterError(unwritable(path, error)) from error


def read_adapter_files(path: Path) -> tuple[tuple[str, bytes], ...]:
    """Read the two files of a zip file or a folder: `(name, content)`, the manifest last.

    Raises
    ------
    AdapterError
        No such file, no zip, encrypted, damaged, too large, or another content.
    """
    try:
        if path.is_dir():
            return tuple((n, read_bytes(path / n, limit=size)) for n, size in LIMITS.items())
        with open_file(path, limit=sum(LIMITS.values())) as stream:
            return _members(path, stream)
    except UnfitFileError as error:
        raise AdapterError(
            f"{error.filename} cannot be taken in ({error}): give the zip file that `phosphene "
            "adapters export` wrote."
        ) from None
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        RuntimeError,
        NotImplementedError,
        OverflowError,
        struct.error,
        zlib.error,
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
    ) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise AdapterError(
            f"{path} is no exported adapter ({reason}), expected a zip file or folder with "
            f"{MANIFEST_NAME} and {WEIGHTS_NAME}."
        ) from error


def _members(path: Path, stream: object) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(stream) as archive:  # type: ignore[call-overload]
        found = archive.infolist()
        names = sorted(info.filename for info in found)
        if names != sorted(LIMITS):
            shown = ", ".join(repr(name)[:60] for name in names[:4]) or "nothing"
            raise ValueError(f"it holds {shown}{', ...' if len(names) > 4 else ''}")
        for info in found:
            _check_member(path, info)
        return tuple((name, _read_member(path, archive, name)) for name in LIMITS)


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise ValueError(f"{info.filename} in it is a link or device, not a file")
    if info.flag_bits & _ENCRYPTED:
        raise ValueError("it is encrypted: export it again without a password")
    if info.compress_type not in _METHODS:
        raise ValueError(f"{info.filename} is packed in an unusual way ({info.compress_type})")
    if info.file_size > LIMITS[info.filename]:
        raise _too_large(path, info.filename, info.file_size)


def _read_member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        content = member.read(LIMITS[name] + 1)
    if len(content) > LIMITS[name]:
        raise _too_large(path, name, len(content))
    return content


def _too_large(path: Path, name: str, size: int) -> AdapterError:
    return AdapterError(
        f"{path}: {name} claims {size} bytes, expected at most {LIMITS[name]}: it is no adapter."
    )
