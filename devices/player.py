"""Plays a recording over LSL as if a headset sent it: right labels, right rate, honest stamps.

Owns outlets and an absolute schedule: the sample at time `t` of the file is stamped
`t0 + t / speed` and pushed when that time has come, so that stamps never lie in the future and
nothing drifts, however long it plays; a pause or a seek moves `t0`. Reads piece by piece. Knows
nothing of sessions; replaying a file into a session without LSL is `devices.replay`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pylsl

from configs.units import unit_scale
from devices.choosing import StreamChoice, has_id, is_own_events
from devices.errors import FileError
from devices.files import Block, open_recording
from devices.files.base import FileBreak, Recording
from devices.lsl.outlet import EegOutlet, Outlet
from pipeline.ingest import as_electrodes
from pipeline.markers import columns_of
from pipeline.values import Float64, StreamInfo

_LEAD: Final = 0.05
"""Between the outlets' birth and the first sample, s."""
_REACTION: Final = 0.05
"""Within what time a pause, a seek or the end is obeyed, s."""
_JOIN: Final = 0.5
"""Where a recording was put together the player pauses so long, s, for a receiver to see it."""
_LONGEST_PAUSE: Final = 60.0
"""A recording's pause is played as this at most, s."""
_DRAIN: Final = 0.3
"""What receivers get to fetch the last samples before the outlets close, s."""


@dataclass(slots=True)
class _Anchor:
    """What of the recording is stamped how: its time `at` (s) is `stamp` on LSL's clock (s)."""

    stamp: float
    at: float

    def stamp_of(self, t: float, speed: float) -> float:
        return self.stamp + (t - self.at) / speed


class TextOutlet(Outlet):
    """Publishes strings, one a sample and column."""

    def push(self, text: str, timestamp: float) -> None:
        """Send one sample, columns with tabs between, stamped `timestamp` (`local_clock` s)."""
        n = self.info.n_channels
        row = [text] if n == 1 else [*text.split("\t"), *[""] * n][:n]
        self._push(row, timestamp)


