"""The items of a recording, in the order in which they came: what a replay reads.

Owns the choice of a file's streams by role, and how chunks of a file become items. Our own
recordings come back exactly as they arrived: native dtype, raw stamps, clock probes, changes of
state. Other files become one EEG stream and one marker stream. Knows nothing of pace (see
`devices.replay`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from devices.errors import FileError
from devices.files import open_recording
from devices.files.base import Recording
from devices.files.opening import is_xdf
from devices.recorder import decode_state, decode_time
from devices.xdf.index import XdfStream
from devices.xdf.reader import XdfFile, XdfItem, XdfOffset, XdfSamples
from pipeline.values import ClockOffset, Packet, SourceItem, StreamInfo, StreamRole


class Items(Protocol):
    """A recording's items by role."""

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        """Infos of the streams that are replayed."""
        ...

    @property
    def duration(self) -> float | None:
        """Length in s; None: unknown."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """What is damaged, one sentence each."""
        ...

    def items(self, start: float) -> Iterator[SourceItem]:
        """The items from `start` (s from the first EEG sample) on."""
        ...

    def position(self, packet: Packet) -> float:
        """How far from the first EEG sample an EEG packet ends, s."""
        ...

    def recorded_events(self) -> list[dict[str, Any]]:
        """The JSON objects of the events stream."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def open_items(
    path: Path, *, eeg: str | None = None, markers: str | None = None, board: str | None = None
) -> Items:
    """Open a recording of any known format; see `devices.replay.RecordedSource`."""
    return _Xdf(path, eeg, markers) if is_xdf(path) else _Other(path, board)


class _Xdf:
    """Items of an XDF file."""

    def __init__(self, path: Path, eeg: str | None, markers: str | None) -> None:
        self._file = XdfFile(path)
        try:
            self._roles = choose_roles(self._file, eeg, markers)
            self._eeg = next(s for s, role in self._roles.items() if role is StreamRole.EEG)
            self._span = self._file.span(self._eeg)
        except BaseException:
            self._file.close()
            raise
        self._offsets: dict[StreamRole, float] = {}
        self._exact: dict[tuple[StreamRole, str], float] = {}
        self._arrived = 0.0
        self.streams: dict[StreamRole, StreamInfo] = {
            role: self._file.streams[stream_id].info
            for stream_id, role in self._roles.items()
            if role is not StreamRole.EVENTS
        }

    def warnings(self) -> tuple[str, ...]:
        return tuple(
            f"{self._file.path.name}, bytes {d.start} to {d.stop}: {d.reason}."
            for d in self._file.damage
        )

    @property
    def duration(self) -> float | None:
        return None if self._span is None else max(0.0, self._span[1] - self._span[0])

    def position(self, packet: Packet) -> float:
        return 0.0 if self._span is None else float(packet.timestamps[-1]) - self._span[0]

    def items(self, start: float) -> Iterator[SourceItem]:
        first = 0
        if start > 0 and self._span is not None:
            first = self._file.seek(self._span[0] + start, self._eeg)
        self._exact.clear()
        yield from self._probes_before(first)
        for item in self._file.iter_chunks(first, streams=self._roles):
            role = self._roles[item.stream_id]
            if isinstance(item, XdfOffset):
                yield self._probe(role, item)
            elif role is StreamRole.EVENTS:
                for event in _events(item):
                    exact = decode_time(event)
                    if exact is not None:
                        self._exact[exact[:2]] = exact[2]
                    state = decode_state(event)
                    if state is not None:
                        yield state
            elif len(item.timestamps):
                yield self._packet(role, item)

    def recorded_events(self) -> list[dict[str, Any]]:
        events = [s for s, role in self._roles.items() if role is StreamRole.EVENTS]
        series = self._file.load(events)
        parsed = (_parse(line) for one in series.values() for line in one.samples)
        return [event for event in parsed if event is not None]

    def close(self) -> None:
        self._file.close()

    def _packet(self, role: StreamRole, item: XdfSamples) -> Packet:
        samples = item.samples
        if isinstance(samples, tuple):
            # A packet holds one string a sample: of several channels the first is the label.
            samples = tuple(s if isinstance(s, str) else s[0] for s in samples)
        by_stamp = float(item.timestamps[-1]) + self._offsets.get(role, 0.0)
        if not np.isfinite(by_stamp):
            by_stamp = self._arrived
        self._arrived = self._exact.pop((role, "received_at"), by_stamp)
        return Packet(role, samples, item.timestamps, self._arrived)

    def _probe(self, role: StreamRole, item: XdfOffset) -> ClockOffset:
        self._offsets[role] = item.offset
        measured_at = self._exact.pop((role, "measured_at"), item.measured_at)
        return ClockOffset(role, measured_at, item.offset)

    def _probes_before(self, number: int) -> Iterator[SourceItem]:
        """The last probe of each stream before chunk `number`: a start in the middle needs it."""
        for item in self._file.last_offsets(number):
            if item.stream_id in self._roles:
                yield self._probe(self._roles[item.stream_id], item)


