"""What a `Recording` and a `Source` owe their readers, checked on a real one.

Owns the promises as code: our own tests run them over every reader and source of ours, and
whoever writes another calls them in a test of theirs (docs/how-to/add-a-file-format.md,
docs/how-to/add-a-board.md). Knows nothing of formats or of pytest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from configs.units import unit_scale
from devices.errors import DeviceError
from devices.files.base import Block, Recording
from pipeline.errors import PhospheneError
from pipeline.ports import Source, StatesWarnings
from pipeline.values import (
    ClockOffset,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)
from pipeline.volumes import KIND

LONGEST_BLOCK: Final = 1.0
"""A block is what a headset sends at a time, never a whole file, s."""


class ConformanceError(DeviceError):
    """A recording or source breaks a promise; one line that says which."""


def _expect(holds: bool, sentence: str) -> None:
    if not holds:
        raise ConformanceError(sentence)


def check_recording(opened: Callable[[], Recording]) -> None:
    """Check a reader on one file.

    Parameters
    ----------
    opened : callable
        Opens the file anew at each call. It should hold a second of EEG at least.

    Raises
    ------
    ConformanceError
        The first promise that is broken.
    """
    recording = opened()
    try:
        _expect(isinstance(recording, Recording), "it is no Recording: a property is missing")
        streams = tuple(recording.streams)
        _check_streams(streams)
        whole = _read(recording, 0.0)
        _check_blocks(whole, streams)
        times, data = _joined(whole)
        duration = recording.duration
        _expect(
            duration is None or abs(duration - float(times[-1])) <= 1.0,
            f"duration is {duration}, but the last sample lies at {float(times[-1]):.3f} s",
        )
        middle = float(times[len(times) // 2])
        later, rest = _joined(_read(recording, middle))
        n = len(later)
        _expect(
            n > 0 and later[0] <= middle + 1e-6 + 1.0 / (streams[0].sfreq or math.inf),
            f"a start at {middle:.3f} s begins elsewhere",
        )
        _expect(
            bool(np.array_equal(rest, data[-n:]) and np.allclose(later, times[-n:], atol=1e-9)),
            "a start in the middle gives other samples than the rest of the whole",
        )
        _check_sentences(recording.warnings)
    finally:
        recording.close()
        recording.close()


def _read(recording: Recording, start: float) -> list[Block]:
    return list(recording.blocks(start=start))


def _check_streams(streams: Sequence[StreamInfo]) -> None:
    _expect(bool(streams), "it has no stream")
    eeg = streams[0]
    _expect(
        eeg.channel_format != "string" and eeg.n_channels > 0,
        "the first stream is no EEG: numbers",
    )
    _expect(eeg.sfreq > 0 or KIND in eeg.ch_types, "its EEG has no regular rate")
    for stream in streams:
        for what in (stream.ch_names, stream.ch_units, stream.ch_types):
            _expect(
                len(what) in (0, stream.n_channels),
                f"stream {stream.name!r} has {len(what)} labels, units or types for "
                f"{stream.n_channels} channels",
            )


def _check_blocks(blocks: Sequence[Block], streams: Sequence[StreamInfo]) -> None:
    last = [-np.inf] * len(streams)
    for block in blocks:
        _expect(0 <= block.stream < len(streams), f"a block is of stream {block.stream}")
        stream = streams[block.stream]
        _expect(len(block.samples) == len(block.times) > 0, "samples and times differ in number")
        _check_samples(block.samples, stream)
        _expect(
            block.times.dtype == np.float64 and bool(np.isfinite(block.times).all()),
            "times are not finite float64",
        )
        if stream.sfreq == 0:
            continue  # events are stamped by whoever sends them, in any order
        _expect(bool((np.diff(block.times) >= 0).all()), "times within a block go back")
        _expect(float(block.times[0]) >= last[block.stream] - 1e-9, "blocks are not in order")
        last[block.stream] = float(block.times[-1])
        length = float(block.times[-1] - block.times[0])
        _expect(length <= LONGEST_BLOCK, f"a block is {length:.1f} s long")


def _check_samples(samples: NDArray[np.generic] | tuple[str, ...], stream: StreamInfo) -> None:
    if isinstance(samples, tuple):
        _expect(stream.channel_format == "string", f"stream {stream.name!r} gives text")
        return
    _expect(
        samples.ndim == 2 and samples.shape[1] == stream.n_channels,
        f"samples of {stream.name!r} have shape {samples.shape}, expected (n_times, "
        f"{stream.n_channels})",
    )


def _joined(blocks: Sequence[Block]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and samples of the EEG."""
    eeg = [block for block in blocks if block.stream == 0]
    _expect(bool(eeg), "it gives no sample of the EEG")
    data = np.concatenate([np.asarray(block.samples, dtype=np.float64) for block in eeg])
    return np.concatenate([block.times for block in eeg]), data


