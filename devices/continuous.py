"""A recording as one even grid of samples with its events on it, as file formats want it.

Owns the layout: the samples of each run stand next to each other, as the live path's own time base
finds them; lost time between two runs is filled with zeros and named. Everything is in memory (an
export's libraries need it so). Knows nothing of file formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from configs import SourceConfig
from configs.plain import encodable
from configs.units import unit_scale
from devices.boards import COUNTER
from devices.choosing import StreamChoice
from devices.errors import FileError
from devices.replay import RecordedSource
from pipeline.clock import OffsetTracker
from pipeline.ingest import Ingest
from pipeline.markers import MarkerReader
from pipeline.stretches import Stretch
from pipeline.timebase import TimeBase
from pipeline.values import (
    ClockOffset,
    Float32,
    Float64,
    Packet,
    SourceItem,
    StreamInfo,
    StreamRole,
    StreamState,
)
from pipeline.volumes import KIND

_VOLTAGES: Final = ("eeg", "eog", "ecg", "emg", "")
"""Types of channels that `--unit` speaks of."""
LONGEST_FILL: Final = 600.0
"""Lost time beyond this is not filled, s: the recording was two recordings."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """When the samples of a grid were taken: `times` of each run, the local clock, s."""

    sfreq: float
    starts: tuple[int, ...]
    times: tuple[Float64, ...]
    n_times: int

    def sample_at(self, t: float) -> int | None:
        """Return the sample nearest to `t` (local clock, s); None outside of the recording."""
        half = 0.5 / self.sfreq
        runs = list(zip(reversed(self.starts), reversed(self.times), strict=True))
        # A clock that jumped back gives a time twice: one that has samples is meant.
        within = [run for run in runs if run[1][0] - half <= t <= run[1][-1] + half]
        for start, times in within or runs:
            if t >= times[0] - half:
                place = int(np.searchsorted(times, t))
                if place == len(times):
                    # Behind this stretch: within a gap, or between two samples at a seam.
                    sample = start + place - 1 + round((t - float(times[-1])) * self.sfreq)
                    return sample if sample < self.n_times else None
                if place and t - times[place - 1] < times[place] - t:
                    place -= 1
                return start + place
        return None


@dataclass(frozen=True, slots=True)
class GridEvent:
    """An event at a sample; `n_times` samples long (0: a moment)."""

    sample: int
    label: str
    n_times: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Continuous:
    """A recording on a grid.

    Attributes
    ----------
    data : ndarray, shape (n_channels, n_times), float32, microvolts
    ch_names, ch_types : tuple of str
    sfreq : float
        Nominal, Hz.
    events : tuple of GridEvent
        Markers, in order of their samples.
    gaps : tuple of GridEvent
        Lost time (filled with zeros), and stretches whose values were unusable.
    bads : tuple of str
        Channels whose values were unusable for most of the recording.
    n_left_out : int
        Markers without a time, unreadable, or outside of the samples.
    n_filled : int
        Samples of filled gaps.
    warnings : tuple of str
    manufacturer, model, reference : str
        Who made the device, what it is called, and what its voltages are measured against, as the
        recording says.
    is_simulated : bool
        Whether the recording says that no person stands behind it.
    positions : mapping of str to (x, y, z)
        Electrodes in the head's coordinates, m, as the recording has them.
    measured_at : datetime or None
        When it began, as the file says.
    runs : Runs
        Which sample was taken when.
    """

    data: Float32
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    sfreq: float
    events: tuple[GridEvent, ...]
    gaps: tuple[GridEvent, ...]
    n_left_out: int
    n_filled: int
    warnings: tuple[str, ...]
    manufacturer: str = ""
    model: str = ""
    reference: str = ""
    is_simulated: bool = False
    bads: tuple[str, ...] = ()
    positions: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    measured_at: datetime | None = None
    runs: Runs = field(default_factory=lambda: Runs(1.0, (), (), 0))


def read_continuous(
    path: Path, *, choice: StreamChoice | None = None, board: str | None = None
) -> Continuous:
    """Read a recording of any known format onto a grid.

    `choice` says which of its streams, and gives labels and unit of one that does not say them.

    Raises
    ------
    FileError
        It cannot be read, or holds no sample.
    InfoError
        Labels, units or rate are missing.
    """
    choice = choice or StreamChoice()
    recording = RecordedSource(path, board=board, choice=choice)
    try:
        stream = recording.streams[StreamRole.EEG]
        if stream.ch_types and set(stream.ch_types) == {KIND}:
            raise FileError(
                f"{path} holds volumes of fMRI, expected EEG: voxels without a scanner's geometry "
                "have no place in a BIDS data set; give an EEG recording."
            )
        reader = _Reader(
            _with_picks(choice.source, stream),
            stream,
            MarkerReader(recording.streams.get(StreamRole.MARKERS), column=choice.markers.column),
        )
        while items := recording.read(0.0):
            for item in items:
                reader.take(item)
        reader.finish()
        warnings, measured_at = recording.warnings, recording.measured_at
    finally:
        recording.close()
    if not reader.grid.n_times:
        raise FileError(f"{path} holds no EEG sample, expected a recording: give another file.")
    return replace(
        reader.result(warnings),
        manufacturer=stream.manufacturer,
        model=_said(stream.desc, "acquisition", "model"),
        reference=_said(stream.desc, "reference", "label"),
        is_simulated=stream.is_simulated,
        positions=dict(_positions(stream)),
        measured_at=measured_at,
    )


def _said(desc: Mapping[str, Any], *keys: str) -> str:
    """A text of a stream's description; empty where there is none."""
    found: Any = desc
    for key in keys:
        below = found.get(key) if isinstance(found, Mapping) else None
        found = below[0] if isinstance(below, list) and below else None
    return encodable(found).strip() if isinstance(found, str) else ""


