"""From a folder of THINGS-EEG2 as published to a training folder of memory-mapped arrays.

Owns the folders' layout, and the order in which sessions are read, whitened and merged, so that
one session at a time is in memory. Raw files: `sub-NN/ses-NN/raw_eeg_training.npy` and
`raw_eeg_test.npy`; preprocessed ones: `sub-NN/preprocessed_eeg_training.npy` and
`..._test.npy`. Written: `train/` and `test/`, each as `models.atm.data` reads it.
Knows nothing of networks.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models.things_eeg2.epoching import (
    TEST_REPETITIONS,
    TRAIN_REPETITIONS,
    Merge,
    SortedEpochs,
    epoch_recording,
)
from models.things_eeg2.errors import ThingsError
from models.things_eeg2.files import read_preprocessed, read_raw
from models.things_eeg2.montage import CH_NAMES, SFREQ
from models.things_eeg2.whitening import Mode, noise_covariance, whiten, whitening_matrix

Part = Literal["training", "test"]
FOLDERS: dict[Part, str] = {"training": "train", "test": "test"}
Notes = Callable[[str], None]
COVARIANCE = "covariance.npy"
"""In `train/`: noise covariance of its epochs, µV², the mean over sessions. Live epochs are
whitened by it."""
_VOLTS_BELOW = 1e-2
"""Scalp EEG of so small a size is in volts; the files do not say their unit."""
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, slots=True)
class Preparation:
    """How raw recordings are prepared; defaults are the published ones.

    `ch_names` in the order wanted; window and rate in s and Hz; `mode` of the noise covariance;
    `whiten` False leaves the noise normalisation out; repetitions are those of a condition in one
    session.
    """

    ch_names: tuple[str, ...] = CH_NAMES
    sfreq: float = SFREQ
    tmin: float = -0.2
    tmax: float = 1.0
    mode: Mode = "epochs"
    whiten: bool = True
    train_repetitions: int = TRAIN_REPETITIONS
    test_repetitions: int = TEST_REPETITIONS

    def repetitions(self, part: Part) -> int:
        """Repetitions of a condition in one session."""
        return self.train_repetitions if part == "training" else self.test_repetitions


def find_subjects(folder: Path, numbers: Sequence[int] = ()) -> dict[int, Path]:
    """Folders `sub-NN` below `folder` by number; `numbers` chooses, none means all.

    Raises
    ------
    ThingsError
        None is there, or one that was asked for is not.
    """
    found = {_number(path): path for path in sorted(folder.glob("sub-*")) if path.is_dir()}
    wanted = tuple(numbers) or tuple(found)
    missing = [number for number in wanted if number not in found]
    if missing or not found:
        name = f"sub-{missing[0]:02d}" if missing else "sub-01"
        raise ThingsError(
            f"{folder / name}: no such folder, expected THINGS-EEG2 as osf.io/anp5v has it: "
            "sub-NN/ses-NN/raw_eeg_training.npy, or sub-NN/preprocessed_eeg_training.npy."
        )
    return {number: found[number] for number in wanted}


def _number(path: Path) -> int:
    match = _NUMBER.search(path.name)
    if match is None:
        raise ThingsError(f"{path} has no number, expected a name such as sub-01.")
    return int(match[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """One subject on disk: sessions to merge, and the covariance of each (µV²)."""

    number: int
    ch_names: tuple[str, ...]
    merges: dict[Part, Merge]
    covariances: tuple[NDArray[np.float64], ...] = ()


def prepare(
    folder: Path,
    out: Path,
    *,
    subjects: Sequence[int] = (),
    settings: Preparation | None = None,
    on_note: Notes = lambda _: None,
) -> dict[str, int]:
    """Write `out/train` and `out/test` of raw or preprocessed subjects; return their epochs.

    Raises
    ------
    ThingsError
        A file is missing or damaged, subjects differ in their channels, a session is cut short.
    """
    settings = Preparation() if settings is None else settings
    found = find_subjects(folder, subjects)
    scratch = out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        read = [_read(n, source, scratch, settings, on_note) for n, source in found.items()]
        montages = {subject.ch_names for subject in read}
        if len(montages) != 1:
            raise ThingsError(f"{folder}: subjects differ in ch_names, expected one montage.")
        counts = {name: _write(read, part, out / name) for part, name in FOLDERS.items()}
        covariances = [each for subject in read for each in subject.covariances]
        if covariances:
            np.save(out / FOLDERS["training"] / COVARIANCE, np.mean(covariances, axis=0))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return counts


def _read(
    number: int, source: Path, scratch: Path, settings: Preparation, on_note: Notes
) -> _Subject:
    folders = sorted(path for path in source.glob("ses-*") if path.is_dir())
    if not folders:
        return _read_preprocessed(number, source)
    covariances = []
    sessions: dict[Part, list[SortedEpochs]] = {"training": [], "test": []}
    for folder in folders:
        on_note(f"{source.name} {folder.name}")
        epochs = {part: _epochs(folder / f"raw_eeg_{part}.npy", settings, part) for part in FOLDERS}
        matrix = np.eye(len(settings.ch_names))
        if settings.whiten:
            train = epochs["training"].data
            covariance = noise_covariance(train, mode=settings.mode)
            matrix = whitening_matrix(covariance)
            covariances.append(covariance * _microvolts_per_unit(train) ** 2)
        for part, made in epochs.items():
            path = scratch / f"{number}-{folder.name}-{part}.npy"
            sessions[part].append(_whitened(made, matrix, path))
    merges = {part: _merge(parts, f"{source}, {part}") for part, parts in sessions.items()}
    return _Subject(number, settings.ch_names, merges, tuple(covariances))


def _read_preprocessed(number: int, source: Path) -> _Subject:
    parts = {part: read_preprocessed(source / f"preprocessed_eeg_{part}.npy") for part in FOLDERS}
    names = {ch_names for _, ch_names in parts.values()}
    if len(names) != 1:
        raise ThingsError(f"{source}: training and test differ in ch_names, expected one montage.")
    # Merged and shuffled by its authors already.
    merges = {part: Merge.of([epochs], seed=None) for part, (epochs, _) in parts.items()}
    return _Subject(number, names.pop(), merges)


def _merge(sessions: Sequence[SortedEpochs], what: str) -> Merge:
    try:
        return Merge.of(sessions)
    except ThingsError as error:
        raise ThingsError(f"{what}: {error}") from None


def _epochs(path: Path, settings: Preparation, part: Part) -> SortedEpochs:
    recording = read_raw(path)
    try:
        return epoch_recording(
            recording.data,
            recording.ch_names,
            sfreq=recording.sfreq,
            n_repetitions=settings.repetitions(part),
            ch_order=settings.ch_names,
            target_sfreq=settings.sfreq,
            tmin=settings.tmin,
            tmax=settings.tmax,
        )
    except ThingsError as error:
        raise ThingsError(f"{path}: {error}") from None


def _microvolts_per_unit(data: NDArray[np.float64]) -> float:
    return 1e6 if float(np.median(np.abs(data[:10]))) < _VOLTS_BELOW else 1.0


def _whitened(epochs: SortedEpochs, matrix: NDArray[np.float64], path: Path) -> SortedEpochs:
    """Whiten condition by condition into a mapped file: a session in float64 is 2 GB."""
    target = npy.open_memmap(path, mode="w+", dtype=np.float32, shape=epochs.data.shape)
    for row, condition in enumerate(epochs.data):
        target[row] = whiten(condition, matrix)
    target.flush()
    return SortedEpochs(target, epochs.conditions, epochs.times)


def _write(subjects: Sequence[_Subject], part: Part, out: Path) -> int:
    """Write a training folder (see `models.atm.data`), every repetition a row; return the rows."""
    merges = [subject.merges[part] for subject in subjects]
    shapes = {merge.shape[2:] for merge in merges}
    if len(shapes) != 1:
        raise ThingsError(f"{out}: subjects differ in shape {sorted(shapes)}, expected one.")
    counts = [merge.shape[0] * merge.shape[1] for merge in merges]
    out.mkdir(parents=True, exist_ok=True)
    shape = (sum(counts), *shapes.pop())
    target = npy.open_memmap(out / "eeg.npy", mode="w+", dtype=np.float32, shape=shape)
    row = 0
    for merge in merges:
        for repetitions in merge:
            target[row : row + len(repetitions)] = repetitions
            row += len(repetitions)
    target.flush()
    images = np.concatenate([np.repeat(m.conditions - 1, m.shape[1]) for m in merges])
    np.save(out / "image_ids.npy", images.astype(np.int64))
    numbers = np.array([subject.number for subject in subjects], dtype=np.int64)
    np.save(out / "subject_ids.npy", np.repeat(numbers, counts))
    meta = json.dumps({"ch_names": list(subjects[0].ch_names)})
    (out / "meta.json").write_text(meta, encoding="utf-8")
    return shape[0]