def _check_sentences(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        _expect("\n" not in sentence and bool(sentence.strip()), f"a warning is {sentence!r}")


def check_source(
    opened: Callable[[], Source],
    *,
    ends: bool = True,
    seconds: float = 2.0,
    timeout: float = 60.0,
    in_volts: bool = True,
) -> list[SourceItem]:
    """Check a source, and give the items that it gave.

    Parameters
    ----------
    opened : callable
        Opens it.
    ends : bool
        Whether it ends by itself; else `seconds` of EEG are read.
    seconds : float
        EEG to read of one that does not end, s.
    timeout : float
        Longest wait for that, s.
    in_volts : bool
        Whether its EEG says a unit that is a voltage.

    Raises
    ------
    ConformanceError
        The first promise that is broken.
    """
    source = opened()
    try:
        _expect(isinstance(source, Source), "it is no Source: a method is missing")
        _expect(StreamRole.EEG in source.streams, "it has no EEG stream")
        eeg = source.streams[StreamRole.EEG]
        if in_volts:
            odd = [u for u in eeg.ch_units if unit_scale(u) is None]
            is_eeg = set(eeg.ch_types) <= {"eeg"}
            _expect(not is_eeg or len(odd) < eeg.n_channels, f"its units are {odd[:4]}: no voltage")
        items = _items(source, ends=ends, n_times=round(seconds * eeg.sfreq), timeout=timeout)
        _check_items(items, source)
        if ends:
            _check_end(items, source)
        if isinstance(source, StatesWarnings):
            _check_sentences(source.warnings)
    finally:
        source.close()
        source.close()
    _expect(
        all(isinstance(i, StateChange) and i.state is StreamState.ENDED for i in source.read(0.0))
        and not source.read(0.0),
        "it gives more than its end after it was closed",
    )
    return items


def _items(source: Source, *, ends: bool, n_times: int, timeout: float) -> list[SourceItem]:
    items: list[SourceItem] = []
    until = time.monotonic() + timeout
    ended: set[StreamRole] = set()
    n_read = 0
    while True:
        _expect(time.monotonic() < until, f"it gave too little within {timeout:g} s")
        new = source.read(0.1)
        items += new
        for item in new:
            if isinstance(item, StateChange) and item.state is StreamState.ENDED:
                ended.add(item.role)
            elif isinstance(item, Packet) and item.role is StreamRole.EEG:
                n_read += len(item.timestamps)
        if ended >= set(source.streams) if ends else n_read >= n_times:
            return items


def _check_items(items: Sequence[SourceItem], source: Source) -> None:
    arrived: dict[StreamRole, float] = {}
    for item in items:
        _expect(
            isinstance(item, Packet | ClockOffset | StateChange),
            f"it gives a {type(item).__name__}",
        )
        if not isinstance(item, Packet):
            continue
        stream = source.streams.get(item.role)
        if stream is None:
            raise ConformanceError(f"a packet is of {item.role}, which it does not announce")
        _check_samples(item.samples, stream)
        _expect(item.timestamps.dtype == np.float64, "stamps are not float64")
        before = arrived.get(item.role, -np.inf)
        _expect(item.received_at >= before, f"packets of {item.role} are not in order of arrival")
        arrived[item.role] = item.received_at


def _check_end(items: Sequence[SourceItem], source: Source) -> None:
    ends = [i.role for i in items if isinstance(i, StateChange) and i.state is StreamState.ENDED]
    for role in source.streams:
        _expect(ends.count(role) == 1, f"{role} ends {ends.count(role)} times, expected once")
    _expect(source.read(0.0) == [], "it gives items after its end")


def check_refusal(opened: Callable[[], object]) -> str:
    """Check that opening something unfit is refused in one line; give that line.

    Raises
    ------
    ConformanceError
        It is not refused, or not in one line.
    """
    try:
        opened()
    except PhospheneError as error:
        sentence = str(error)
        _expect("\n" not in sentence and len(sentence) > 20, f"it is refused with {sentence!r}")
        return sentence
    raise ConformanceError("it is not refused")
