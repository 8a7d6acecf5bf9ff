"""Chooses the reader of a file: by extension, and by content where one extension means several.

Owns the list of formats and the refusal of everything else. Heavy readers are imported on use.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from configs.guard import SETTINGS_LIMIT, UnfitFileError, check_file, open_file, read_bytes
from devices.choosing import StreamChoice, check_only
from devices.errors import FileError
from devices.files.base import Recording

_SD_CARD = re.compile(rb"^[0-9A-F]{2}(?:,[0-9A-F]{6}){4,16}(?:,[0-9A-F]{4})*\r?$", re.MULTILINE)
MNE_SUFFIXES = (".fif", ".edf", ".bdf", ".vhdr", ".set")
_HEAD = 1 << 16
"""A text without a line end in so many bytes is no recording."""
KNOWN = (*MNE_SUFFIXES, ".xdf", ".xdfz", ".txt", ".csv", ".tsv")


def is_xdf(path: Path) -> bool:
    """Whether a name is one of an XDF file, compressed (`.xdfz`, `.xdf.gz`) or not."""
    return path.name.lower().endswith((".xdf", ".xdfz", ".xdf.gz"))


def open_recording(
    path: Path | str, *, board: str | None = None, choice: StreamChoice | None = None
) -> Recording:
    """Open a recording of any known format.

    Parameters
    ----------
    path : Path
        The file (of a BrainVision or EEGLAB group: the header).
    board : str, optional
        BrainFlow board (id or name) of a BrainFlow CSV.
    choice : StreamChoice, optional
        Which of several streams to take; None: all that an XDF file holds.

    Raises
    ------
    FileError
        Not there, empty, unknown, truncated or damaged; or not the streams that were asked for.
    """
    path, choice = Path(path), choice or StreamChoice()
    recording = _open(path, board, choice)
    if not is_xdf(path):
        try:
            check_only(recording.streams, choice, path)
        except FileError:
            recording.close()
            raise
    return recording


def _open(path: Path, board: str | None, choice: StreamChoice) -> Recording:
    _check_there(path)
    suffix = path.suffix.lower()
    if is_xdf(path):
        from devices.files.xdf import XdfRecording

        return XdfRecording(path, choice)
    if suffix in MNE_SUFFIXES or path.name.lower().endswith(".fif.gz"):
        from devices.files.mne_files import MneRecording

        return MneRecording(path)
    if suffix in (".txt", ".csv", ".tsv"):
        return _open_text(path, board)
    raise FileError(
        f"{path} has the unknown extension {suffix!r}, expected one of {', '.join(KNOWN)}"
        + _advice(path)
    )


def _check_there(path: Path) -> None:
    if path.is_dir():
        raise FileError(f"{path} is a folder, expected a file: give the recording in it.")
    try:
        if check_file(path) == 0:
            raise FileError(f"{path} is empty, expected a recording: copy it again.")
        for each in _beside(path):
            if each.exists():
                check_file(each)
    except FileNotFoundError:
        raise FileError(f"{path} does not exist, expected a recording: check the path.") from None
    except UnfitFileError as error:
        raise FileError(
            f"{error.filename} cannot be read ({error}): give the recording as a file on the disk."
        ) from None
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}): check its rights.") from error


def _beside(path: Path) -> Iterator[Path]:
    """What MNE opens by itself: the files that a header names, and the parts of a split FIF."""
    suffix = path.suffix.lower()
    if suffix == ".vhdr":
        header = read_bytes(path, limit=SETTINGS_LIMIT).decode("utf-8", errors="replace")
        for name in re.findall(r"(?mi)^\s*(?:DataFile|MarkerFile)\s*=\s*(\S.*?)\s*$", header):
            yield path.parent / name.replace("$b", path.stem)
        yield from (path.with_suffix(each) for each in (".eeg", ".dat", ".vmrk"))
    elif suffix in (".fif", ".gz"):
        yield from path.parent.glob(f"{glob.escape(path.name.split('.fif')[0])}-*.fif*")


def _advice(path: Path) -> str:
    header = {".eeg": ".vhdr", ".dat": ".vhdr", ".vmrk": ".vhdr", ".fdt": ".set"}
    suffix = header.get(path.suffix.lower())
    if suffix:
        return f": give the header {path.with_suffix(suffix).name} beside it."
    if path.suffix.lower() == ".gz":
        return ": unpack it first (gunzip)."
    return ": export the recording to one of these."


def _open_text(path: Path, board: str | None) -> Recording:
    with open_file(path) as file:
        head = file.read(_HEAD)
    if b"\0" in head:
        raise FileError(f"{path} is binary, expected text: OpenBCI TXT or BrainFlow CSV.")
    if len(head) == _HEAD and not set(b"\r\n") & set(head):
        raise FileError(
            f"{path} has no line end in its first {_HEAD} bytes, expected a sample a line: it is "
            "no OpenBCI TXT or BrainFlow CSV, or it was joined into one line."
        )
    if _SD_CARD.search(head):
        raise FileError(
            f"{path} is as OpenBCI's SD card writes it (hexadecimal numbers, no rate), expected a "
            "recording in microvolts: convert it with the OpenBCI GUI (Playback, Convert SD File)."
        )
    if head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"%"):
        from devices.files.openbci import OpenBciRecording

        return OpenBciRecording(path)
    from devices.files.brainflow import BrainFlowRecording

    return BrainFlowRecording(path, board=board)
