"""The items of a recording, in the order in which they came: what a replay reads.

Owns the choice of a file's streams by role, and how chunks of a file become items. Our own
recordings come back exactly as they arrived: native dtype, raw stamps, clock probes, changes of
state. Other files become one EEG stream and one marker stream. Knows nothing of pace (see
`devices.replay`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from devices.choosing import StreamChoice, choose_streams
from devices.files import open_recording
from devices.files.base import Dated, Recording
from devices.files.formats import XDF
from devices.files.xdf import streams_of
from devices.recorder import decode_state, decode_time
from devices.xdf.reader import XdfFile, XdfItem, XdfOffset, XdfSamples
from pipeline.markers import as_text, join_columns
from pipeline.values import (
    ClockOffset,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)


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

    @property
    def measured_at(self) -> datetime | None:
        """When it began; None: the file does not say."""
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
    recording: Path | Recording, *, choice: StreamChoice, board: str | None = None
) -> Items:
    """Open a recording of any known format; see `devices.replay.RecordedSource`."""
    if isinstance(recording, Recording):
        return _Other(recording)
    if XDF.suits(recording):
        return _Xdf(recording, choice)
    return _Other(open_recording(recording, board=board, choice=choice))


class _Xdf:
    """Items of an XDF file."""

    def __init__(self, path: Path, choice: StreamChoice) -> None:
        self._file = XdfFile(path)
        try:
            self._roles, self._notes = choose_roles(self._file, choice)
            self._eeg = next(s for s, role in self._roles.items() if role is StreamRole.EEG)
            self._span = self._file.span(self._eeg)
        except BaseException:
            self._file.close()
            raise
        self._offsets: dict[StreamRole, float] = {}
        self._exact: dict[tuple[StreamRole, str], float] = {}
        self._arrived = 0.0
        self.streams: dict[StreamRole, StreamInfo] = {
            role: as_text(info) if info.channel_format == "string" else info
            for stream_id, role in self._roles.items()
            if role is not StreamRole.EVENTS
            for info in (self._file.streams[stream_id].info,)
        }

    def warnings(self) -> tuple[str, ...]:
        damage = (
            f"{self._file.path.name}, bytes {d.start} to {d.stop}: {d.reason}."
            for d in self._file.damage
        )
        return (*self._notes, *damage)

    @property
    def measured_at(self) -> datetime | None:
        return self._file.created

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
            samples = tuple(s if isinstance(s, str) else join_columns(s) for s in samples)
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

    def __init__(self, recording: Recording) -> None:
        self._file = recording
        roles = (StreamRole.EEG, StreamRole.MARKERS)
        self.streams = dict(zip(roles, self._file.streams, strict=False))
        self._roles = tuple(self.streams)

    def warnings(self) -> tuple[str, ...]:
        return tuple(self._file.warnings)

    @property
    def measured_at(self) -> datetime | None:
        return self._file.measured_at if isinstance(self._file, Dated) else None

    @property
    def duration(self) -> float | None:
        return self._file.duration

    def position(self, packet: Packet) -> float:
        return float(packet.timestamps[-1])

    def items(self, start: float) -> Iterator[SourceItem]:
        for role in self._roles:
            yield ClockOffset(role, start, 0.0)
        for block in self._file.blocks(start=start):
            for mark in block.breaks:
                state = StreamState.JOINED if mark.until is None else StreamState.REFUSED
                until = mark.onset if mark.is_pause else mark.until
                yield StateChange(StreamRole.EEG, state, mark.onset, mark.reason, until)
            yield Packet(
                self._roles[block.stream], block.samples, block.times, float(block.times[-1])
            )

    def recorded_events(self) -> list[dict[str, Any]]:
        return []

    def close(self) -> None:
        self._file.close()


def choose_roles(file: XdfFile, choice: StreamChoice) -> tuple[dict[int, StreamRole], list[str]]:
    """Which stream of an XDF file plays which role, and what to say of the choice.

    Raises
    ------
    FileError
        There is no EEG, several streams fit, or not the one that was asked for.
    """
    streams = streams_of(file)
    chosen = choose_streams(streams, choice, file.path)
    roles = {chosen.eeg.number: StreamRole.EEG}
    if chosen.markers is not None:
        roles[chosen.markers.number] = StreamRole.MARKERS
    roles |= {s.number: StreamRole.EVENTS for s in streams if s.role == StreamRole.EVENTS}
    return roles, list(chosen.notes)


def _parse(line: Any) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _events(item: XdfItem) -> list[dict[str, Any]]:
    samples = item.samples if isinstance(item, XdfSamples) else ()
    return [event for event in map(_parse, samples) if event is not None]
