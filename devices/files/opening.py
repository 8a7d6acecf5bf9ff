"""Chooses the reader of a file: by extension, and by content where one extension means several.

Owns the list of formats and the refusal of everything else. Heavy readers are imported on use.
"""

from __future__ import annotations

from pathlib import Path

from devices.errors import FileError
from devices.files.base import Recording

MNE_SUFFIXES = (".fif", ".edf", ".bdf", ".vhdr", ".set")
KNOWN = (*MNE_SUFFIXES, ".xdf", ".xdfz", ".txt", ".csv", ".tsv")


def is_xdf(path: Path) -> bool:
    """Whether a name is one of an XDF file, compressed (`.xdfz`, `.xdf.gz`) or not."""
    return path.name.lower().endswith((".xdf", ".xdfz", ".xdf.gz"))


def open_recording(path: Path | str, *, board: str | None = None) -> Recording:
    """Open a recording of any known format.

    Parameters
    ----------
    path : Path
        The file (of a BrainVision or EEGLAB group: the header).
    board : str, optional
        BrainFlow board (id or name) of a BrainFlow CSV.

    Raises
    ------
    FileError
        Not there, empty, unknown, truncated or damaged.
    """
    path = Path(path)
    _check_there(path)
    suffix = path.suffix.lower()
    if is_xdf(path):
        from devices.files.xdf import XdfRecording

        return XdfRecording(path)
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
        if path.stat().st_size == 0:
            raise FileError(f"{path} is empty, expected a recording: copy it again.")
    except FileNotFoundError:
        raise FileError(f"{path} does not exist, expected a recording: check the path.") from None
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}): check its rights.") from error


def _advice(path: Path) -> str:
    header = {".eeg": ".vhdr", ".dat": ".vhdr", ".vmrk": ".vhdr", ".fdt": ".set"}
    suffix = header.get(path.suffix.lower())
    if suffix:
        return f": give the header {path.with_suffix(suffix).name} beside it."
    if path.suffix.lower() == ".gz":
        return ": unpack it first (gunzip)."
    return ": export the recording to one of these."


def _open_text(path: Path, board: str | None) -> Recording:
    with path.open("rb") as file:
        head = file.read(4096)
    if b"\0" in head:
        raise FileError(f"{path} is binary, expected text: OpenBCI TXT or BrainFlow CSV.")
    if head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"%"):
        from devices.files.openbci import OpenBciRecording

        return OpenBciRecording(path)
    from devices.files.brainflow import BrainFlowRecording

    return BrainFlowRecording(path, board=board)
