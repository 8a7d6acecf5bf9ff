"""Any EEG as training signals: a folder of `.npy`, or of recordings through a given reader.

Owns the list of items and the memory-mapped cache; a corpus may be larger than memory. Knows
nothing of file formats but `.npy`: a reader is an argument, so that `models` needs no `devices`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.arrays import array_errors
from configs.guard import check_file
from models.dreamdiffusion.items import pretrain_item
from models.training.draws import Draws, Indices
from models.training.errors import DatasetError

Reader = Callable[[Path], NDArray[Any]]
"""Reads a recording as (n_channels, n_times) microvolts."""


class RecordingFolder:
    """Signals below a folder, mapped into memory file by file.

    A file longer than one window counts once for each whole window in it (the published code
    counts files, each a short segment); the window itself is drawn anew at each visit.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], *, n_channels: int, n_times: int) -> None:
        self._arrays = arrays
        self._shape = (n_channels, n_times)
        counts = [max(1, array.shape[1] // n_times) for array in arrays]
        self._file_of = np.repeat(np.arange(len(arrays)), np.array(counts, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._file_of)

    def split(self, part: int) -> tuple[RecordingFolder, RecordingFolder]:
        """Hold about one window in `part` out: signals to train on, and to validate with.

        No sample is in both: a long file gives its end, of the short ones every `part`-th goes
        whole. (Windows are drawn anywhere in their file, so items of one file overlap.)
        """
        train: list[NDArray[Any]] = []
        held: list[NDArray[Any]] = []
        n_channels, n_times = self._shape
        due = 0
        for array in self._arrays:
            n_windows = max(1, array.shape[1] // n_times)
            if n_windows >= part:
                cut = array.shape[1] - n_windows // part * n_times
                train.append(array[:, :cut])
                held.append(array[:, cut:])
                continue
            due += n_windows
            late = due >= part * n_windows
            due -= part * n_windows if late else 0
            (held if late else train).append(array)
        sizes = {"n_channels": n_channels, "n_times": n_times}
        return RecordingFolder(train, **sizes), RecordingFolder(held, **sizes)

    def batch(self, indices: Indices, draws: Draws) -> Tensor:
        """Signals (n, n_channels, n_times) float32; windows and channel blocks are drawn."""
        n_channels, n_times = self._shape
        made = np.empty((len(indices), n_channels, n_times), dtype=np.float32)
        places = draws.each(self._place)
        for row, (index, (start, first)) in enumerate(zip(indices, places, strict=True)):
            made[row] = pretrain_item(
                self._arrays[self._file_of[index]],
                start=start,
                first_channel=first,
                n_channels=n_channels,
                n_times=n_times,
            )
        return torch.from_numpy(made)

    def _place(self, index: int, generator: torch.Generator) -> tuple[int, int]:
        """Draw an item's first sample and first channel."""
        n_channels, n_times = self._shape
        given = self._arrays[self._file_of[index]].shape
        return _draw(given[1] - n_times, generator), _draw(given[0] - n_channels, generator)


def _draw(room: int, generator: torch.Generator) -> int:
    if room <= 0:
        return 0
    return int(torch.randint(0, room + 1, (1,), generator=generator))


def open_folder(
    folder: Path,
    *,
    n_channels: int,
    n_times: int,
    reader: Reader | None = None,
    suffixes: Sequence[str] = (),
    cache: Path | None = None,
    more: Sequence[Path] = (),
) -> RecordingFolder:
    """Open every signal below a folder, sorted by path.

    Parameters
    ----------
    more : sequence of Path
        Further folders of `.npy`.
    reader, suffixes, cache : optional
        How to read recordings of other formats, which ones, and where their arrays are kept.

    Raises
    ------
    DatasetError
        No signal, or one that is not (n_channels, n_times).
    """
    known = {".npy", *suffixes}
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in known)
    paths += [path for each in more for path in sorted(each.rglob("*.npy"))]
    arrays = [
        _map(path) if path.suffix == ".npy" else _map(_cached(path, reader, cache))
        for path in paths
    ]
    if not arrays:
        raise DatasetError(
            f"{folder} holds no signal, expected {', '.join(sorted(known))} files below it."
        )
    return RecordingFolder(arrays, n_channels=n_channels, n_times=n_times)


def _map(path: Path) -> NDArray[Any]:
    try:
        check_file(path)
        with array_errors():
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} is not an array ({error}): remove it or write it anew."
        ) from None
    if array.ndim != 2 or array.shape[1] < 2 or not np.issubdtype(array.dtype, np.number):
        raise DatasetError(
            f"{path} is {array.dtype} of shape {array.shape}, expected numbers "
            "(n_channels, n_times)."
        )
    return array


def _cached(path: Path, reader: Reader | None, cache: Path | None) -> Path:
    if reader is None or cache is None:
        raise DatasetError(f"{path} needs a reader, and a folder for what it reads.")
    stamp = f"{path.resolve()}:{path.stat().st_size}:{path.stat().st_mtime_ns}"
    target = cache / f"{path.stem}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}.npy"
    if not target.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.save(stream, reader(path).astype(np.float32))
        partial.replace(target)
    return target
