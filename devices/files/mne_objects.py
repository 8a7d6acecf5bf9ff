"""MNE's `Raw` and `Epochs` objects in memory, as recordings.

Owns what a user hands over instead of a file. A `Raw` is read as the same FIF file would be. Each
of the `Epochs` is a gap-free run of its own with its event at time 0; they lie one after the other
on a clock that begins at 0, whatever the original's was: epochs may overlap there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from devices.errors import FileError
from devices.files.base import (
    Block,
    FileBreak,
    FileEvent,
    Piece,
    Recording,
    cut,
    eeg_info,
    marker_info,
)
from devices.files.mne_files import VOLTS, MneRecording
from pipeline.values import StreamInfo, to_float32

_PAUSE: Final = 1.0
"""Between two epochs on the recording's clock, s."""


def is_mne(inst: object) -> bool:
    """Whether an object is one of MNE's that can be read; imports nothing."""
    mne: Any = sys.modules.get("mne")
    return mne is not None and isinstance(inst, mne.io.BaseRaw | mne.BaseEpochs)


def as_recording(inst: Any, *, name: str) -> Recording:
    """Make a recording of an MNE `Raw` or `Epochs` object.

    Raises
    ------
    FileError
        It is neither, or holds no EEG.
    """
    import mne

    if isinstance(inst, mne.io.BaseRaw):
        return MneRecording(Path(name), raw=inst)
    if isinstance(inst, mne.BaseEpochs):
        return EpochsRecording(Path(name), inst)
    raise FileError(
        f"a {type(inst).__name__} was given, expected an MNE Raw or Epochs object: read the file "
        "with MNE first, or give its path to open_recording."
    )


class EpochsRecording:
    """MNE `Epochs` as a `Recording`, one epoch after the other.

    Raises
    ------
    FileError
        No EEG channel, or no epoch.
    """

    def __init__(self, path: Path, epochs: Any) -> None:
        types = epochs.get_channel_types()
        picks = [k for k, kind in enumerate(types) if kind in VOLTS]
        if not picks or not len(epochs):
            raise FileError(
                f"{path} holds {len(epochs)} epochs of {len(picks)} EEG channels, expected some: "
                "give others."
            )
        volts = epochs.get_data(picks=picks, verbose="ERROR")
        # As a recording has them: samples first.
        self._data = np.ascontiguousarray(to_float32(volts.transpose(0, 2, 1), 1e6))
        self._sfreq = float(epochs.info["sfreq"])
        self._before = round(-float(epochs.times[0]) * self._sfreq)
        names = {code: label for label, code in epochs.event_id.items()}
        codes = epochs.events[:, 2].tolist()
        self._labels = [str(names.get(code, code)) for code in codes]
        self.path = path
        eeg = eeg_info(
            path,
            ch_names=[epochs.ch_names[k] for k in picks],
            sfreq=self._sfreq,
            ch_types=[types[k] for k in picks],
        )
        self.streams: Sequence[StreamInfo] = (eeg, marker_info(path))
        bads = ", ".join(epochs.info["bads"])
        self.warnings: Sequence[str] = (f"{path} marks channels as bad: {bads}.",) if bads else ()
        self._every = self._data.shape[1] / self._sfreq + _PAUSE
        self.duration: float | None = len(self._data) * self._every - _PAUSE

    def blocks(self, *, start: float = 0.0) -> Iterator[Block]:
        """Blocks in order of their end, from `start` (s) on."""
        return cut(self._pieces(start), self._sfreq)

    def close(self) -> None:
        """The object is the user's."""

    def _pieces(self, start: float) -> Iterator[Piece]:
        for number, (data, label) in enumerate(zip(self._data, self._labels, strict=True)):
            times = number * self._every + np.arange(len(data)) / self._sfreq
            kept = times >= start - 1e-9
            if not kept.any():
                continue
            onset = number * self._every + self._before / self._sfreq
            events = [FileEvent(onset, label)] if onset >= start or start <= 0 else []
            breaks = [FileBreak(float(times[0]), "Another epoch begins here.")] if number else []
            yield Piece(data[kept], times[kept], events, breaks)
