"""FIF, EDF/BDF, BrainVision and EEGLAB files, read piece by piece through MNE.

Owns what MNE does not say aloud: a file that is shorter than its header promises is refused here,
where MNE warns or stays silent. Data stays on disk; volts become microvolts here. Events are the
BIDS table's beside the file, else the file's annotations, else its trigger channel.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from devices.errors import FileError
from devices.files.base import (
    BLOCK,
    Block,
    FileEvent,
    Piece,
    block_length,
    cut,
    eeg_info,
    marker_info,
)
from devices.files.bids import read_sidecars
from devices.files.completeness import check_complete
from pipeline.values import StreamInfo

_PIECE: Final = 10.0
"""Length of one read, s: long enough that opening the file each time costs nothing."""
# Types whose samples MNE gives in volts.
_VOLTS: Final = ("eeg", "eog", "ecg", "emg", "seeg", "ecog", "dbs", "bio")
_LEFT_OUT: Final = ("stim", "syst", "chpi", "exci", "ias")


class MneRecording:
    """A file that MNE reads, as a `Recording`.

    Raises
    ------
    FileError
        Unreadable, truncated, empty, or cut into epochs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notes = check_complete(path)
        self._raw = _open(path)
        self._sidecars = read_sidecars(path)
        names = list(self._raw.ch_names)
        types = self._types(names)
        self._picks = [k for k, name in enumerate(names) if types[name] not in _LEFT_OUT]
        if not self._picks:
            self.close()
            raise FileError(f"{path} holds no EEG channel ({len(names)} others): give another.")
        self._sfreq = float(self._raw.info["sfreq"])
        # MNE gives volts, whatever the file held.
        self._scale = np.array([1e6 if types[names[k]] in _VOLTS else 1.0 for k in self._picks])[
            :, None
        ]
        self._check_end()
        self._events = self._find_events(types)
        chosen = [names[k] for k in self._picks]
        self._streams = (
            eeg_info(
                path,
                ch_names=chosen,
                sfreq=self._sfreq,
                ch_types=[types[name] for name in chosen],
                ch_units=["microvolts" if s == 1e6 else "unknown" for s in self._scale[:, 0]],
                positions=self._positions(),
                is_simulated=self._sidecars.is_simulated,
            ),
            marker_info(path),
        )

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def streams(self) -> Sequence[StreamInfo]:
        """EEG and markers."""
        return self._streams

    @property
    def duration(self) -> float | None:
        """Length, s."""
        return float(self._raw.n_times / self._sfreq)

    @property
    def events(self) -> Sequence[FileEvent]:
        """All events, by onset."""
        return self._events

    @property
    def warnings(self) -> Sequence[str]:
        """An unfinished file, bad channels, events outside the data."""
        bads = sorted({*self._raw.info["bads"], *self._sidecars.bads})
        outside = sum(1 for e in self._events if not 0 <= e.onset <= (self.duration or 0.0))
        found = [*self._notes]
        if bads:
            found.append(f"{self._path.name} marks channels as bad: {', '.join(bads)}.")
        if outside:
            found.append(f"{self._path.name} has {outside} events outside of its data.")
        return tuple(found)

    def blocks(self, *, start: float = 0.0) -> Iterator[Block]:
        """Blocks in order of their end, from `start` (s) on."""
        return cut(self._pieces(start), self._sfreq)

    def close(self) -> None:
        """Release the file."""
        self._raw.close()

    def _pieces(self, start: float) -> Iterator[Piece]:
        first = max(0, int(np.ceil(start * self._sfreq - 1e-9)))
        # A whole number of blocks, so that blocks are equal through the whole file.
        step = round(_PIECE / BLOCK) * block_length(self._sfreq)
        n_times = int(self._raw.n_times)
        for begin in range(first, n_times, step):
            stop = min(begin + step, n_times)
            volts = self._read(self._picks, begin, stop)
            end = np.inf if stop == n_times else stop / self._sfreq
            low = begin / self._sfreq
            yield Piece(
                np.ascontiguousarray((volts * self._scale).T, dtype=np.float32),
                np.arange(begin, stop) / self._sfreq,
                [e for e in self._events if low <= e.onset < end or (begin == 0 and e.onset < 0)],
            )

    def _read(self, picks: list[int] | list[str], begin: int, stop: int) -> Any:
        """Samples in volts, shape (n_channels, n_times)."""
        try:
            return self._raw.get_data(picks=picks, start=begin, stop=stop)
        except (OSError, ValueError, RuntimeError, struct.error) as error:
            raise FileError(
                f"{self._path} is truncated or damaged at {begin / self._sfreq:.1f} s of "
                f"{self.duration:.1f} s: copy it again from its source."
            ) from error

    def _check_end(self) -> None:
        """Read the last sample: a header is whole where the data behind it may not be."""
        n_times = int(self._raw.n_times)
        try:
            if n_times == 0:
                raise FileError(f"{self._path} holds no sample, expected a recording.")
            self._read(self._picks, n_times - 1, n_times)
        except FileError:
            self.close()
            raise

    def _types(self, names: list[str]) -> Mapping[str, str]:
        """MNE's word for each channel's type; the BIDS table's where there is one."""
        own = dict(zip(names, self._raw.get_channel_types(), strict=True))
        given = self._sidecars.ch_types or {}
        words = {"TRIG": "stim", "VEOG": "eog", "HEOG": "eog", "REF": "misc", "SYSCLOCK": "syst"}
        known = {"EEG", "EOG", "ECG", "EMG", "MISC", "SEEG", "ECOG", "DBS"}
        for name in names:
            word = given.get(name, "")
            if word in words or word in known:
                own[name] = words.get(word, word.lower())
        return own

    def _find_events(self, types: Mapping[str, str]) -> tuple[FileEvent, ...]:
        if self._sidecars.events is not None:
            events: Sequence[FileEvent] = self._sidecars.events
        else:
            notes = self._raw.annotations
            # Annotations count from the recording's start, or from its first kept sample.
            shift = self._raw.first_time if notes.orig_time is not None else 0.0
            events = [
                FileEvent(float(a["onset"]) - shift, str(a["description"]), float(a["duration"]))
                for a in notes
            ] or self._triggers([n for n, kind in types.items() if kind == "stim"])
        return tuple(sorted(events, key=lambda event: event.onset))

    def _triggers(self, names: list[str]) -> list[FileEvent]:
        """Onsets of the trigger channel: where its value changes to something else than 0."""
        events: list[FileEvent] = []
        if not names:
            return events
        before, step = 0, max(1, int(60 * self._sfreq))
        # BioSemi's status channel holds the trigger in its lower 16 bits.
        mask = 0xFFFF
        for begin in range(0, int(self._raw.n_times), step):
            stop = min(begin + step, int(self._raw.n_times))
            values = self._read(names[-1:], begin, stop)[0]
            codes = np.round(np.nan_to_num(values)).astype(np.int64) & mask
            previous = np.concatenate([[before if begin else codes[0]], codes[:-1]])
            for k in np.flatnonzero((codes != previous) & (codes != 0)).tolist():
                events.append(FileEvent((begin + k) / self._sfreq, str(codes[k])))
            before = int(codes[-1])
        return events

    def _positions(self) -> dict[str, tuple[float, float, float]] | None:
        if self._sidecars.positions:
            return self._sidecars.positions
        found = {}
        for k in self._picks:
            x, y, z = (float(v) for v in self._raw.info["chs"][k]["loc"][:3])
            if np.isfinite([x, y, z]).all() and (x, y, z) != (0.0, 0.0, 0.0):
                found[self._raw.ch_names[k]] = (x, y, z)
        return found or None


def _open(path: Path) -> Any:
    import mne

    readers = {
        ".fif": mne.io.read_raw_fif,
        ".gz": mne.io.read_raw_fif,
        ".edf": mne.io.read_raw_edf,
        ".bdf": mne.io.read_raw_bdf,
        ".vhdr": mne.io.read_raw_brainvision,
        ".set": mne.io.read_raw_eeglab,
    }
    try:
        with warnings.catch_warnings():
            # What matters of them (size, names) is checked here and said in our words.
            warnings.simplefilter("ignore")
            return readers[path.suffix.lower()](path, preload=False, verbose="ERROR")
    except Exception as error:
        # MNE raises anything, even AssertionError.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(
            f"{path} cannot be read as {path.suffix.lower()[1:].upper()} ({reason}): copy or "
            "export it again."
        ) from error