def _positions(stream: StreamInfo) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Positions of a stream's channels, which LSL's convention has in mm."""
    channels = stream.desc.get("channels")
    first = channels[0] if isinstance(channels, list) and channels else None
    nodes = first.get("channel") if isinstance(first, Mapping) else None
    if not isinstance(nodes, list) or len(nodes) != len(stream.ch_names):
        return
    for name, node in zip(stream.ch_names, nodes, strict=True):
        try:
            x, y, z = (1e-3 * float(_said(node, "location", axis)) for axis in "XYZ")
        except ValueError:
            continue
        if np.isfinite([x, y, z]).all() and (x, y, z) != (0.0, 0.0, 0.0):
            yield name, (x, y, z)


def _with_picks(source: SourceConfig, stream: StreamInfo) -> SourceConfig:
    """Every channel that is a voltage, not EEG alone; a board's package counter counts."""
    names = source.ch_names or stream.ch_names
    changes: dict[str, object] = {}
    if source.counter_channel is None and COUNTER in names:
        changes["counter_channel"] = COUNTER
    if not source.picks and len(names) == stream.n_channels and len(stream.ch_units) == len(names):
        types = stream.ch_types if len(stream.ch_types) == len(names) else ("eeg",) * len(names)
        said = zip(names, stream.ch_units, types, strict=True)
        volts = tuple(
            name
            for name, unit, kind in said
            if name != COUNTER
            and unit_scale((source.unit if kind.lower() in _VOLTAGES else "") or unit)
        )
        changes["picks"] = volts if len(set(volts)) == len(volts) else ()
    return source.model_copy(update=changes)


@dataclass(slots=True)
class _Grid:
    """Runs next to each other, with the gaps between them."""

    sfreq: float
    blocks: list[Float32] = field(default_factory=list)
    times: list[Float64] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    gaps: list[GridEvent] = field(default_factory=list)
    flags: list[tuple[int, NDArray[np.bool_]]] = field(default_factory=list)
    """Of each block: its first sample, and which values were unusable, (n_times, n_channels)."""
    n_times: int = 0
    n_filled: int = 0

    def add(self, stretch: Stretch) -> None:
        if not len(stretch.timestamps):
            return
        if stretch.is_first and self.times:
            self._fill(float(stretch.timestamps[0]) - float(self.times[-1][-1]))
        self.flags.append((self.n_times, stretch.bad != 0))
        self.starts.append(self.n_times)
        self.blocks.append(stretch.data)
        self.times.append(stretch.timestamps)
        self.n_times += len(stretch.timestamps)

    def _fill(self, elapsed: float) -> None:
        n_lost = max(0, round(elapsed * self.sfreq) - 1)
        if n_lost > LONGEST_FILL * self.sfreq:
            n_lost = 0
        self.gaps.append(GridEvent(self.n_times, "BAD_ACQ_SKIP", n_lost))
        if n_lost:
            self.blocks.append(np.zeros((self.blocks[-1].shape[0], n_lost), np.float32))
            self.n_times += n_lost
            self.n_filled += n_lost

    def runs(self) -> Runs:
        return Runs(self.sfreq, tuple(self.starts), tuple(self.times), self.n_times)

    def hopeless(self) -> NDArray[np.bool_]:
        """Channels whose values were unusable for most of the recording, one flag each."""
        n_times = sum(len(flags) for _, flags in self.flags)
        n_bad = np.sum([flags.sum(axis=0) for _, flags in self.flags], axis=0)
        found = np.asarray(n_bad > 0.5 * n_times)
        return found if not found.all() else np.zeros_like(found)

    def bad_stretches(self, kept: NDArray[np.bool_]) -> list[GridEvent]:
        """Stretches with an unusable value in a channel of `kept`."""
        found = []
        for first, flags in self.flags:
            bad = flags[:, kept].any(axis=1)
            edges = np.flatnonzero(np.diff(bad.astype(np.int8), prepend=0, append=0))
            for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                found.append(GridEvent(first + start, "BAD_values", stop - start))
        return found


