"""The files of THINGS-EEG2: raw recordings and preprocessed epochs, read as data, never as code.

Owns what `raw_eeg_training.npy`, `raw_eeg_test.npy` and the preprocessed files hold. Both are
dictionaries saved as Python objects: they come through `tables`, which knows arrays, numbers,
texts and containers and refuses everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.things_eeg2.epoching import SortedEpochs
from models.things_eeg2.errors import ThingsError
from models.things_eeg2.tables import read_table

_KEYS = ("preprocessed_eeg_data", "ch_names", "times")
_RAW_KEYS = ("raw_eeg_data", "ch_names", "sfreq", "ch_types")


@dataclass(frozen=True, slots=True, eq=False)
class RawRecording:
    """One session: `data` (n_channels + 1, n_times), the last row named `stim`; `sfreq` Hz."""

    data: NDArray[np.floating]
    ch_names: tuple[str, ...]
    sfreq: float


def read_raw(path: Path) -> RawRecording:
    """Read `raw_eeg_training.npy` or `raw_eeg_test.npy` of a session.

    Raises
    ------
    ThingsError
        As `read_table`, or a key is missing.
    """
    table = _with_keys(read_table(path), _RAW_KEYS, path)
    names = [str(name) for name in table["ch_names"]]
    names[-1] = "stim"
    return RawRecording(np.asarray(table["raw_eeg_data"]), tuple(names), float(table["sfreq"]))


def read_preprocessed(path: Path) -> tuple[SortedEpochs, tuple[str, ...]]:
    """Read `preprocessed_eeg_training.npy` or `preprocessed_eeg_test.npy`, and its channels.

    The conditions are numbered from 1, as the images are.

    Raises
    ------
    ThingsError
        As `read_table`, a key is missing, or another shape.
    """
    table = _with_keys(read_table(path), _KEYS, path)
    data = np.asarray(table["preprocessed_eeg_data"])
    names = tuple(str(name) for name in table["ch_names"])
    if data.ndim != 4 or data.shape[2] != len(names):
        raise ThingsError(
            f"{path} has data of shape {data.shape} and {len(names)} ch_names, expected "
            "(n_conditions, n_repetitions, n_channels, n_times)."
        )
    conditions = np.arange(1, len(data) + 1, dtype=np.int64)
    return SortedEpochs(data, conditions, np.asarray(table["times"], dtype=np.float64)), names


def _with_keys(table: dict[str, Any], keys: Sequence[str], path: Path) -> dict[str, Any]:
    missing = [key for key in keys if key not in table]
    if missing:
        raise ThingsError(f"{path} lacks {', '.join(missing)}, expected {', '.join(keys)}.")
    return table
