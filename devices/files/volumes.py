"""Recordings of fMRI: a table of betas (samples by voxels), and the events, as NumPy saves them.

Owns the two layouts (docs/fmri.md): one `.npz` with everything, or an `.npy` of betas with a BIDS
event table and its JSON beside it. A sample is a volume each repetition time, or the response to
one event, at its onset. Knows nothing of how it is decoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from configs.guard import TABLE_LIMIT, read_text
from configs.plain import encodable
from devices.errors import FileError
from devices.files.arrays import Arrays, map_array, write_arrays
from devices.files.base import Block, FileEvent, Piece, cut, marker_info
from pipeline.values import Float64, StreamInfo, to_float32
from pipeline.volumes import KIND

MOST_VOXELS: Final = 400_000
"""More than a whole brain at 1.8 mm: a table with more columns is none of voxels."""
TR: Final = (0.05, 60.0)
"""Repetition times that a scanner can have, s."""
_SAME: Final = 1e-6
"""An event this little after a sample is that sample's, s."""
_PIECE: Final = 64
"""Samples that are read at a time."""
_LABEL: Final = ("trial_type", "label", "stimulus", "stim_file", "value")
_ADVICE: Final = "see docs/fmri.md for the format"


@dataclass(frozen=True, slots=True, eq=False)
class Volumes:
    """What a file holds, before it is a stream.

    Attributes
    ----------
    betas : ndarray, shape (n_samples, n_voxels)
        Any kind of number, in `unit`; may be mapped from the disk.
    times : ndarray, shape (n_samples,), float64
        s from the recording's start.
    sfreq : float
        Samples a second: one over the repetition time; 0: responses that come when they come.
    """

    betas: NDArray[Any]
    times: Float64
    sfreq: float
    events: tuple[FileEvent, ...]
    ch_names: tuple[str, ...]
    unit: str = "z"
    is_simulated: bool = False


class VolumesRecording:
    """One file; satisfies `devices.files.base.Recording`."""

    def __init__(self, path: Path, held: Volumes) -> None:
        self.path = path
        self.held = held
        self.streams: Sequence[StreamInfo] = (fmri_info(path.stem, held), marker_info(path))
        self.duration: float | None = float(held.times[-1])
        self.warnings: Sequence[str] = () if held.events else (f"{path.name} holds no event.",)

    def blocks(self, *, start: float = 0.0) -> Iterator[Block]:
        """Blocks of one sample, from `start` (s) on, each event before the sample that holds it."""
        return cut(self._pieces(start), self.held.sfreq or 1.0 / _SAME)

    def _pieces(self, start: float) -> Iterator[Piece]:
        held = self.held
        events = [event for event in held.events if event.onset >= start]
        first = int(np.searchsorted(held.times, start - 1e-9))
        n = _PIECE if held.sfreq else 1  # what has no rate is no block together
        for low in range(first, len(held.times), n):
            part = slice(low, low + n)
            data = to_float32(held.betas[part])
            yield Piece(data, held.times[part], events if low == first else ())

    def close(self) -> None:
        """Nothing is held open but what memory maps."""


def fmri_info(name: str, held: Volumes) -> StreamInfo:
    """Describe voxels as a scanner's stream would."""
    channels = [{"label": [each], "unit": [held.unit], "type": [KIND]} for each in held.ch_names]
    desc: dict[str, Any] = {"channels": [{"channel": channels}]}
    if held.is_simulated:
        desc["simulation"] = [{"file": [name]}]
    n = len(held.ch_names)
    return StreamInfo(
        name=name,
        type="fMRI",
        source_id=f"phosphene-replay-{name}",
        n_channels=n,
        sfreq=held.sfreq,
        channel_format="float32",
        ch_names=held.ch_names,
        ch_units=(held.unit,) * n,
        ch_types=(KIND,) * n,
        desc=desc,
    )


