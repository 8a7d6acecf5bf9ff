"""A recording as the source of a session: the same items in the same order, at any speed.

Owns the choice of a file's streams by role, the order of items, and their pace against a clock
that is an argument. Our own recordings come back exactly as they arrived: native dtype, raw
stamps, clock probes, changes of state. Other files become one EEG stream and one marker stream.
Knows nothing of LSL outlets (see `devices.player`) or of what is done with the items.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from devices.errors import FileError
from devices.files import open_recording
from devices.files.base import Recording
from devices.files.opening import is_xdf
from devices.recorder import decode_state, decode_time
from devices.xdf.index import XdfStream
from devices.xdf.reader import XdfFile, XdfItem, XdfOffset, XdfSamples
from pipeline.values import (
    ClockOffset,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)

_BATCH: Final = 64
"""Items of one `read` as fast as possible."""
_LONGEST_WAIT: Final = 5.0
"""A paced replay shortens gaps to this, s: nobody waits an hour for a clock that was reset."""


class RecordedSource:
    """A `pipeline.ports.Source` that reads a recording of any known format.

    Parameters
    ----------
    path : Path
        XDF, FIF, EDF/BDF, BrainVision, EEGLAB, OpenBCI TXT or BrainFlow CSV.
    speed : float, optional
        Times real time; None: as fast as it is read.
    start : float
        Where to start, s from the recording's first EEG sample.
    eeg, markers : str, optional
        Name or source_id of the streams to take, for an XDF file with several.
    board : str, optional
        BrainFlow board of a CSV file that fits several.
    clock : callable
        Monotonic seconds that the pace follows.
    wait : callable, optional
        Waits up to so many seconds, as `threading.Event.wait`; None: until closed.

    Raises
    ------
    FileError
        The file cannot be read or holds no EEG.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        speed: float | None = None,
        start: float = 0.0,
        eeg: str | None = None,
        markers: str | None = None,
        board: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.path = Path(path)
        if speed is not None and not (np.isfinite(speed) and speed > 0):
            raise FileError(f"speed is {speed}, expected a number above 0: 1 is real time.")
        self._speed = speed
        self._clock = clock
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        # Held while the file is read, so that `close` never unmaps it under a reader.
        self._reading = threading.Lock()
        self._recording: _Xdf | _Other = (
            _Xdf(self.path, eeg, markers, start)
            if is_xdf(self.path)
            else _Other(self.path, board, start)
        )
        self._items = self._with_end(self._recording.items())
        self._next: SourceItem | None = None
        self._at: float | None = None
        self._played = 0.0
        self._started: float | None = None

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        """Infos of the streams that are replayed."""
        return self._recording.streams

    @property
    def is_live(self) -> bool:
        """A recording is not the present, at any speed."""
        return False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Damage met so far, and other things to know about the file, one sentence each."""
        return self._recording.warnings()

    def recorded_events(self) -> list[dict[str, Any]]:
        """What the recorded session noted of itself: the JSON objects of its events stream.

        Empty for other programs' files.
        """
        with self._reading:
            return [] if self._closed.is_set() else self._recording.recorded_events()

    def read(self, timeout: float) -> list[SourceItem]:
        """Items that are due, waiting up to `timeout` s for the first; empty when none is."""
        if self._speed is None:
            with self._reading:
                return self._take_batch()
        deadline = self._clock() + timeout
        items = self._take_due()
        while not items and not self._closed.is_set():
            left = deadline - self._clock()
            if left <= 0 or self._next is None:
                break
            self._wait(max(0.0, min(left, self._due() - self._clock())))
            items = self._take_due()
        if not items and self._next is None and not self._closed.is_set():
            self._wait(max(0.0, deadline - self._clock()))
        return items

    def close(self) -> None:
        """Stop and release the file; safe to call twice and from another thread."""
        self._closed.set()
        with self._reading:
            self._recording.close()

    # ------------------------------------------------------------------ pace

    def _take_batch(self) -> list[SourceItem]:
        items: list[SourceItem] = []
        while len(items) < _BATCH and not self._closed.is_set():
            item = next(self._items, None)
            if item is None:
                break
            items.append(item)
        return items

    def _take_due(self) -> list[SourceItem]:
        items: list[SourceItem] = []
        with self._reading:
            while len(items) < _BATCH and not self._closed.is_set():
                if self._next is None:
                    self._next = next(self._items, None)
                    if self._next is None:
                        break
                    self._advance(self._next)
                if self._due() > self._clock():
                    break
                items.append(self._next)
                self._next = None
        return items

    def _advance(self, item: SourceItem) -> None:
        """Move the play head to the item; never back, never far at once."""
        if not isinstance(item, Packet):
            # Probes and states are stamped when they were made, not when they came: they ride on.
            return
        at = item.received_at
        if self._at is None or at < self._at - _LONGEST_WAIT:
            self._at = at
        elif at > self._at:
            self._played += min(at - self._at, _LONGEST_WAIT)
            self._at = at

    def _due(self) -> float:
        if self._started is None:
            self._started = self._clock()
        return self._started + self._played / (self._speed or 1.0)

    def _with_end(self, items: Iterator[SourceItem]) -> Iterator[SourceItem]:
        """The items, then `ENDED` once for each stream that has not said so itself."""
        ended: set[StreamRole] = set()
        at = 0.0
        for item in items:
            if isinstance(item, StateChange):
                (ended.add if item.state is StreamState.ENDED else ended.discard)(item.role)
            elif isinstance(item, Packet):
                at = max(at, item.received_at)
            yield item
        for role in self.streams:
            if role not in ended:
                yield StateChange(role, StreamState.ENDED, at, "the recording has ended")


class _Xdf:
    """Items of an XDF file."""

    def __init__(self, path: Path, eeg: str | None, markers: str | None, start: float) -> None:
        self._file = XdfFile(path)
        try:
            self._roles = choose_roles(self._file, eeg, markers)
            self._first = self._seek(start)
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

    def items(self) -> Iterator[SourceItem]:
        yield from self._probes_before(self._first)
        for item in self._file.iter_chunks(self._first, streams=self._roles):
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

    def _seek(self, start: float) -> int:
        if start <= 0:
            return 0
        eeg = next(s for s, role in self._roles.items() if role is StreamRole.EEG)
        for first in self._file.iter_chunks(streams=(eeg,)):
            if isinstance(first, XdfSamples) and len(first.timestamps):
                return self._file.seek(float(first.timestamps[0]) + start, eeg)
        return 0

    def _probes_before(self, number: int) -> Iterator[SourceItem]:
        """The last probe of each stream before chunk `number`: a start in the middle needs it."""
        for item in self._file.last_offsets(number):
            if item.stream_id in self._roles:
                yield self._probe(self._roles[item.stream_id], item)


class _Other:
    """Items of any other format: one EEG stream, one marker stream, on one clock from 0."""

    def __init__(self, path: Path, board: str | None, start: float) -> None:
        self._file: Recording = open_recording(path, board=board)
        self._start = start
        roles = (StreamRole.EEG, StreamRole.MARKERS)
        self.streams = dict(zip(roles, self._file.streams, strict=False))
        self._roles = tuple(self.streams)

    def warnings(self) -> tuple[str, ...]:
        return tuple(self._file.warnings)

    def items(self) -> Iterator[SourceItem]:
        for role in self._roles:
            yield ClockOffset(role, self._start, 0.0)
        for block in self._file.blocks(start=self._start):
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
