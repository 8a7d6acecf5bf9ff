"""FIF, EDF/BDF, BrainVision and EEGLAB files, read piece by piece through MNE.

Owns what MNE does not say aloud: a file that is shorter than its header promises is refused here,
where MNE warns or stays silent. Data stays on disk; volts become microvolts here. Events are the
BIDS table's beside the file, else the file's annotations, else its trigger channel.
"""

from __future__ import annotations

import re
import struct
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from configs.units import unit_scale
from devices.errors import FileError
from devices.files.base import (
    BLOCK,
    Block,
    FileBreak,
    FileEvent,
    OfFile,
    Piece,
    block_length,
    cut,
    eeg_info,
    marker_info,
)
from devices.files.bids import Sidecars, read_sidecars
from devices.files.brainvision import channel_units, marker_note, repaired_header, segment_starts
from devices.files.completeness import check_complete
from devices.files.edf import read_header, read_notes
from devices.files.marks import sentences, sort_marks
from devices.files.signal_types import guess_types
from devices.files.timeline import Timeline
from devices.files.triggers import choose, codes_of, is_digital, joined, onsets, runs_of
from pipeline.values import to_float32

_PIECE: Final = 10.0
"""Length of one read, s: long enough that opening the file each time costs nothing."""
# Types whose samples MNE gives in volts.
VOLTS: Final = ("eeg", "eog", "ecg", "emg", "seeg", "ecog", "dbs", "bio")
_LEFT_OUT: Final = ("stim", "syst", "chpi", "exci", "ias")


