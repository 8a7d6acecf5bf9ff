"""Recordings of any known format: as one array for training, and as a choice in a dialog.

Owns the joining of blocks, the choice of EEG channels, and how a file is known again; the formats
are `devices.files`'s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from app.errors import AppError
from configs import SessionConfig
from configs.units import unit_scale
from pipeline.values import Epoch, Float32, Outcome, Verdict, to_float32


def file_sha256(path: Path) -> str:
    """SHA-256 of a file; empty where there is none that can be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def person_of(path: Path) -> str | None:
    """Whose a recording is, as its name says (BIDS: `sub-02`); None: it does not say."""
    found = re.findall(r"sub-([A-Za-z0-9]{1,60})", path.as_posix())
    return found[-1] if found else None


def dialog_filter() -> str:
    """Filter of a file dialog: every suffix that a registered reader has."""
    from devices.files.readers import readers

    suffixes = " ".join(f"*{suffix}" for suffix in readers().suffixes)
    return f"Recordings ({suffixes});;All files (*)"


def recordings_below(folder: Path) -> list[Path]:
    """Every file in a folder and its folders whose name a registered reader knows, sorted.

    Raises
    ------
    AppError
        There is none.
    """
    from devices.files.readers import readers

    suffixes = readers().suffixes
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in suffixes)
    if not found:
        raise AppError(
            f"{folder} holds no recording, expected one of {', '.join(sorted(suffixes))}."
        )
    return found


def read_epochs(
    path: Path,
    config: SessionConfig,
    on_refused: Callable[[Verdict], None] = lambda _: None,
) -> Iterator[Epoch]:
    """Cut a recording as a session of these settings would; give the epochs that are usable.

    `on_refused` is told of every other event.

    Raises
    ------
    PhospheneError
        It cannot be read, or does not say enough of itself.
    """
    from devices.choosing import StreamChoice
    from devices.replay import RecordedSource
    from pipeline.live import LivePath

    source = RecordedSource(path, choice=StreamChoice(config.source, config.markers))
    try:
        live = LivePath(config, source.streams)
        while items := source.read(0.0):
            for item in items:
                yield from _usable(live.feed(item), on_refused)
        yield from _usable(live.finish(), on_refused)
    finally:
        source.close()


def _usable(verdicts: Iterable[Verdict], on_refused: Callable[[Verdict], None]) -> Iterator[Epoch]:
    for each in verdicts:
        if each.outcome is Outcome.DECODED and each.epoch is not None:
            yield each.epoch
        else:
            on_refused(each)


def read_microvolts(path: Path) -> Float32:
    """Read the EEG channels of a recording.

    Returns
    -------
    ndarray, shape (n_channels, n_times), float32, microvolts

    Raises
    ------
    AppError
        No EEG channel in a known unit, or no sample.
    """
    from devices.choosing import StreamChoice
    from devices.files.opening import open_recording

    recording = open_recording(path, choice=StreamChoice(must_fit=True))
    try:
        info = recording.streams[0]
        types = info.ch_types or ("eeg",) * info.n_channels
        units = info.ch_units or ("",) * info.n_channels
        eeg = {
            i: unit
            for i, (kind, unit) in enumerate(zip(types, units, strict=True))
            if kind == "eeg"
        }
        if eeg and not any(eeg.values()):
            raise AppError(
                f"{path} gives no unit for its EEG, expected volts, millivolts, microvolts or "
                "nanovolts: put a BIDS channels.tsv with units beside it, or leave it out."
            )
        scales = {i: scale for i, unit in eeg.items() if (scale := unit_scale(unit))}
        samples = [block.samples for block in recording.blocks() if block.stream == 0]
    finally:
        recording.close()
    if not scales or not samples:
        raise AppError(f"{path} has no EEG channel in a known unit: leave it out of the folder.")
    joined = np.concatenate([to_float32(np.asarray(each)) for each in samples])
    scaled = joined[:, list(scales)] * np.array(list(scales.values()), dtype=np.float32)
    return np.ascontiguousarray(scaled.T)