def open_npz(path: Path) -> VolumesRecording:
    """Open an `.npz`: `betas`, `tr` or `times`, `onsets` and `labels`; more is optional.

    Raises
    ------
    FileError
        An array is missing, damaged, or does not fit the others.
    """
    with Arrays(path) as arrays:
        missing = [name for name in ("betas", "onsets", "labels") if name not in arrays.names]
        if missing:
            raise FileError(
                f"{path} has no {' and no '.join(missing)} (it has "
                f"{', '.join(arrays.names[:8]) or 'nothing'}), expected betas (samples by voxels) "
                f"with an event table, onsets (s) and labels, both empty for none: {_ADVICE}."
            )
        betas = _checked_betas(arrays.read("betas"), path)
        onsets = _numbers(arrays, "onsets", path)
        labels = _texts(arrays.read("labels"), path, "labels")
        if len(onsets) != len(labels):
            raise FileError(
                f"{path} has {len(onsets)} onsets and {len(labels)} labels, expected one label an "
                f"onset: {_ADVICE}."
            )
        tr = _scalar(arrays, "tr", path)
        given = _numbers(arrays, "times", path) if "times" in arrays.names else None
        if tr is None and given is None and len(onsets) == len(betas):
            given = onsets
        times, sfreq = _timing(path, len(betas), tr, given)
        names = _names(arrays, betas.shape[1], path)
        unit = _text(arrays, "unit", path) or "z"
        simulated = bool(_scalar(arrays, "simulated", path) or 0)
    events = tuple(FileEvent(float(t), label) for t, label in zip(onsets, labels, strict=True))
    return VolumesRecording(
        path, Volumes(betas, times, sfreq, _sorted(events, path), names, unit[:32], simulated)
    )


def open_npy(path: Path) -> VolumesRecording:
    """Open an `.npy` of betas, with `NAME_events.tsv` and `NAME.json` (BIDS) beside it.

    Raises
    ------
    FileError
        The event table or the repetition time is missing, or does not fit.
    """
    betas = _checked_betas(map_array(path), path)
    table = event_table(path)
    if table is None:
        raise FileError(
            f"{path} has no event table, expected {path.stem}_events.tsv beside it with the "
            f"columns onset (s) and trial_type (no rows for none): {_ADVICE}."
        )
    events = _read_events(table)
    side = _read_side(path.with_suffix(".json"))
    tr = side.get("RepetitionTime")
    if tr is not None and not isinstance(tr, int | float):
        raise FileError(f"{path.with_suffix('.json')} has RepetitionTime {tr!r}, expected seconds.")
    given = None
    if tr is None and len(events) == len(betas):
        given = np.array([event.onset for event in events])
    times, sfreq = _timing(path, len(betas), None if tr is None else float(tr), given)
    names = tuple(f"v{k}" for k in range(betas.shape[1]))
    unit = side.get("Units")
    return VolumesRecording(
        path,
        Volumes(
            betas,
            times,
            sfreq,
            _sorted(events, table),
            names,
            unit[:32] if isinstance(unit, str) else "z",
            side.get("Simulated") is True,
        ),
    )


def event_table(path: Path) -> Path | None:
    """The event table beside an `.npy`; None: there is none."""
    stem = path.stem.removesuffix("_bold").removesuffix("_betas")
    names = dict.fromkeys(f"{each}_events.tsv" for each in (path.stem, stem))
    found = (path.parent / name for name in (*names, f"{path.stem}.tsv"))
    return next((each for each in found if each.is_file()), None)


