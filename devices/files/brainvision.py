"""BrainVision's three files: found where the header says, or beside it under its own name.

Owns the names in the header, and the dates of its segments. Knows nothing of samples.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from devices.errors import FileError

_SEGMENT: Final = re.compile(
    r"^Mk\d+=New Segment,[^,]*,(\d+),\d*,[^,]*,(\d{14})(\d*)", re.MULTILINE
)
_SUFFIXES: Final = {"DataFile": (".eeg", ".dat", ".avg"), "MarkerFile": (".vmrk",)}


def read_text(path: Path) -> str:
    """A header or a marker file: UTF-8, or as older recorders wrote it."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def named_file(header: Path, text: str, key: str) -> Path | None:
    """The file that a header names under `key`, else the one beside it of the header's own name.

    None: the header names none, or it is not there.
    """
    match = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    if match is None:
        return None
    name = match[1].strip().replace("$b", header.stem)
    named = header.with_name(Path(name.replace("\\", "/")).name) if name else header
    if named.is_file() and named != header:
        return named
    beside = [header.with_suffix(s) for s in (Path(name).suffix, *_SUFFIXES[key]) if s]
    return next((path for path in beside if path.is_file() and path != header), None)


def data_file(header: Path) -> tuple[Path, str]:
    """The file of samples, and what to say where it is not the one that the header names.

    Raises
    ------
    FileError
        It is not there.
    """
    text = read_text(header)
    found = named_file(header, text, "DataFile")
    match = re.search(r"^DataFile=(.*)$", text, re.MULTILINE)
    name = match[1].strip().replace("$b", header.stem) if match else header.with_suffix(".eeg").name
    if found is None:
        raise FileError(
            f"{header} names the data file {name}, which is missing, and no file of samples of "
            f"its own name ({header.stem}.eeg) lies beside it: put it there."
        )
    if found.name == name:
        return found, ""
    return found, f"{header.name} names the data file {name}; {found.name} is read, which is there."


def repaired_header(header: Path) -> str:
    """The header's text with the paths of the files that are there."""
    text = read_text(header)
    for key in _SUFFIXES:
        found = named_file(header, text, key)
        if found is not None:
            line = f"{key}={found.resolve()}".replace("\\", r"\\")
            text = re.sub(rf"^{key}=.*$", line, text, flags=re.MULTILINE)
    # What is written anew is UTF-8, whatever the old file was.
    return re.sub(r"^Codepage=.*$", "Codepage=UTF-8", text, flags=re.MULTILINE)


def segment_starts(header: Path, sfreq: float) -> list[tuple[int, float]]:
    """First sample and time (s) of each segment after the first, by the dates it gives."""
    markers = named_file(header, read_text(header), "MarkerFile")
    if markers is None:
        return []
    found = []
    for place, date, fraction in _SEGMENT.findall(read_text(markers)):
        try:
            moment = datetime.strptime(date, "%Y%m%d%H%M%S").timestamp()
        except ValueError:
            return []
        found.append((int(place) - 1, moment + float(f"0.{fraction or 0}")))
    if len(found) < 2:
        return []
    zero, started = found[0]
    return [(place, zero / sfreq + moment - started) for place, moment in found[1:]]