class _Reader:
    def __init__(self, source: SourceConfig, eeg: StreamInfo, labels: MarkerReader) -> None:
        self._ingest = Ingest(source, eeg)
        self._info = self._ingest.info
        self._base = TimeBase(
            self._info.sfreq,
            has_counter=self._ingest.has_counter,
            pattern=self._ingest.counter_pattern,
        )
        self._labels = labels
        self._marker_clock = OffsetTracker()
        self._onsets: list[tuple[float, str]] = []
        self._refused: list[tuple[float, float, str]] = []
        self._n_unreadable = 0
        self.grid = _Grid(self._info.sfreq)

    def take(self, item: SourceItem) -> None:
        if isinstance(item, ClockOffset):
            if item.role is StreamRole.EEG:
                self._base.add_probe(item.measured_at, item.offset)
            elif item.role is StreamRole.MARKERS:
                self._marker_clock.add(item.measured_at, item.offset)
        elif isinstance(item, Packet):
            if item.role is StreamRole.EEG:
                self._take_eeg(item)
            elif item.role is StreamRole.MARKERS:
                self._take_markers(item)
        elif item.state is StreamState.RETURNED and item.role is StreamRole.EEG:
            self._add(self._base.restart("the stream came back"))
        elif item.state is StreamState.SOUGHT and item.role is StreamRole.EEG:
            words = "the replay went on elsewhere"
            self._add(self._base.restart(words, may_have_lost=False))
        elif item.state is StreamState.JOINED:
            lost = item.until is not None
            self._add(self._base.restart(item.reason, may_have_lost=lost))
        elif item.state is StreamState.REFUSED and item.until is not None:
            self._refused.append((item.at, item.until, item.reason))

    def finish(self) -> None:
        self._add(self._base.finish())

    def result(self, warnings: tuple[str, ...]) -> Continuous:
        found, n_left_out = [], self._n_unreadable
        runs = self.grid.runs()
        for onset, label in self._onsets:
            sample = runs.sample_at(onset)
            if sample is None:
                n_left_out += 1
            else:
                found.append(GridEvent(sample, label))
        hopeless = self.grid.hopeless()
        names = self._ingest.display_names
        bads = tuple(name for name, bad in zip(names, hopeless, strict=True) if bad)
        if bads:
            warnings = (*warnings, f"Most values of {', '.join(bads)} are unusable: marked bad.")
        gaps = [*self.grid.gaps, *self.grid.bad_stretches(~hopeless)]
        return Continuous(
            bads=bads,
            runs=runs,
            data=np.concatenate(self.grid.blocks, axis=1),
            ch_names=self._ingest.display_names,
            ch_types=self._info.ch_types,
            sfreq=self._info.sfreq,
            events=tuple(sorted(found, key=lambda event: event.sample)),
            gaps=tuple(sorted([*gaps, *self._marked()], key=lambda gap: gap.sample)),
            n_left_out=n_left_out,
            n_filled=self.grid.n_filled,
            warnings=(
                *warnings,
                *(note for note in (self._ingest.note, self._base.counter_note) if note),
            ),
        )

    def _marked(self) -> Iterator[GridEvent]:
        """Stretches that the recording marks as unusable."""
        runs = self.grid.runs()
        for low, high, label in self._refused:
            first, last = runs.sample_at(low), runs.sample_at(high)
            if first is not None:
                last = self.grid.n_times if last is None else last
                yield GridEvent(first, label, max(0, last - first))

    def _take_eeg(self, packet: Packet) -> None:
        block = self._ingest.read(packet)
        self._add(
            self._base.feed(
                block.data, block.stamps, block.flags, block.counts, received_at=packet.received_at
            )
        )

    def _take_markers(self, packet: Packet) -> None:
        onsets = packet.timestamps + self._marker_clock.at(packet.timestamps)
        pairs = zip(onsets.tolist(), self._labels.read(packet), strict=True)
        for onset, (label, problem) in pairs:
            if problem or not label or not np.isfinite(onset):
                self._n_unreadable += 1
            else:
                self._onsets.append((onset, label))

    def _add(self, stretches: list[Stretch]) -> None:
        for stretch in stretches:
            self.grid.add(stretch)