class MneRecording(OfFile):
    """A file that MNE reads, as a `Recording`.

    Parameters
    ----------
    path : Path
        With `raw`: what it is called.
    raw : mne.io.BaseRaw, optional
        An object that stands for the file; it is read as the FIF file that holds the same.

    Raises
    ------
    FileError
        Unreadable, truncated, empty, or cut into epochs.
    """

    def __init__(self, path: Path, *, raw: Any = None) -> None:
        self._path = path
        suffix = ".fif" if raw is not None else path.suffix.lower()
        self._suffix = ".fif" if path.name.lower().endswith(".fif.gz") else suffix
        self._notes = [] if raw is not None else list(check_complete(path))
        self._raw = self._open(path) if raw is None else raw
        self._edf = read_header(path) if suffix in (".edf", ".bdf") else None
        self._sidecars = Sidecars() if raw is not None else read_sidecars(path)
        names = list(self._raw.ch_names)
        self._said_units, self._factors = self._read_units(names)
        types = self._types(names)
        self._picks = [k for k, name in enumerate(names) if types[name] not in _LEFT_OUT]
        if not self._picks:
            self.close()
            raise FileError(f"{path} holds no EEG channel ({len(names)} others): give another.")
        self._sfreq = float(self._raw.info["sfreq"])
        scales, units = self._units([names[k] for k in self._picks], types)
        self._scale = np.array(scales)[:, None]
        self._check_end()
        self._marks = sort_marks(self._annotations())
        self._timeline = self._make_timeline()
        self._events = self._find_events(types)
        if self._suffix == ".vhdr":
            self._notes += marker_note(path)
        if not self._events:
            self._notes.append(f"{path.name} holds no event.")
        chosen = [names[k] for k in self._picks]
        self._streams = (
            eeg_info(
                path,
                ch_names=chosen,
                sfreq=self._sfreq,
                ch_types=[types[name] for name in chosen],
                ch_units=units,
                positions=self._positions(),
                reference=self._sidecars.reference,
                is_simulated=self._sidecars.is_simulated,
            ),
            marker_info(path),
        )

    @property
    def duration(self) -> float | None:
        """Length, s, pauses included."""
        return self._timeline.duration

    @property
    def measured_at(self) -> datetime | None:
        """When it began; None: the file does not say."""
        found = self._raw.info["meas_date"]
        return found if isinstance(found, datetime) else None

    @property
    def events(self) -> Sequence[FileEvent]:
        """All events, by onset."""
        return self._events

    @property
    def warnings(self) -> Sequence[str]:
        """An unfinished file, bad channels, events outside the data."""
        bads = sorted({*self._raw.info["bads"], *self._sidecars.bads})
        outside = sum(1 for e in self._events if not 0 <= e.onset <= (self.duration or 0.0))
        found = [*self._notes, *sentences(self._marks, self._path.name)]
        pauses = self._timeline.n_pauses - len(self._marks.skips)
        if pauses > 0:
            words = "once; the pause is a gap" if pauses == 1 else f"{pauses} times; each is a gap"
            found.append(f"{self._path.name} pauses {words}.")
        if self._timeline.n_joins:
            n = self._timeline.n_joins
            words = "one place; it is a break" if n == 1 else f"{n} places; each is a break"
            found.append(f"{self._path.name} was put together at {words}.")
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

    def _open(self, path: Path) -> Any:
        try:
            raw, twice = _open(path)
        except FileError as error:
            # A text of EDF+ is UTF-8, but many devices write what their country had before.
            if self._suffix not in (".edf", ".bdf") or not _is_of_letters(error):
                raise
            self._notes.append(f"{path.name} has notes in old letters; they are read as Latin-1.")
            raw, twice = _open(path, encoding="latin1")
        if twice:
            self._notes.append(
                f"{path.name} has several channels of one name, which are numbered here "
                f"({', '.join(twice)}) and have no place on the head: "
                "name the channels with --montage."
            )
        return raw

    def _pieces(self, start: float) -> Iterator[Piece]:
        # A whole number of blocks, so that blocks are equal through the whole file.
        step = round(_PIECE / BLOCK) * block_length(self._sfreq)
        waiting = [e for e in self._events if e.onset >= start or start <= 0]
        refused = [m for m in self._marks.refused if (m.until or 0.0) >= start]
        for number, stretch in enumerate(self._timeline.stretches):
            pause = FileBreak(stretch.at, "The recording paused here.", is_pause=True)
            breaks = [stretch.join or pause] if number else []
            first = stretch.first + max(0, int(np.ceil((start - stretch.at) * self._sfreq - 1e-9)))
            for begin in range(first, stretch.stop, step):
                stop = min(begin + step, stretch.stop)
                since = np.arange(begin - stretch.first, stop - stretch.first)
                high = stretch.at + (stop - stretch.first) / self._sfreq
                samples = to_float32(self._read(self._picks, begin, stop), self._scale).T
                is_last = stop == self._timeline.stretches[-1].stop
                n_due = sum(is_last or event.onset < high for event in waiting)
                breaks += [mark for mark in refused if mark.onset < high]
                refused = [mark for mark in refused if mark.onset >= high]
                yield Piece(
                    np.ascontiguousarray(samples),
                    stretch.at + since / self._sfreq,
                    waiting[:n_due],
                    tuple(breaks),
                )
                waiting, breaks = waiting[n_due:], []

    def _read(self, picks: list[int] | list[str], begin: int, stop: int) -> Any:
        """Samples in volts, shape (n_channels, n_times)."""
        try:
            return self._raw.get_data(picks=picks, start=begin, stop=stop)
        except (OSError, ValueError, RuntimeError, struct.error) as error:
            raise FileError(
                f"{self._path} is truncated or damaged at {begin / self._sfreq:.1f} s of "
                f"{self._raw.n_times / self._sfreq:.1f} s: copy it again from its source."
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

    def _read_units(self, names: list[str]) -> tuple[dict[str, str], dict[str, float]]:
        """Each channel's unit as the file writes it, and what MNE multiplied its values with.

        Empty where MNE reads every unit itself.
        """
        if self._edf is not None:  # MNE leaves a unit that it does not know as it is, unsaid
            factors = self._raw._raw_extras[0]["units"]  # noqa: SLF001 - nowhere else said
            units = [unit for _, unit, _ in self._edf.signals]
            return (
                dict(zip(names, units, strict=True)),
                dict(zip(names, map(float, factors), strict=True)),
            )
        if self._suffix == ".vhdr":
            odd = channel_units(self._path)
            return odd, dict.fromkeys(odd, 1.0)
        return {}, {}

    def _types(self, names: list[str]) -> Mapping[str, str]:
        """MNE's word for each channel's type; the BIDS table's where there is one."""
        own = dict(zip(names, self._raw.get_channel_types(), strict=True))
        if self._suffix != ".fif":
            # MNE takes every signal of these for EEG.
            units = [self._said_units.get(name, "uV") for name in names]
            labels, sensors = names, [""] * len(names)
            if self._edf is not None:
                labels = [label for label, _, _ in self._edf.signals]
                sensors = [sensor for _, _, sensor in self._edf.signals]
            for name, guessed in zip(names, guess_types(labels, units, sensors), strict=True):
                is_odd = own[name] == "misc" and name in self._said_units
                own[name] = guessed if own[name] == "eeg" or is_odd else own[name]
        given = self._sidecars.ch_types or {}
        words = {"TRIG": "stim", "VEOG": "eog", "HEOG": "eog", "REF": "misc", "SYSCLOCK": "syst"}
        known = {"EEG", "EOG", "ECG", "EMG", "MISC", "SEEG", "ECOG", "DBS"}
        for name in names:
            word = given.get(name, "")
            if word in words or word in known:
                own[name] = words.get(word, word.lower())
        return own

    def _units(self, names: list[str], types: Mapping[str, str]) -> tuple[list[float], list[str]]:
        """What MNE's numbers are multiplied with, and the unit that they have then."""
        given, own = self._sidecars.ch_units or {}, self._said_units
        scales, units = [], []
        for name in names:
            if types[name] not in VOLTS:
                scales.append(1.0)
                units.append(own.get(name, "") or given.get(name, "") or "unknown")
            elif name not in own:
                scales.append(1e6)
                units.append("microvolts")
            else:  # as in the file: its word, or what the BIDS table says where it has none
                word = own[name]
                word = word if unit_scale(word) is not None else given.get(name, word)
                scale = unit_scale(word)
                scales.append((1.0 if scale is None else scale) / self._factors[name])
                units.append(word if scale is None else "microvolts")
        return scales, units

    def _annotations(self) -> list[FileEvent]:
        """What the BIDS table notes, else the file; s from the first sample, pauses left out."""
        if self._sidecars.events is not None:
            return list(self._sidecars.events)
        # Annotations count from the start of acquisition, which a cropped file keeps.
        shift = float(self._raw.first_time)
        return [
            FileEvent(float(a["onset"]) - shift, str(a["description"]), float(a["duration"]))
            for a in self._raw.annotations
        ]

    def _make_timeline(self) -> Timeline:
        """Where the samples lie in time; and, for EDF+D, the annotations, which know pauses."""
        n_times = int(self._raw.n_times)
        if self._edf is not None and self._edf.is_interrupted:
            starts, notes = read_notes(self._path, self._edf)
            if self._sidecars.events is None:
                self._marks = sort_marks(notes)
            timeline = Timeline.of_records(starts, self._edf.duration, n_times, self._sfreq)
            joins = [replace(j, onset=timeline.place_of(j.onset)) for j in self._marks.joins]
            return timeline.with_joins(joins)
        timeline = Timeline.whole(n_times, self._sfreq)
        if self._suffix == ".vhdr":
            timeline = timeline.with_pauses(segment_starts(self._path, self._sfreq))
        timeline = timeline.without(self._marks.skips).with_joins(self._marks.joins)
        self._marks.events = [timeline.moved(event) for event in self._marks.events]
        self._marks.refused = [
            replace(m, onset=timeline.time_of(m.onset), until=timeline.time_of(m.until or 0.0))
            for m in self._marks.refused
        ]
        return timeline

    def _find_events(self, types: Mapping[str, str]) -> tuple[FileEvent, ...]:
        events = self._marks.events
        if self._sidecars.events is None:
            lines = [name for name, kind in types.items() if kind == "stim"]
            triggers = [self._timeline.moved(event) for event in self._triggers(lines)]
            # Stimuli are shown again and again; notes that somebody wrote are each of their own.
            are_notes = len({event.label for event in events}) == len(events) < len(triggers)
            if events and triggers:
                taken, left = ("trigger line", "notes") if are_notes else ("notes", "trigger line")
                self._notes.append(
                    f"{self._path.name} has {len(triggers)} events in its trigger line and "
                    f"{len(events)} notes: those of the {taken} are taken, not the {left}."
                )
            events = triggers if are_notes else events
        return tuple(sorted(events, key=lambda event: event.onset))

    def _triggers(self, names: list[str]) -> list[FileEvent]:
        """Onsets of the trigger line that is meant."""
        found: dict[str, list[tuple[int, int]]] = {}
        step = max(1, int(60 * self._sfreq))
        n_times = int(self._raw.n_times)
        for name in names:
            parts: list[list[tuple[int, int, int]]] = []
            for begin in range(0, n_times, step):
                values = self._read([name], begin, min(begin + step, n_times))[0]
                if not is_digital(values):
                    parts = []
                    break
                runs = runs_of(codes_of(name, values))
                parts.append([(code, at + begin, n) for code, at, n in runs])
            found[name] = onsets(joined(parts), self._sfreq)
        chosen, said = choose(found)
        if said:
            self._notes.append(f"{self._path.name}: {said}")
        return [FileEvent(at / self._sfreq, str(code)) for at, code in found.get(chosen or "", [])]

    def _positions(self) -> dict[str, tuple[float, float, float]] | None:
        if self._sidecars.positions:
            return self._sidecars.positions
        found = {}
        for k in self._picks:
            x, y, z = (float(v) for v in self._raw.info["chs"][k]["loc"][:3])
            if np.isfinite([x, y, z]).all() and (x, y, z) != (0.0, 0.0, 0.0):
                found[self._raw.ch_names[k]] = (x, y, z)
        return found or None


def _is_of_letters(error: FileError) -> bool:
    cause = error.__cause__
    return cause is not None and any(
        isinstance(each, UnicodeDecodeError) for each in (cause, cause.__cause__, cause.__context__)
    )


def _numbered(names: Sequence[str]) -> list[str]:
    """Names that MNE made of equal ones: NAME-0, NAME-1, and so on."""
    stems = [re.sub(r"-\d+$", "", name) for name in names]
    first = {f"{stem}-0" for stem in stems} & set(names)
    return [name for name, stem in zip(names, stems, strict=True) if f"{stem}-0" in first]


def _open(path: Path, **how: str) -> tuple[Any, list[str]]:
    """The recording, and the names that MNE numbered since they stand there more than once."""
    import mne

    readers = {
        ".fif": mne.io.read_raw_fif,
        ".gz": mne.io.read_raw_fif,
        ".edf": mne.io.read_raw_edf,
        ".bdf": mne.io.read_raw_bdf,
        ".set": mne.io.read_raw_eeglab,
    }
    try:
        with warnings.catch_warnings(record=True) as said:
            # What matters of them (size, names) is checked here and said in our words.
            warnings.simplefilter("always")
            if path.suffix.lower() == ".vhdr":
                with tempfile.TemporaryDirectory() as folder:
                    header = Path(folder) / path.name
                    header.write_text(repaired_header(path, header.parent), encoding="utf-8")
                    raw = mne.io.read_raw_brainvision(header, preload=False, verbose="WARNING")
            else:
                read = readers[path.suffix.lower()]
                raw = read(path, preload=False, verbose="WARNING", **how)
        is_twice = any("names are not unique" in str(each.message) for each in said)
        return raw, _numbered(raw.ch_names) if is_twice else []
    except Exception as error:
        # MNE raises anything, even AssertionError.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(
            f"{path} cannot be read as {path.suffix.lower()[1:].upper()} ({reason}): copy or "
            "export it again."
        ) from error
