"""Trials of noise-tagged stimuli in a NumPy archive, as one continuous recording.

Owns the layout: `X` (n_trials, n_channels, n_times), volts or microvolts; `y` (n_trials,), the
target of each; `V` (n_targets, n_samples), the codes at the same rate; `fs`, Hz. That is how the
data of Thielen et al. 2021 travels. The trials were cut out, and what was between them is gone:
there the stream runs in a straight line from the last sample to the first, without a step.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from configs.arrays import array_errors
from configs.guard import open_file
from devices.errors import FileError
from devices.files.base import Block, FileEvent, OfFile, Piece, cut, eeg_info, marker_info
from pipeline.looks import Grid, LookMarker
from pipeline.values import Float32, Uint8, to_float32

BETWEEN: Final = 2.0
"""Straight line before each trial, s."""
FRAME_RATE: Final = 60.0
"""Frames a second that the codes were shown at."""
CHANNELS: Final = ("Fz", "T7", "O1", "POz", "Oz", "Iz", "O2", "T8")
"""Labels of eight channels: the data set's."""
_LARGEST: Final = 2 << 30
_KEYS: Final = ("X", "y", "V", "fs")


class CvepRecording(OfFile):
    """An archive of trials as a `Recording`.

    Attributes
    ----------
    trials : ndarray, shape (n_trials, n_channels, n_times), float32, microvolts
    targets : ndarray, shape (n_trials,), int64
    grid : Grid
    sfreq : float

    Raises
    ------
    FileError
        It is no such archive.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        arrays = _read(path)
        x, y, v, fs = (arrays[key] for key in _KEYS)
        fits = x.ndim == 3 and y.shape == x.shape[:1] and v.ndim == 2 and fs.size == 1
        kinds = all(array.dtype.kind in "fiu" for array in (x, y, v, fs))
        if not fits or not kinds or not x.size or not v.size:
            raise FileError(
                f"{path} holds X {x.shape}, y {y.shape}, V {v.shape}, fs {fs.shape}, expected "
                "numbers of shape (n_trials, n_channels, n_times), (n_trials,), (n_targets, "
                "n_samples) and one rate."
            )
        self.sfreq = float(fs.reshape(-1)[0])
        held = self.sfreq / FRAME_RATE
        if not np.isfinite(self.sfreq) or held < 1 or held != round(held):
            raise FileError(
                f"{path} says {self.sfreq:g} Hz, expected a multiple of {FRAME_RATE:g}: the codes "
                "were shown at that rate."
            )
        if not np.isfinite(x).all():
            raise FileError(f"{path} holds numbers that are not finite in X, expected EEG.")
        self.targets = y.astype(np.int64)
        is_known = self.targets.min() >= 0 and self.targets.max() < len(v)
        if not is_known or not np.isin(v, (0, 1)).all():
            raise FileError(
                f"{path} names targets beyond its {len(v)} codes, or codes that are not 0 and 1."
            )
        scale = 1e6 if float(np.std(x)) < 1e-3 else 1.0  # volts
        self.trials: Float32 = to_float32(x, scale)
        self.grid = Grid(
            _codes(v, round(held)), tuple(f"target {k}" for k in range(len(v))), FRAME_RATE
        )
        n_channels = x.shape[1]
        names = CHANNELS if n_channels == len(CHANNELS) else [f"EEG {k}" for k in range(n_channels)]
        self._streams = (
            eeg_info(path, ch_names=names, sfreq=self.sfreq),
            replace(marker_info(path), desc=self.grid.desc),
        )
        self._n_between = round(BETWEEN * self.sfreq)

    @property
    def duration(self) -> float | None:
        """Length, s."""
        return float(len(self.trials) * (self._n_between + self.trials.shape[2]) / self.sfreq)

    @property
    def warnings(self) -> Sequence[str]:
        """What was done to it."""
        return (
            f"{self._path.name} holds trials that were cut out: between them the stream runs in a "
            "straight line.",
        )

    def blocks(self, *, start: float = 0.0) -> Iterator[Block]:
        """Blocks in order of their end, from `start` (s) on."""
        return cut(self._pieces(start), self.sfreq)

    def close(self) -> None:
        """Nothing is held open."""

    def _pieces(self, start: float) -> Iterator[Piece]:
        length = self._n_between + self.trials.shape[2]
        skip = max(0, int(np.ceil(start * self.sfreq)))
        for k in range(skip // length, len(self.trials)):
            trial = self.trials[k]
            last = self.trials[k - 1][:, -1] if k else trial[:, 0]
            part = np.linspace(0, 1, self._n_between, endpoint=False, dtype=np.float32)
            line = last[:, np.newaxis] + (trial[:, 0] - last)[:, np.newaxis] * part
            data = np.concatenate([line, trial], axis=1).T
            first = k * length
            onset = (first + self._n_between) / self.sfreq
            low = max(0, skip - first)
            events = self._events(k, onset) if low <= self._n_between else ()
            times = (first + np.arange(low, length)) / self.sfreq
            yield Piece(np.ascontiguousarray(data[low:]), times, events)

    def _events(self, k: int, onset: float) -> Sequence[FileEvent]:
        cycle = self.grid.codes.shape[1]
        n_frames = int(self.trials.shape[2] / self.sfreq * FRAME_RATE)
        cue = int(self.targets[k])
        return [
            FileEvent(
                onset + frame / FRAME_RATE,
                LookMarker(k, frame, None if frame else cue).label,
            )
            for frame in range(0, n_frames, cycle)
        ]


def _codes(v: Any, held: int) -> Uint8:
    codes: Uint8 = v[:, ::held].astype(np.uint8)
    return codes


def _read(path: Path) -> dict[str, Any]:
    """Read the arrays, as data only."""
    expected = "expected a NumPy archive of trials (X, y, V, fs)"
    try:
        with open_file(path) as file, array_errors():
            with zipfile.ZipFile(file) as archive:
                names = {item.filename for item in archive.infolist()}
                size = sum(item.file_size for item in archive.infolist())
            missing = [key for key in _KEYS if f"{key}.npy" not in names]
            if missing or size > _LARGEST:
                what = f"has no {missing[0]}" if missing else f"unpacks to {size} bytes"
                raise FileError(f"{path} {what}, {expected}.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as loaded:
                return {key: loaded[key] for key in _KEYS}
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read ({error}), {expected}.") from None