class Player:
    """Publishes a recording's streams.

    Parameters
    ----------
    recording : Path or Recording
        Any format that `devices.files` reads, or a recording that is open already.
    speed : float
        Times real time; the published rate is the file's times `speed`.
    loop : bool
        Start again at the end, with stamps that go on.
    start : float
        Where to start, s.
    choice : StreamChoice, optional
        Which of a file's streams to play; None: all.
    source_id : str, optional
        Of the EEG as published; the other streams' follow from it. None: the file's own, or from
        the file's name.
    board : str, optional
        As `open_recording`.
    clock : callable
        LSL's clock, s.

    Raises
    ------
    FileError
        The file cannot be played, or `speed` or `start` make no sense.
    """

    def __init__(
        self,
        recording: Path | str | Recording,
        *,
        speed: float = 1.0,
        loop: bool = False,
        start: float = 0.0,
        source_id: str | None = None,
        choice: StreamChoice | None = None,
        board: str | None = None,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        if not (np.isfinite(speed) and speed > 0):
            raise FileError(f"speed is {speed}, expected a number above 0: 1 is real time.")
        if not (np.isfinite(start) and start >= 0):
            raise FileError(f"start is {start} s, expected 0 or more.")
        self._speed, self._loop, self._start, self._clock = speed, loop, start, clock
        self._recording = (
            recording
            if isinstance(recording, Recording)
            else open_recording(recording, board=board, choice=choice)
        )
        duration = self._recording.duration
        if duration is not None and start >= duration:
            self._recording.close()
            raise FileError(
                f"start is {start:g} s, expected less than the {duration:g} s of "
                f"{self._recording.path}."
            )
        if source_id is not None and has_id(self._recording.streams[0], source_id):
            source_id = None  # it chose a stream of the file, which keeps its own
        # Our own old decisions are no stream of the headset: they stay in the file.
        chosen = [
            (k, info) for k, info in enumerate(self._recording.streams) if not is_own_events(info)
        ]
        first = next((k for k, info in chosen if info.type == "Markers"), -1)
        self._played = {
            k: _published(info, number, source_id, speed, is_markers=k == first)
            for number, (k, info) in enumerate(chosen)
        }
        self._outlets: dict[int, EegOutlet | TextOutlet] = {}
        self._position = start
        self._n_laps = self._n_events = 0
        self._has_no_event = False
        self._paused = False
        self._sought: float | None = None
        for k, info in self._played.items():
            self._outlets[k] = (
                TextOutlet(info) if info.channel_format == "string" else EegOutlet(info)
            )

    @property
    def streams(self) -> Sequence[StreamInfo]:
        """What is published."""
        return tuple(outlet.info for outlet in self._outlets.values())

    @property
    def duration(self) -> float | None:
        """Length of the recording, s; None where only reading it would tell."""
        return self._recording.duration

    @property
    def position(self) -> float:
        """Time of the newest sample pushed, s from the recording's start."""
        return self._position

    @property
    def n_laps(self) -> int:
        """How often the end was reached."""
        return self._n_laps

    @property
    def warnings(self) -> Sequence[str]:
        """What to know about the file, one sentence each."""
        info = self._recording.streams[0]
        types = info.ch_types or ("eeg",) * len(info.ch_names)
        units = info.ch_units or ("",) * len(info.ch_names)
        named = zip(info.ch_names, types, units, strict=False)
        eeg = {name: unit for name, kind, unit in named if kind.lower() == "eeg"}
        found = [*self._recording.warnings, as_electrodes(tuple(eeg))[1]]
        unknown = [name for name, unit in eeg.items() if unit_scale(unit) is None]
        if unknown:
            more = f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
            found.append(
                f"{self._recording.path.name} gives no readable unit for "
                f"{', '.join(unknown[:4])}{more}: give --unit to what reads the stream."
            )
        if self._has_no_event and not any("no event" in sentence for sentence in found):
            found.append(f"{self._recording.path.name} holds no event.")
        return tuple(sentence for sentence in found if sentence)

    def wait_for_consumers(self, timeout: float, stop: threading.Event) -> bool:
        """Wait until somebody reads the EEG; True when so before `timeout` s or `stop`."""
        outlet = next(iter(self._outlets.values()))
        deadline = self._clock() + timeout
        while not stop.is_set() and self._clock() < deadline:
            if outlet.wait_for_consumers(min(0.2, max(0.0, deadline - self._clock()))):
                return True
        return False

    @property
    def is_paused(self) -> bool:
        """Whether it stands still."""
        return self._paused

    def pause(self, paused: bool = True) -> None:
        """Stand still, or go on, from any thread; a receiver sees a stream that stalls."""
        self._paused = paused

    def seek(self, t: float) -> None:
        """Go on at `t` (s of the recording), from any thread; beyond the end is the end."""
        self._sought = max(0.0, t) if np.isfinite(t) else None

    def play(self, stop: threading.Event, *, on_push: Callable[[], object] | None = None) -> None:
        """Play to the end, or until `stop`; blocks. `on_push` is called after every block.

        Raises
        ------
        FileError
            There is nothing after `start`.
        """
        anchor = _Anchor(self._clock() + _LEAD, self._start)
        while not stop.is_set():
            end = self._play_from(anchor, stop, on_push or (lambda: None))
            if self._sought is not None:
                anchor, self._sought = _Anchor(self._clock(), self._sought), None
                continue
            self._n_laps += 1
            # Played from its start to its end: only then is it known of every format.
            self._has_no_event = not self._n_events and self._start <= 0
            if not self._loop:
                stop.wait(_DRAIN)
                return
            follows = anchor.stamp + (end - anchor.at) / self._speed
            anchor = _Anchor(follows if np.isfinite(end) else self._clock(), self._start)

    def close(self) -> None:
        """Withdraw the streams and release the file; safe to call twice."""
        for outlet in self._outlets.values():
            outlet.close()
        self._recording.close()

    def _play_from(
        self, anchor: _Anchor, stop: threading.Event, on_push: Callable[[], object]
    ) -> float:
        """Play to the end, `stop` or a seek; where it got to, s: a period after the last sample."""
        end = -np.inf
        refused: list[FileBreak] = []
        for block in self._blocks(anchor.at):
            anchor.stamp += self._break_before(block, end, refused) / self._speed
            while not self._wait_until(anchor.stamp_of(float(block.times[-1]), self._speed), stop):
                if stop.is_set() or self._sought is not None:
                    return float(end)
                anchor.stamp += self._stand_still(stop)
            stamps: Float64 = anchor.stamp + (block.times - anchor.at) / self._speed
            self._push(_without(block, refused), stamps)
            self._position = float(block.times[-1])
            sfreq = self._recording.streams[block.stream].sfreq
            end = max(end, self._position + (1.0 / sfreq if sfreq else 0.0))
            on_push()
        if not np.isfinite(end) and anchor.at == self._start:
            raise FileError(
                f"{self._recording.path} has no sample after {self._start:g} s: start earlier."
            )
        return float(end)

    def _break_before(self, block: Block, end: float, refused: list[FileBreak]) -> float:
        """By how much the time after a break is moved, s; stretches that begin are noted."""
        moved = 0.0
        for mark in block.breaks:
            if mark.until is None:
                moved += _JOIN if np.isfinite(end) and not mark.is_pause else 0.0
            else:
                refused.append(mark)
        pause = float(block.times[0]) - end
        return moved - (pause - _LONGEST_PAUSE if _LONGEST_PAUSE < pause < np.inf else 0.0)

    def _blocks(self, start: float) -> Iterator[Block]:
        return (b for b in self._recording.blocks(start=start) if b.stream in self._outlets)

    def _wait_until(self, t: float, stop: threading.Event) -> bool:
        """Wait for LSL's clock to reach `t`; False when something came between."""
        while not (stop.is_set() or self._paused or self._sought is not None):
            left = t - self._clock()
            if left <= 0:
                return True
            stop.wait(min(left, _REACTION))
        return False

    def _stand_still(self, stop: threading.Event) -> float:
        """Wait out a pause; how long it took, s."""
        began = self._clock()
        while self._paused and self._sought is None and not stop.wait(_REACTION):
            pass
        return self._clock() - began

    def _push(self, block: Block, stamps: Float64) -> None:
        outlet = self._outlets[block.stream]
        if isinstance(outlet, EegOutlet):
            outlet.push(block.samples, stamps)
            return
        self._n_events += len(block.samples)
        for text, stamp in zip(block.samples, stamps.tolist(), strict=True):
            outlet.push(text, stamp)


def _without(block: Block, refused: list[FileBreak]) -> Block:
    """The block with no values where the recording marks them as unusable: LSL knows no marks."""
    if not refused or isinstance(block.samples, tuple):
        return block
    bad = np.zeros(len(block.times), dtype=bool)
    for mark in refused:
        bad |= (block.times >= mark.onset) & (block.times < (mark.until or 0.0))
    if not bad.any() or not np.issubdtype(block.samples.dtype, np.floating):
        return block
    return replace(block, samples=np.where(bad[:, np.newaxis], np.nan, block.samples))


def _published(
    info: StreamInfo, number: int, source_id: str | None, speed: float, *, is_markers: bool
) -> StreamInfo:
    """The stream as it is published: its own description, our source_id, the rate as played."""
    changes: dict[str, Any] = {"sfreq": info.sfreq * speed}
    if source_id is not None:
        suffix = "" if number == 0 else "-markers" if is_markers else f"-{number}"
        changes["source_id"] = source_id + suffix
    elif not info.source_id:
        changes["source_id"] = f"phosphene-replay-{info.name}-{number}"
    columns = columns_of(info) if info.channel_format == "string" else ()
    if columns:
        changes |= {"n_channels": len(columns), "ch_names": columns}
    return replace(info, **changes)
