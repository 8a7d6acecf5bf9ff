"""The files of THINGS-EEG2: read as data, never as code; prepared ones written as plain arrays.

Owns what the raw recordings (`raw_eeg_training.npy`, `raw_eeg_test.npy`) and the preprocessed files
hold, and the preparation of a subject. Both are dictionaries saved as Python objects: they come
through `tables`, which knows arrays, numbers, texts and containers and refuses everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models.things_eeg2.epoching import (
    TEST_REPETITIONS,
    TRAIN_REPETITIONS,
    SortedEpochs,
    epoch_recording,
    merge_sessions,
)
from models.things_eeg2.errors import ThingsError
from models.things_eeg2.montage import CH_NAMES
from models.things_eeg2.tables import read_table
from models.things_eeg2.whitening import (
    Mode,
    noise_covariance,
    whiten,
    whitening_matrix,
)

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


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSubject:
    """Merged, whitened epochs of a subject, and the whitening matrix of each session."""

    train: SortedEpochs
    test: SortedEpochs
    whitening: tuple[NDArray[np.float64], ...]


def prepare_subject(
    sessions: Sequence[tuple[RawRecording, RawRecording]],
    *,
    ch_order: Sequence[str] = CH_NAMES,
    mode: Mode = "epochs",
    train_repetitions: int = TRAIN_REPETITIONS,
    test_repetitions: int = TEST_REPETITIONS,
) -> PreparedSubject:
    """Do the published preprocessing: epoch, whiten by session, merge.

    Parameters
    ----------
    sessions : sequence of (training, test) recordings

    Raises
    ------
    ThingsError
        As `epoch_recording` and `merge_sessions`.
    """
    trains, tests, matrices = [], [], []
    for training, test in sessions:
        train_epochs = _epochs(training, ch_order, train_repetitions)
        test_epochs = _epochs(test, ch_order, test_repetitions)
        matrix = whitening_matrix(noise_covariance(train_epochs.data, mode=mode))
        matrices.append(matrix)
        trains.append(_whitened(train_epochs, matrix))
        tests.append(_whitened(test_epochs, matrix))
    return PreparedSubject(merge_sessions(trains), merge_sessions(tests), tuple(matrices))


def _epochs(recording: RawRecording, ch_order: Sequence[str], n_repetitions: int) -> SortedEpochs:
    return epoch_recording(
        recording.data,
        recording.ch_names,
        sfreq=recording.sfreq,
        n_repetitions=n_repetitions,
        ch_order=ch_order,
    )


def _whitened(epochs: SortedEpochs, matrix: NDArray[np.float64]) -> SortedEpochs:
    return SortedEpochs(whiten(epochs.data, matrix), epochs.conditions, epochs.times)


def write_eeg(epochs: SortedEpochs, folder: Path, ch_names: Sequence[str], *, subject: int) -> None:
    """Write the EEG side of a training folder (see `models.atm.data`), every repetition a row.

    Raises
    ------
    ThingsError
        The names do not fit the data.
    """
    import json

    n_conditions, n_repetitions, n_channels, n_times = epochs.data.shape
    if len(ch_names) != n_channels:
        raise ThingsError(f"{len(ch_names)} ch_names for {n_channels} channels: give one each.")
    folder.mkdir(parents=True, exist_ok=True)
    shape = (n_conditions * n_repetitions, n_channels, n_times)
    # Condition by condition into a mapped file: a subject in float64 is 8 GB.
    target = npy.open_memmap(folder / "eeg.npy", mode="w+", dtype=np.float32, shape=shape)
    for row, condition in enumerate(epochs.data):
        target[row * n_repetitions : (row + 1) * n_repetitions] = condition
    target.flush()
    np.save(folder / "image_ids.npy", np.repeat(epochs.conditions - 1, n_repetitions))
    np.save(folder / "subject_ids.npy", np.full(len(target), subject, dtype=np.int64))
    meta = json.dumps({"ch_names": list(ch_names)})
    (folder / "meta.json").write_text(meta, encoding="utf-8")