def write_npz(path: Path, held: Volumes) -> None:
    """Write a recording in the layout that `open_npz` reads.

    Raises
    ------
    FileError
        The file is there already, or cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {
        "labels": np.array([event.label for event in held.events], dtype=np.str_),
        "onsets": np.array([event.onset for event in held.events], dtype=np.float64),
        "unit": np.array(held.unit),
        "simulated": np.array(held.is_simulated),
    }
    if held.sfreq:
        arrays["tr"] = np.array(1.0 / held.sfreq)
    else:
        arrays["times"] = held.times
    if held.ch_names != tuple(f"v{k}" for k in range(len(held.ch_names))):
        arrays["voxels"] = np.array(held.ch_names, dtype=np.str_)
    arrays["betas"] = to_float32(held.betas)
    write_arrays(path, arrays)


def _checked_betas(betas: NDArray[Any], path: Path) -> NDArray[Any]:
    if betas.ndim != 2 or betas.dtype.kind not in "fiu" or not len(betas) or not betas.shape[1]:
        raise FileError(
            f"{path} has betas of shape {betas.shape} and type {betas.dtype}, expected numbers "
            "(n_samples, n_voxels): flatten the volumes by their mask, one row a sample."
        )
    if betas.shape[1] > MOST_VOXELS:
        raise FileError(
            f"{path} has {betas.shape[1]} voxels, expected at most {MOST_VOXELS}: transpose it to "
            "(n_samples, n_voxels), or mask it."
        )
    return betas


def _timing(
    path: Path, n_samples: int, tr: float | None, given: Float64 | None
) -> tuple[Float64, float]:
    """Times of the samples, s, and their rate, Hz (0: none)."""
    if given is None:
        if tr is None or not TR[0] <= tr <= TR[1]:
            said = "no repetition time" if tr is None else f"a repetition time of {tr:g} s"
            raise FileError(
                f"{path} has {said}, expected {TR[0]:g} to {TR[1]:g} s (tr in an .npz, "
                "RepetitionTime in the .json), or a time a sample (times), or as many events as "
                f"samples: {_ADVICE}."
            )
        return np.arange(n_samples, dtype=np.float64) * tr, 1.0 / tr
    if len(given) != n_samples or not np.isfinite(given).all() or (np.diff(given) <= 0).any():
        raise FileError(
            f"{path} has {len(given)} times for {n_samples} samples, expected one a sample, finite "
            f"and increasing, s: {_ADVICE}."
        )
    return given, 0.0


def _numbers(arrays: Arrays, name: str, path: Path) -> Float64:
    array = arrays.read(name)
    if array.ndim != 1 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise FileError(
            f"{path} has {name} of shape {array.shape} and type {array.dtype}, expected finite "
            f"seconds, one a row: {_ADVICE}."
        )
    return array.astype(np.float64)


def _scalar(arrays: Arrays, name: str, path: Path) -> float | None:
    if name not in arrays.names:
        return None
    array = arrays.read(name)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise FileError(f"{path} has {name} of shape {array.shape}, expected one number.")
    return float(array.reshape(-1)[0])


def _texts(array: NDArray[Any], path: Path, name: str) -> list[str]:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "Uiu" or array.ndim > 1 or not (array.ndim or array.size):
        raise FileError(
            f"{path} has {name} of shape {array.shape} and type {array.dtype}, expected text: "
            f"{_ADVICE}."
        )
    return [encodable(str(each)) for each in array.reshape(-1).tolist()]


def _text(arrays: Arrays, name: str, path: Path) -> str:
    """One text; empty where there is none."""
    if name not in arrays.names:
        return ""
    found = _texts(arrays.read(name), path, name)
    if len(found) != 1:
        raise FileError(f"{path} has {len(found)} texts for {name}, expected one: {_ADVICE}.")
    return found[0]


def _names(arrays: Arrays, n_voxels: int, path: Path) -> tuple[str, ...]:
    if "voxels" not in arrays.names:
        return tuple(f"v{k}" for k in range(n_voxels))
    names = tuple(_texts(arrays.read("voxels"), path, "voxels"))
    if len(names) != n_voxels or len(set(names)) != n_voxels:
        raise FileError(
            f"{path} has {len(set(names))} different names (voxels) for {n_voxels} voxels, "
            "expected one a voxel: leave them out, or mend them."
        )
    return names


def _read_events(table: Path) -> list[FileEvent]:
    """The rows of a BIDS event table."""
    try:
        lines = read_text(table, limit=TABLE_LIMIT, encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise FileError(f"{table} cannot be read as an event table ({error}).") from None
    if not any(map(str.strip, lines)):
        raise FileError(
            f"{table} is empty, expected a line with the columns onset (s) and trial_type, then a "
            f"row an event (none for none): {_ADVICE}."
        )
    head, *rows = lines
    columns = [word.strip() for word in head.split("\t")]
    label = next((name for name in _LABEL if name in columns), "")
    if "onset" not in columns or not label:
        raise FileError(
            f"{table} has the columns {', '.join(columns[:8])}, expected onset (s) and trial_type, "
            "with tabs between, as BIDS has them."
        )
    at, what = columns.index("onset"), columns.index(label)
    events = []
    for number, row in enumerate(rows, start=2):
        words = row.split("\t")
        try:
            onset = float(words[at])
            if not np.isfinite(onset):
                raise ValueError("not finite")
            events.append(FileEvent(onset, words[what].strip()))
        except (IndexError, ValueError):
            if row.strip():
                raise FileError(
                    f"{table}, row {number}, is {row[:60]!r}, expected an onset in seconds and a "
                    f"{label}: mend the row or take it out."
                ) from None
    return events


def _read_side(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{path} cannot be read as JSON ({error}): mend it or remove it.") from None
    return found if isinstance(found, dict) else {}


def _sorted(events: Sequence[FileEvent], path: Path) -> tuple[FileEvent, ...]:
    if any(event.onset < 0 for event in events):
        raise FileError(f"{path} has an onset before 0, expected s from the first sample.")
    return tuple(sorted(events, key=lambda event: event.onset))
