"""What every reader of recorded EEG gives: streams, and their samples as blocks in time order.

Owns the block, the protocol, and the cutting of long reads into blocks with the events between
them. Knows nothing of file formats, LSL or sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from devices.errors import FileError
from pipeline.ingest import HIGHEST_RATE
from pipeline.values import Float32, Float64, StreamInfo

BLOCK: Final = 0.04
"""Length of a block, s: what headsets send at a time."""


@dataclass(frozen=True, slots=True)
class FileBreak:
    """A break at `onset`, s from the start; `reason` is a sentence.

    `until` None: the recording was put together there, and nobody knows what is missing. Else the
    stretch from `onset` to `until` is marked as unusable, and `reason` is its label.
    """

    onset: float
    reason: str
    until: float | None = None
    is_pause: bool = False
    """Whether time passed before `onset` without samples: then it is known how much is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some samples of one stream.

    Attributes
    ----------
    stream : int
        Number of the stream in `Recording.streams`.
    samples : ndarray, shape (n_times, n_channels); or tuple of str, one a sample
    times : ndarray, shape (n_times,), float64
        s from the recording's start, one clock for all streams.
    breaks : tuple of FileBreak
        What to know before these samples: a break right in front of them, or a stretch that is
        marked as unusable and begins in them.
    """

    stream: int
    samples: NDArray[Any] | tuple[str, ...]
    times: Float64
    breaks: tuple[FileBreak, ...] = ()


@dataclass(frozen=True, slots=True)
class FileEvent:
    """An event of a file: `onset` and `duration` in s from the start, `label` its name."""

    onset: float
    label: str
    duration: float = 0.0


@runtime_checkable
class Recording(Protocol):
    """A recording that is read piece by piece."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def streams(self) -> Sequence[StreamInfo]:
        """The streams, EEG first."""
        ...

    @property
    def duration(self) -> float | None:
        """Length in s; None where only reading it to the end would tell."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What the user should know, one sentence each; may grow while blocks are read."""
        ...

    def blocks(self, *, start: float = 0.0) -> Iterator[Block]:
        """Blocks in order of their end, from `start` (s) on."""
        ...

    def close(self) -> None:
        """Release the file; safe to call twice."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A recording that knows when it was made."""

    @property
    def measured_at(self) -> datetime | None:
        """When it began; None: the file does not say."""
        ...


class OfFile:
    """What every recording of one file says alike; its reader sets both."""

    _path: Path
    _streams: Sequence[StreamInfo]

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def streams(self) -> Sequence[StreamInfo]:
        """Streams that hold samples, EEG first."""
        return self._streams


def eeg_info(
    path: Path,
    *,
    ch_names: Sequence[str],
    sfreq: float,
    ch_types: Sequence[str] = (),
    ch_units: Sequence[str] = (),
    positions: Mapping[str, tuple[float, float, float]] | None = None,
    manufacturer: str = "",
    reference: str = "",
    is_simulated: bool = False,
) -> StreamInfo:
    """Describe a file's EEG as a headset would describe its stream.

    Types are MNE's words (`eeg`, `eog`, ...); `positions` are in m, head coordinates, and go to
    `desc/channels/channel/location` in mm, as LSL's convention has it.
    """
    if not 0 < sfreq <= HIGHEST_RATE:
        raise FileError(
            f"{path} says {sfreq:g} samples a second, expected at most {HIGHEST_RATE:g}: its "
            "header is damaged; copy it again from its source."
        )
    types = tuple(ch_types) or ("eeg",) * len(ch_names)
    units = tuple(ch_units) or ("microvolts",) * len(ch_names)
    channels: list[dict[str, Any]] = []
    for name, unit, kind in zip(ch_names, units, types, strict=True):
        channel: dict[str, Any] = {"label": [name], "unit": [unit], "type": [kind.upper()]}
        if positions and name in positions:
            axes = zip("XYZ", positions[name], strict=True)
            channel["location"] = [{axis: [f"{1000 * value:.3f}"] for axis, value in axes}]
        channels.append(channel)
    desc: dict[str, Any] = {"channels": [{"channel": channels}]}
    if manufacturer:
        desc["manufacturer"] = [manufacturer]
    if reference:
        desc["reference"] = [{"label": [reference]}]
    if is_simulated:
        desc["simulation"] = [{"file": [path.name]}]
    return StreamInfo(
        name=path.stem,
        type="EEG",
        source_id=f"phosphene-replay-{path.stem}",
        n_channels=len(ch_names),
        sfreq=float(sfreq),
        channel_format="float32",
        ch_names=tuple(ch_names),
        ch_units=units,
        ch_types=types,
        manufacturer=manufacturer,
        desc=desc,
    )


def marker_info(path: Path) -> StreamInfo:
    """Describe a file's events as a string marker stream."""
    return StreamInfo(
        name=f"{path.stem}-markers",
        type="Markers",
        source_id=f"phosphene-replay-{path.stem}-markers",
        n_channels=1,
        sfreq=0.0,
        channel_format="string",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A longer read of EEG: (n_times, n_channels) float32, its times, and the events in it.

    `breaks` where the recording was put together stand right before its first sample.
    """

    data: Float32
    times: Float64
    events: Sequence[FileEvent] = ()
    breaks: Sequence[FileBreak] = ()


def block_length(sfreq: float) -> int:
    """Samples of a block at `sfreq` (Hz); at least one."""
    return max(1, round(BLOCK * sfreq))


def cut(pieces: Iterable[Piece], sfreq: float) -> Iterator[Block]:
    """Cut long reads into blocks of `BLOCK` seconds, each event before the block that holds it.

    That is the order of a live session: a marker is sent at its onset, the samples around it come
    with the end of their block.
    """
    step = block_length(sfreq)
    waiting: list[FileEvent] = []
    for piece in pieces:
        waiting = sorted([*waiting, *piece.events], key=lambda event: event.onset)
        marks = list(piece.breaks)
        for first in range(0, len(piece.times), step):
            times = piece.times[first : first + step]
            end = float(times[-1]) + 1.0 / sfreq
            n_due = sum(1 for event in waiting if event.onset < end)
            events = [_event_block(event) for event in waiting[:n_due]]
            waiting = waiting[n_due:]
            due = tuple(mark for mark in marks if first == 0 and mark.until is None)
            due += tuple(m for m in marks if m.until is not None and m.onset < end)
            marks = [mark for mark in marks if mark not in due]
            block = Block(0, piece.data[first : first + step], times, due)
            # After a break nobody would know yet that time has gone on.
            is_after = any(mark.until is None for mark in due)
            yield from (block, *events) if is_after else (*events, block)
    yield from (_event_block(event) for event in waiting)


def _event_block(event: FileEvent) -> Block:
    return Block(1, (event.label,), np.array([event.onset]))
