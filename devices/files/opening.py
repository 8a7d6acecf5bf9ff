"""Opens a recording with the reader that the table of formats has for it.

Owns what is refused before any reader sees the file: what is not there, empty, no file, of a
suffix that nobody reads, or not the streams that were asked for.
"""

from __future__ import annotations

from pathlib import Path

from configs.guard import UnfitFileError, check_file
from devices.choosing import StreamChoice, check_only
from devices.errors import FileError
from devices.files.base import Recording
from devices.files.readers import ReadOptions, Registered, readers


def open_recording(
    path: Path | str, *, board: str | None = None, choice: StreamChoice | None = None
) -> Recording:
    """Open a recording of any registered format.

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
    entry = _reader_of(path)
    recording = entry.open(path, ReadOptions(choice=choice, board=board))
    if not entry.reader.chooses:
        try:
            check_only(recording.streams, choice, path)
        except FileError:
            recording.close()
            raise
    return recording


def _reader_of(path: Path) -> Registered:
    if path.is_dir():
        raise FileError(f"{path} is a folder, expected a file: give the recording in it.")
    try:
        if check_file(path) == 0:
            raise FileError(f"{path} is empty, expected a recording: copy it again.")
        entry = readers().choose(path)
        for each in () if entry is None else entry.beside(path):
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
    if entry is None:
        table = readers()
        known = ", ".join(table.suffixes) or "none (no reader is registered: install Phosphene)"
        said = f"{path} has the unknown extension {path.suffix.lower()!r}, expected one of {known}"
        raise FileError(" ".join((said + _advice(path), *table.problems)))
    return entry


def _advice(path: Path) -> str:
    header = {".eeg": ".vhdr", ".dat": ".vhdr", ".vmrk": ".vhdr", ".fdt": ".set"}
    suffix = header.get(path.suffix.lower())
    if suffix:
        return f": give the header {path.with_suffix(suffix).name} beside it."
    if path.suffix.lower() == ".gz":
        return ": unpack it first (gunzip)."
    return ": export the recording to one of these."
