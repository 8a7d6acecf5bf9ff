"""Whether a file holds what its header promises; a truncated recording must not pass in silence.

Owns the sizes of EDF/BDF, BrainVision and EEGLAB files. Reads headers only.
"""

from __future__ import annotations

import configparser
from pathlib import Path

from devices.errors import FileError
from devices.files.brainvision import data_file, read_text
from devices.files.edf import read_header


def check_complete(path: Path) -> tuple[str, ...]:
    """Refuse a file that is shorter than its header says.

    Returns
    -------
    tuple of str
        What the user should know of a file that promises nothing, one sentence each.

    Raises
    ------
    FileError
        Truncated, or a part of it is missing.
    """
    suffix = path.suffix.lower()
    if suffix in (".edf", ".bdf"):
        return _check_edf(path)
    if suffix == ".vhdr":
        return _check_brainvision(path)
    if suffix == ".set":
        _check_eeglab(path)
    return ()


def _check_edf(path: Path) -> tuple[str, ...]:
    """Header: 256 bytes, then 256 a signal; data records of equal size (edfplus.info)."""
    size, header = path.stat().st_size, read_header(path)
    n_header, n_records, record = header.n_header, header.n_records, header.record
    if not header.has_signal:
        raise FileError(
            f"{path} holds annotations and no signal, expected a recording: give the file of "
            "signals that they belong to."
        )
    n_whole = max(0, size - n_header) // record if record > 0 else 0
    if n_records < 0:
        # The recording program never closed the file: all that is there is right.
        return (f"{path.name} was never finished by its recorder; it holds {n_whole} records.",)
    if n_whole < n_records:
        raise FileError(
            f"{path} is truncated: it holds {n_whole} whole records of {n_records} ({size} bytes "
            f"of {n_header + n_records * record}): copy it again from its source."
        )
    return ()


def _check_brainvision(path: Path) -> tuple[str, ...]:
    text = read_text(path)
    # The first line is a title, not INI; the comment section at the end is free text.
    body = text.split("\n", 1)[-1].split("[Comment]", 1)[0]
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, comment_prefixes=(";",), allow_no_value=True
    )
    try:
        parser.read_string(body)
        common = parser["Common Infos"]
        n_channels = int(common["NumberOfChannels"])
        data, said = data_file(path) if common["DataFile"] else (path, "")
    except (configparser.Error, KeyError, ValueError) as error:
        what = str(error).splitlines()[0]  # the parser quotes the whole file below it
        raise FileError(
            f"{path} is no BrainVision header ({what}), expected [Common Infos] with DataFile and "
            "NumberOfChannels: copy it again."
        ) from error
    named = parser["Channel Infos"] if parser.has_section("Channel Infos") else ()
    n_listed = sum(key.startswith("ch") for key in named)
    if n_listed != n_channels:
        raise FileError(
            f"{path} says NumberOfChannels={n_channels} and lists {n_listed} under [Channel "
            "Infos], expected a line for each: export it again, or give the header that belongs to "
            "the file of samples."
        )
    notes = (said,) if said else ()
    if common.get("DataFormat", "BINARY").upper() != "BINARY":
        return notes
    width = 4 if "FLOAT" in parser.get("Binary Infos", "BinaryFormat", fallback="").upper() else 2
    size, points = data.stat().st_size, int(common.get("DataPoints", "0") or 0)
    expected = points * n_channels * width
    if size == 0 or size % (n_channels * width) or size < expected:
        what = f"{expected} bytes" if expected else f"a multiple of {n_channels * width} bytes"
        raise FileError(
            f"{data} is truncated: it holds {size} bytes, expected {what} ({n_channels} channels): "
            "copy it again from its source."
        )
    return notes


def _check_eeglab(path: Path) -> None:
    """Compare the `.fdt` with the sizes in the `.set`; and refuse epochs."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    with path.open("rb") as file:
        if file.read(8).startswith(b"\x89HDF"):
            return  # MATLAB 7.3 (HDF5): MNE says what it needs.
    try:
        names = ["EEG", "data", "nbchan", "pnts", "trials"]
        found = loadmat(path, variable_names=names, simplify_cells=True)
        eeg = found.get("EEG", found)
        n_channels, n_times, n_trials = (int(eeg[k]) for k in ("nbchan", "pnts", "trials"))
        data = eeg["data"]
    except (MatReadError, LookupError, ValueError, TypeError, OSError) as error:
        raise FileError(
            f"{path} is no EEGLAB data set ({str(error)[:120]}), expected a MATLAB file with the "
            "fields nbchan, pnts, trials and data: save it again."
        ) from error
    if n_trials > 1:
        raise FileError(
            f"{path} is cut into {n_trials} epochs, expected a continuous recording: save it "
            "before epoching."
        )
    if isinstance(data, str):
        _check_fdt(path, data, n_channels * n_times * 4)


def _check_fdt(path: Path, name: str, expected: int) -> None:
    candidates = (path.with_name(Path(name).name), path.with_suffix(".fdt"))
    fdt = next((c for c in candidates if c.is_file()), None)
    if fdt is None:
        raise FileError(f"{candidates[0]} is missing, expected beside {path.name}: copy both.")
    if fdt.stat().st_size < expected:
        raise FileError(
            f"{fdt} is truncated: it holds {fdt.stat().st_size} bytes of {expected}: copy it "
            "again from its source."
        )