class _Other:
    """Items of any other format: one EEG stream, one marker stream, on one clock from 0."""

    def __init__(self, path: Path, board: str | None) -> None:
        self._file: Recording = open_recording(path, board=board)
        roles = (StreamRole.EEG, StreamRole.MARKERS)
        self.streams = dict(zip(roles, self._file.streams, strict=False))
        self._roles = tuple(self.streams)

    def warnings(self) -> tuple[str, ...]:
        return tuple(self._file.warnings)

    @property
    def duration(self) -> float | None:
        return self._file.duration

    def position(self, packet: Packet) -> float:
        return float(packet.timestamps[-1])

    def items(self, start: float) -> Iterator[SourceItem]:
        for role in self._roles:
            yield ClockOffset(role, start, 0.0)
        for block in self._file.blocks(start=start):
            yield Packet(
                self._roles[block.stream], block.samples, block.times, float(block.times[-1])
            )

    def recorded_events(self) -> list[dict[str, Any]]:
        return []

    def close(self) -> None:
        self._file.close()


def choose_roles(
    file: XdfFile, eeg: str | None = None, markers: str | None = None
) -> dict[int, StreamRole]:
    """Which stream of an XDF file plays which role.

    What our recorder noted counts first; then what is asked for by name or source_id; then LSL's
    habits: type `EEG` (or `signal`), type `Markers` (or any type or name that speaks of markers
    or events, or any irregular stream of strings).

    Raises
    ------
    FileError
        There is no EEG, or not the stream that was asked for.
    """
    streams = list(file.streams.values())
    known = set(StreamRole)
    own = {s.stream_id for s in streams if s.role in _REMADE}
    streams = [s for s in streams if s.stream_id not in own]
    noted = {s.stream_id: StreamRole(s.role) for s in streams if s.role in known}
    if StreamRole.EEG in noted.values() and eeg is None and markers is None:
        return noted
    chosen = _pick(streams, eeg, _EEG_RULES, file.path, "EEG")
    if chosen is None:
        found = ", ".join(f"{s.info.name!r} ({s.info.type})" for s in streams) or "no usable stream"
        raise FileError(
            f"{file.path} holds {found}, expected a regular numeric stream of type EEG: give "
            "another file or name the stream."
        )
    roles = {chosen.stream_id: StreamRole.EEG}
    rest = [s for s in streams if s is not chosen and noted.get(s.stream_id) != StreamRole.EVENTS]
    marker = _pick(rest, markers, _MARKER_RULES, file.path, "marker")
    if marker is not None:
        roles[marker.stream_id] = StreamRole.MARKERS
    for stream_id, role in noted.items():
        if role is StreamRole.EVENTS:
            roles[stream_id] = role
    return roles


_REMADE: Final = frozenset({StreamRole.EMBEDDING, StreamRole.QUALITY})
"""Streams of our own that nothing is read back from."""
_Rule = Callable[[StreamInfo], bool]
_EEG_RULES: Final[tuple[_Rule, ...]] = (
    lambda info: info.type.lower() == "eeg" and info.channel_format != "string",
    lambda info: info.type.lower() == "signal" and info.channel_format != "string",
)
_MARKER_RULES: Final[tuple[_Rule, ...]] = (
    lambda info: info.type.lower() == "markers",
    lambda info: "marker" in f"{info.type} {info.name}".lower(),
    lambda info: "event" in f"{info.type} {info.name}".lower(),
    lambda info: info.channel_format == "string" and info.sfreq == 0,
)


def _pick(
    streams: list[XdfStream],
    wanted: str | None,
    rules: tuple[_Rule, ...],
    path: Path,
    what: str,
) -> XdfStream | None:
    if wanted is not None:
        for stream in streams:
            if wanted in (stream.info.name, stream.info.source_id):
                return stream
        names = ", ".join(repr(s.info.name) for s in streams) or "none"
        raise FileError(f"{path} has no {what} stream {wanted!r}, expected one of: {names}.")
    for rule in rules:
        for stream in streams:
            if rule(stream.info):
                return stream
    return None


def _parse(line: Any) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _events(item: XdfItem) -> list[dict[str, Any]]:
    samples = item.samples if isinstance(item, XdfSamples) else ()
    return [event for event in map(_parse, samples) if event is not None]
