"""The labels of a stream that sends none: typed, by the name of a board, or from a file.

Owns the reading of a montage's text and files. Knows nothing of streams; positions come from the
labels themselves (10-05 names).
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Final

from configs.guard import read_text
from configs.montages import TYPED
from devices.errors import FileError
from pipeline.electrodes import canonical_name


def read_montage(text: str) -> tuple[str, ...]:
    """Labels of `--montage`: a name in `TYPED`, a file, or labels with commas between them.

    A file holds a label a line, a table with a column `name` or `label` (BIDS's
    `*_channels.tsv`, `*_electrodes.tsv`, comma or tab), or any format that MNE knows as a montage
    (`.elc`, `.sfp`, `.bvef`, `.loc`, ...).

    Raises
    ------
    FileError
        The file is not there, cannot be read, or holds no label; one word is neither.
    """
    word = text.strip()
    if word.lower() in TYPED:
        return TYPED[word.lower()]
    path = Path(word)
    # Not `Path.exists`, which raises for a text that is longer than a name can be.
    if word and os.path.exists(path):  # noqa: PTH110
        return _read_file(path)
    if "," in word:
        return tuple(label.strip() for label in word.split(",") if label.strip())
    if path.suffix or len(path.parts) > 1:
        raise FileError(f"{path} does not exist, expected a file of labels: check the path.")
    if word and canonical_name(word) is None:
        raise FileError(
            f"{word!r} is no montage that is known by name ({', '.join(TYPED)}), no file and no "
            "electrode of the 10-05 system: give a label a channel with commas between them, or a "
            "file of labels."
        )
    return (word,) if word else ()


def _read_file(path: Path) -> tuple[str, ...]:
    try:
        text = read_text(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read ({error}), expected text with labels.") from None
    labels = _from_mne(path) if path.suffix.lower() in _MNE_SUFFIXES else _from_text(text)
    if not labels:
        raise FileError(
            f"{path} holds no label, expected one a line or a table with a column 'name'."
        )
    return labels


_MNE_SUFFIXES: Final = {".elc", ".sfp", ".bvef", ".bvct", ".loc", ".locs", ".eloc", ".hpts", ".csd"}


def _from_text(text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        return ()
    delimiter = "\t" if "\t" in lines[0] else ","
    heads = [cell.strip().lower() for cell in lines[0].split(delimiter)]
    column = next((heads.index(word) for word in ("name", "label") if word in heads), None)
    if column is None:
        return tuple(cell.strip() for line in lines for cell in line.split(",") if cell.strip())
    rows = csv.reader(lines[1:], delimiter=delimiter)
    return tuple(row[column].strip() for row in rows if len(row) > column and row[column].strip())


def _from_mne(path: Path) -> tuple[str, ...]:
    import mne

    try:
        montage = mne.channels.read_custom_montage(path)
    except (ValueError, RuntimeError, KeyError, IndexError, OSError) as error:
        raise FileError(f"{path} is no montage that MNE reads ({str(error)[:120]}).") from error
    return tuple(montage.ch_names)
