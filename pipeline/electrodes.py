"""Where the electrodes of the extended 10-20 system sit on the head.

Owns one small table: label to unit vector from the centre of the sphere that fits the head
(x right, y front, z up). Knows nothing of signals, files of recordings or MNE; the table was made
once from MNE's template by `python -m research.virtual_brain.tables`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from configs.labels import ALIASES, difference
from pipeline.errors import InfoError
from pipeline.values import Float64, read_only

_TABLE = Path(__file__).with_name("electrodes.json")
_OLD_NAMES = {old.lower(): name.lower() for old, name in ALIASES.items()} | {"nz": "fpz"}


@cache
def electrode_names() -> tuple[str, ...]:
    """Labels of the table (343 of the 10-05 system), in its order."""
    return tuple(json.loads(_TABLE.read_text(encoding="utf-8")))


@cache
def _directions() -> dict[str, Float64]:
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return {name.lower(): read_only(np.array(xyz)) for name, xyz in table.items()}


def canonical_name(label: str) -> str | None:
    """Return a label as the table spells it, or None for one it does not have.

    Case and the usual decorations do not matter: `"fp1"`, `"EEG Fp1"`, `"EEG Fp1-REF"`, `"Fp1."`.
    A difference of two (`"Fp1-F7"`) is no electrode.
    """
    if difference(label) is not None:
        return None
    word = label.strip().lower()
    for prefix in ("eeg ", "eeg-", "eeg_"):
        word = word.removeprefix(prefix)
    for separator in ("-", " "):
        word = word.split(separator)[0]
    word = word.strip(".")
    word = _OLD_NAMES.get(word, word)
    spelt = {name.lower(): name for name in electrode_names()}
    return spelt.get(word)


def unit_positions(labels: Sequence[str]) -> Float64:
    """Return the directions of electrodes as unit vectors.

    Parameters
    ----------
    labels : sequence of str
        Labels of the 10-05 system, in any spelling that `canonical_name` reads.

    Returns
    -------
    ndarray, shape (n_channels, 3), float64
        x right, y front, z up.

    Raises
    ------
    InfoError
        A label is not in the table.
    """
    names = [canonical_name(label) for label in labels]
    unknown = [label for label, name in zip(labels, names, strict=True) if name is None]
    if unknown:
        raise InfoError(
            f"no position for {', '.join(map(repr, unknown))}, expected labels of the 10-05 "
            "system such as 'Oz' or 'PO7': rename the channels or leave them out of the montage."
        )
    table = _directions()
    return np.stack([table[name.lower()] for name in names if name is not None])
