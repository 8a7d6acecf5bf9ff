"""Our own file formats, as `pyproject.toml` registers them under `phosphene.readers`.

Owns their suffixes, what tells two of one suffix apart, and which files a header names. The
readers behind them are imported when a file is opened.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from configs.guard import SETTINGS_LIMIT, open_file, read_bytes
from devices.errors import FileError
from devices.files.base import Recording
from devices.files.readers import HEAD, Reader, ReadOptions

_SD_CARD: Final = re.compile(
    rb"^[0-9A-F]{2}(?:,[0-9A-F]{6}){4,16}(?:,[0-9A-F]{4})*\r?$", re.MULTILINE | re.IGNORECASE
)


def _open_xdf(path: Path, options: ReadOptions) -> Recording:
    from devices.files.xdf import XdfRecording

    return XdfRecording(path, options.choice)


def _open_mne(path: Path, _options: ReadOptions) -> Recording:
    from devices.files.mne_files import MneRecording

    return MneRecording(path)


def _open_openbci(path: Path, _options: ReadOptions) -> Recording:
    from devices.files.openbci import OpenBciRecording

    _check_text(path)
    return OpenBciRecording(path)


def _open_brainflow(path: Path, options: ReadOptions) -> Recording:
    from devices.files.brainflow import BrainFlowRecording

    _check_text(path)
    return BrainFlowRecording(path, board=options.board)


def _open_cvep(path: Path, _options: ReadOptions) -> Recording:
    from devices.files.cvep import CvepRecording

    return CvepRecording(path)


def _open_volumes(path: Path, _options: ReadOptions) -> Recording:
    from devices.files.volumes import open_npy, open_npz

    return open_npy(path) if path.suffix.lower() == ".npy" else open_npz(path)


def _volumes_beside(path: Path) -> Iterator[Path]:
    from devices.files.volumes import event_table

    table = event_table(path) if path.suffix.lower() == ".npy" else None
    yield from () if table is None else (table, path.with_suffix(".json"))


def _is_cvep(head: bytes) -> bool:
    """Whether the first array of an `.npz` is one of noise-tagged trials."""
    return head.startswith(b"PK\x03\x04") and re.match(rb"(X|y|V|fs)\.npy", head[30:]) is not None


def _is_openbci(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"%")


def _check_text(path: Path) -> None:
    """Refuse what has the suffix of a text and is none."""
    with open_file(path) as file:
        head = file.read(HEAD)
    if b"\0" in head:
        raise FileError(f"{path} is binary, expected text: OpenBCI TXT or BrainFlow CSV.")
    if len(head) == HEAD and not set(b"\r\n") & set(head):
        raise FileError(
            f"{path} has no line end in its first {HEAD} bytes, expected a sample a line: it is "
            "no OpenBCI TXT or BrainFlow CSV, or it was joined into one line."
        )
    if _SD_CARD.search(head):
        raise FileError(
            f"{path} is as OpenBCI's SD card writes it (hexadecimal numbers, no rate), expected a "
            "recording in microvolts: convert it with the OpenBCI GUI (Playback, Convert SD File)."
        )


def _named_in_header(path: Path) -> Iterator[Path]:
    header = read_bytes(path, limit=SETTINGS_LIMIT).decode("utf-8", errors="replace")
    for name in re.findall(r"(?mi)^\s*(?:DataFile|MarkerFile)\s*=\s*(\S.*?)\s*$", header):
        yield path.parent / name.replace("$b", path.stem)
    yield from (path.with_suffix(each) for each in (".eeg", ".dat", ".vmrk"))


def _parts_of_a_split_file(path: Path) -> Iterator[Path]:
    yield from path.parent.glob(f"{glob.escape(path.name.split('.fif')[0])}-*.fif*")


_TEXT: Final = (".txt", ".csv", ".tsv")
XDF: Final = Reader("XDF", (".xdf", ".xdfz", ".xdf.gz"), _open_xdf, chooses=True)
FIF: Final = Reader("FIF", (".fif", ".fif.gz"), _open_mne, beside=_parts_of_a_split_file)
EDF: Final = Reader("EDF or BDF", (".edf", ".bdf"), _open_mne)
BRAINVISION: Final = Reader("BrainVision", (".vhdr",), _open_mne, beside=_named_in_header)
EEGLAB: Final = Reader("EEGLAB", (".set",), _open_mne)
CVEP: Final = Reader("noise-tagged trials", (".npz",), _open_cvep, sniff=_is_cvep)
OPENBCI: Final = Reader("OpenBCI TXT", _TEXT, _open_openbci, sniff=_is_openbci)
BRAINFLOW: Final = Reader(
    "BrainFlow CSV", _TEXT, _open_brainflow, sniff=lambda head: not _is_openbci(head)
)
VOLUMES: Final = Reader(
    "fMRI betas of NumPy",
    (".npz", ".npy"),
    _open_volumes,
    sniff=lambda head: (
        head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY")) and not _is_cvep(head)
    ),
    beside=_volumes_beside,
)
