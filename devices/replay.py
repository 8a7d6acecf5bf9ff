"""A recording as the source of a session: the same items in the same order, at any speed.

Owns the pace of items against a clock that is an argument, and the places where a person goes on
elsewhere in the recording. What the items are is `devices.replay_items`'s. Knows nothing of LSL
outlets (see `devices.player`) or of what is done with the items.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from devices.choosing import StreamChoice
from devices.errors import FileError
from devices.files.base import Recording
from devices.replay_items import open_items
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
_LAST: Final = 1.0
"""A seek goes at most to this before the end, s."""
_LONGEST_WAIT: Final = 5.0
"""A paced replay shortens gaps to this, s: nobody waits an hour for a clock that was reset."""


class RecordedSource:
    """A `pipeline.ports.Source` that reads a recording of any known format.

    Parameters
    ----------
    recording : Path or Recording
        A file of any registered format, or a recording that is open already.
    speed : float, optional
        Times real time; None: as fast as it is read.
    start : float
        Where to start, s from the recording's first EEG sample.
    choice : StreamChoice, optional
        Which of a file's streams to take.
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
        recording: Path | str | Recording,
        *,
        speed: float | None = None,
        start: float = 0.0,
        choice: StreamChoice | None = None,
        board: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        opened = Path(recording) if isinstance(recording, str) else recording
        self.path = opened if isinstance(opened, Path) else opened.path
        if speed is not None and not (np.isfinite(speed) and speed > 0):
            raise FileError(f"speed is {speed}, expected a number above 0: 1 is real time.")
        self._speed = speed
        self._clock = clock
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        # Held while the file is read, so that `close` never unmaps it under a reader.
        self._reading = threading.Lock()
        self._recording = open_items(opened, choice=choice or StreamChoice(), board=board)
        self._loop = False
        # Where to go on; set from any thread, taken by the reader.
        self._sought: float | None = None
        self._position = max(0.0, start)
        # Of the newest EEG sample as it was given, s; stamps are moved by `_shift` after a seek.
        self._newest = -math.inf
        self._shift = 0.0
        self._items = self._play(start)
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
    def position(self) -> float:
        """Where it stands: s from the recording's first EEG sample."""
        sought = self._sought
        return self._position if sought is None else sought

    @property
    def duration(self) -> float | None:
        """Length of the recording, s; None where only reading it to the end would tell."""
        return self._recording.duration

    @property
    def measured_at(self) -> datetime | None:
        """When the recording began, as the file says; None: it does not."""
        return self._recording.measured_at

    @property
    def loop(self) -> bool:
        """Whether it starts again at the end."""
        return self._loop

    def set_loop(self, on: bool) -> None:
        """Start again at the end, or end there."""
        self._loop = on

    def seek(self, seconds: float) -> None:
        """Go on `seconds` after the first EEG sample (kept within the recording).

        Stamps go on without a hole, as if the recording had been cut and joined there; a state
        change `SOUGHT` marks the place. Safe from any thread; an ended replay stays ended.
        """
        longest = math.inf if self.duration is None else max(0.0, self.duration - _LAST)
        self._sought = min(max(0.0, seconds), longest)

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
            self._give(items, item)
        return items

    def _take_due(self) -> list[SourceItem]:
        items: list[SourceItem] = []
        with self._reading:
            if self._sought is not None:
                self._next = None  # fetched, but not due: not wanted any more
            while len(items) < _BATCH and not self._closed.is_set():
                if self._next is None:
                    self._next = next(self._items, None)
                    if self._next is None:
                        break
                    self._advance(self._next)
                if self._due() > self._clock():
                    break
                self._give(items, self._next)
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

    def _play(self, start: float) -> Iterator[SourceItem]:
        """The items, from another place each time one is sought, and an end for every stream."""
        ended: set[StreamRole] = set()
        at = 0.0
        items = self._recording.items(start)
        while True:
            for item in items:
                if self._sought is not None:
                    break
                if isinstance(item, StateChange):
                    if self._loop and item.state is StreamState.ENDED:
                        continue
                    (ended.add if item.state is StreamState.ENDED else ended.discard)(item.role)
                elif isinstance(item, Packet):
                    at = max(at, item.received_at + self._shift)
                yield self._moved(item)
            if self._sought is None and not self._loop:
                break
            sought, self._sought = self._sought or 0.0, None
            items = self._join(sought)
            ended.clear()
            words = f"The replay goes on at {sought:.1f} s."
            yield StateChange(StreamRole.EEG, StreamState.SOUGHT, at, words)
        for role in self.streams:
            if role not in ended:
                yield StateChange(role, StreamState.ENDED, at, "the recording has ended")

    def _join(self, start: float) -> Iterator[SourceItem]:
        """The items from `start` on, moved so that EEG goes on one sample after the newest."""
        items = self._recording.items(start)
        before: list[SourceItem] = []
        for item in items:
            before.append(item)
            if isinstance(item, Packet) and item.role is StreamRole.EEG:
                period = 1.0 / (self.streams[StreamRole.EEG].sfreq or 1.0)
                if math.isfinite(self._newest) and np.isfinite(item.timestamps[0]):
                    self._shift = self._newest + period - float(item.timestamps[0])
                break
        else:
            # Nothing comes from here on: it ends, even where it should loop.
            self._loop = False
        return itertools.chain(before, items)

    def _moved(self, item: SourceItem) -> SourceItem:
        """The item in the time that goes on after a seek."""
        shift = self._shift
        if not shift:
            return item
        if isinstance(item, Packet):
            stamps = item.timestamps + shift
            return replace(item, timestamps=stamps, received_at=item.received_at + shift)
        if isinstance(item, ClockOffset):
            return replace(item, measured_at=item.measured_at + shift)
        until = None if item.until is None else item.until + shift
        return replace(item, at=item.at + shift, until=until)

    def _give(self, items: list[SourceItem], item: SourceItem) -> None:
        """Hand an item on; only what was handed on counts as played."""
        items.append(item)
        if isinstance(item, Packet) and item.role is StreamRole.EEG:
            last = float(item.timestamps[-1])
            if math.isfinite(last):
                self._newest = last
                self._position = self._recording.position(item) - self._shift
