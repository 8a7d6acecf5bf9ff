"""BrainVision's three files: found where the header says, or beside it under its own name.

Owns the names in the header, and the dates of its segments. Knows nothing of samples.
"""

from __future__ import annotations

import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Final

from configs.units import unit_scale
from devices.errors import FileError

_SEGMENT: Final = re.compile(
    r"^Mk\d+=New Segment,[^,]*,(\d+),\d*,[^,]*,(\d{14})(\d*)", re.MULTILINE
)
_CHANNEL: Final = re.compile(r"^Ch\d+=([^,\n]*),([^,\n]*,[^,\n]*),([^,\r\n]*)(.*)$", re.MULTILINE)
_SPELT: Final = {1e6: "V", 1e3: "mV", 1.0: "µV", 1e-3: "nV"}
_NO_MARKERS: Final = "Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n"
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
    name = _name_of(header, text, key)
    named = Path(name.replace("\\", "/")).name if name else header.name
    beside = [header.with_suffix(s).name for s in (Path(name).suffix, *_SUFFIXES[key]) if s]
    # On Windows, where they are written, case says nothing.
    files = sorted(header.parent.iterdir())
    there = {path.name.lower(): path for path in files} | {path.name: path for path in files}
    for wanted in (named, *beside):
        found = there.get(wanted) or there.get(wanted.lower())
        if found is not None and found.is_file() and found.name != header.name:
            return found
    return None


def _name_of(header: Path, text: str, key: str) -> str:
    match = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    return match[1].strip().replace("$b", header.stem) if match else ""


def marker_note(header: Path) -> list[str]:
    """What to say of a file of markers that is not the one that the header names."""
    text = read_text(header)
    name, found = _name_of(header, text, "MarkerFile"), named_file(header, text, "MarkerFile")
    named = f"names the marker file {name}" if name else "names no marker file"
    if found is None and name:
        return [f"{header.name} {named}, which is missing: put it there, or it has no event."]
    if found is not None and found.name != name:
        return [f"{header.name} {named}; {found.name} is read, which is there."]
    return []


def channel_units(header: Path) -> dict[str, str]:
    """The units, by channel, that are no voltage that anybody knows."""
    units = ((m[1].split(",")[0], m[3].strip()) for m in _CHANNEL.finditer(read_text(header)))
    return {
        name.strip().replace(r"\1", ","): unit
        for name, unit in units
        if unit and unit_scale(unit) is None
    }


def _plain_unit(match: re.Match[str]) -> str:
    """A channel's line with its unit as MNE spells it, where another spelling is known."""
    word = _SPELT.get(unit_scale(match[3]) or 0.0, match[3])
    return f"{match[0][: match.start(3) - match.start()]}{word}{match[4]}"


def data_file(header: Path) -> tuple[Path, str]:
    """The file of samples, and what to say where it is not the one that the header names.

    Raises
    ------
    FileError
        It is not there.
    """
    text = read_text(header)
    found = named_file(header, text, "DataFile")
    name = _name_of(header, text, "DataFile") or header.with_suffix(".eeg").name
    if found is None:
        raise FileError(
            f"{header} names the data file {name}, which is missing, and no file of samples of "
            f"its own name ({header.stem}.eeg) lies beside it: put it there."
        )
    if found.name == name:
        return found, ""
    return found, f"{header.name} names the data file {name}; {found.name} is read, which is there."


def repaired_header(header: Path, folder: Path) -> str:
    """The header's text with the paths of the files that are there, and units as MNE spells them.

    A marker file whose name MNE would not take is copied into `folder`; for one that is missing an
    empty one is written there: MNE 1.9 fails without.
    """
    text = read_text(header)
    for key in _SUFFIXES:
        found = named_file(header, text, key)
        if found is None and key == "MarkerFile":
            found = folder / f"{header.stem}.vmrk"
            found.write_text(_NO_MARKERS, encoding="utf-8")
        if found is not None:
            if key == "MarkerFile" and found.suffix != ".vmrk":
                found = Path(shutil.copy(found, folder / f"{header.stem}.vmrk"))
            line = f"{key}={found.resolve()}".replace("\\", r"\\")
            text, n = re.subn(rf"^{key}=.*$", line, text, flags=re.MULTILINE)
            if not n:
                text = text.replace("[Common Infos]", f"[Common Infos]\n{line}", 1)
    text = _CHANNEL.sub(_plain_unit, text)
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
