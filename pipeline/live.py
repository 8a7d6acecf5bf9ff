"""The live path: items of a source in, verdicts out; the same for a headset and a replay.

Owns the order of the steps (ingest, time base, filter, rings, epochs) and the counters. A
deterministic function of the sequence of items: that is what makes a replay bit-identical.
Knows no LSL, threads or clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from configs.models import SessionConfig
from pipeline.clock import OffsetTracker
from pipeline.epoching import EpochEngine
from pipeline.errors import ConfigurationError, InfoError
from pipeline.filters import CausalFilter, notches
from pipeline.ingest import Ingest
from pipeline.markers import MarkerReader
from pipeline.missing import Missing
from pipeline.quality import line_ratio
from pipeline.ring import Ring
from pipeline.scattered import ScatteredTimes
from pipeline.screening import Screening
from pipeline.signal_quality import SignalQuality
from pipeline.stretches import Break, Stretch
from pipeline.timebase import TimeBase
from pipeline.values import (
    ClockOffset,
    Info,
    Marker,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
    Verdict,
)

_LARGEST: Final = 4 << 30
"""Most memory of the rings, bytes: what would need more is a wrong rate, or a wish too large."""

LEVEL_CHANGE = 3.0
"""A stream that returns larger or smaller than this many times is said to have changed."""


class LivePath:
    """All that happens between a source and the decoder.

    Parameters
    ----------
    config : SessionConfig
    streams : mapping of StreamRole to StreamInfo
        EEG is needed; markers are optional.
    clock : callable or None
        Only read to note `filtered_at`; nothing depends on it.

    Attributes
    ----------
    info : Info
        Of the picked channels.
    display_names : tuple of str
        The same channels as the stream spells them.
    raw_ring : Ring
        Unfiltered microvolts, for traces; sample numbers are those of `ring`.
    ring : Ring
        Filtered microvolts.
    filter : CausalFilter
    screening : Screening
        Which channels are left out.
    signal_quality : SignalQuality
        Verdicts on the channels, once a second.
    clock, marker_clock : OffsetTracker
    n_received : int
        EEG samples that came, repeated ones included.
    filtered_at : float
        `clock` when the newest samples had been filtered; 0 without a clock.

    Raises
    ------
    InfoError
        No EEG stream, or one that does not say enough of itself.
    ConfigurationError
        Filter or epochs that the stream's rate does not allow.
    """

    def __init__(
        self,
        config: SessionConfig,
        streams: Mapping[StreamRole, StreamInfo],
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if StreamRole.EEG not in streams:
            raise InfoError(
                "The source has no EEG stream, expected one: choose it with --source-id or --name."
            )
        self.config = config
        self._ingest = Ingest(config.source, streams[StreamRole.EEG])
        self.info = self._ingest.info
        self.display_names = self._ingest.display_names
        self.filter = CausalFilter(config.filter, self.info)
        self._time_base: TimeBase | ScatteredTimes
        if self._ingest.is_scattered:
            self._time_base = ScatteredTimes(
                self.info.sfreq, by_arrival=config.source.follow_arrival
            )
        else:
            self._time_base = TimeBase(
                self.info.sfreq,
                has_counter=self._ingest.has_counter,
                pattern=self._ingest.counter_pattern,
                by_arrival=config.source.follow_arrival,
            )
        self._reader = MarkerReader(streams.get(StreamRole.MARKERS), column=config.markers.column)
        self._note = self._reader.note
        self._level_note = ""
        self._n_level = max(2, round(self.info.sfreq))
        self._before, self._compare_at = 0.0, math.inf
        self.marker_clock = OffsetTracker()
        capacity = _capacity(config.buffer, self.info)
        self._n_block = max(1, capacity // 4)
        self.raw_ring = Ring(self.info.n_channels, capacity)
        self.signal_quality = SignalQuality(
            self.info, self.raw_ring, line_freqs=config.filter.notch_freqs
        )
        self.screening = Screening(
            self.info,
            self.display_names,
            reject_uv=config.epochs.reject_uv,
            settling_time=self.filter.settling_time,
            enabled=config.epochs.leave_out,
        )
        self._missing = (
            Missing(self.info.n_channels, capacity) if config.epochs.fill_missing else None
        )
        self.engine = EpochEngine(
            config.epochs,
            self.info,
            capacity=capacity,
            event_id=config.markers.event_id,
            settling_time=self.filter.settling_time,
            measure=self._measure,
        )
        self.ring = self.engine.ring
        self.n_received = 0
        self.filtered_at = 0.0
        self._now = clock

    # -- counters -------------------------------------------------------------------------------

    @property
    def has_counter(self) -> bool:
        """Whether a channel counts the samples, so that loss is exact."""
        return self._ingest.has_counter and not self._time_base.counter_note

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the stream, one sentence each: its labels, its counting channel."""
        out = set(self.config.filter.notch_freqs) - set(
            notches(self.config.filter, self.info.sfreq)
        )
        notch = (
            f"A stream of {self.info.sfreq:g} Hz holds nothing at {min(out):g} Hz: that notch "
            "(filter.notch_freqs) is left out."
            if out
            else ""
        )
        said = (self._ingest.note, notch, self._time_base.counter_note)
        return tuple(note for note in said if note)

    @property
    def clock(self) -> OffsetTracker:
        """Of the EEG stream."""
        return self._time_base.clock

    @property
    def clock_offset(self) -> float:
        """Newest belief of the EEG sender's clock offset, s."""
        return self.clock.offset

    @property
    def breaks(self) -> tuple[Break, ...]:
        """Borders between runs, newest last; their `sample` counts as in the rings."""
        return tuple(self._time_base.breaks)

    @property
    def n_lost(self) -> int:
        """Samples that never came."""
        return self._time_base.n_lost

    @property
    def n_gaps(self) -> int:
        """Borders between runs so far."""
        return self._time_base.n_gaps

    @property
    def n_duplicates(self) -> int:
        """Samples that came twice, or too late, and were dropped."""
        return self._time_base.n_duplicates

    @property
    def n_strays(self) -> int:
        """Stamps that were replaced by the line."""
        return self._time_base.n_strays

    @property
    def effective_sfreq(self) -> float:
        """Rate by our clock, Hz."""
        return self._time_base.effective_sfreq

    @property
    def jitter(self) -> float:
        """Root mean square of the stamps around the line, s."""
        return self._time_base.jitter

    @property
    def newest(self) -> float | None:
        """Time of the newest sample, s; None before the first."""
        n_written = self.ring.n_written
        if not n_written:
            return None
        found = self.ring.read(n_written - 1, n_written)
        return None if found is None else float(found[1][0])

    # -- items ----------------------------------------------------------------------------------

    def feed(self, item: SourceItem) -> list[Verdict]:
        """Take the next item of the source; the verdicts that fall with it.

        Raises
        ------
        ShapeError
            A packet that is not what its stream declared.
        """
        if isinstance(item, Packet):
            if item.role is StreamRole.EEG:
                return self._samples(item)
            return self._markers(item) if item.role is StreamRole.MARKERS else []
        if isinstance(item, ClockOffset):
            if item.role is StreamRole.EEG:
                self._time_base.add_probe(item.measured_at, item.offset)
            elif item.role is StreamRole.MARKERS:
                self.marker_clock.add(item.measured_at, item.offset)
            return []
        return self._state(item)

    def add_stream(self, role: StreamRole, info: StreamInfo) -> None:
        """Tell of a stream that joined late; only a marker stream changes anything."""
        if role is StreamRole.MARKERS:
            self._reader = MarkerReader(info, column=self.config.markers.column)
            self._note = self._reader.note

    def take_news(self) -> list[str]:
        """Give the sentences on markers and channels that came up since the last call."""
        notes = [note for note in (self._note, self._level_note) if note]
        self._note = self._level_note = ""
        missing = [] if self._missing is None else self._missing.take_news()
        jumps = self._time_base.jumps.take_news()
        return [*notes, *jumps, *missing, *self.screening.take_news()]

    def take_new_markers(self) -> list[Marker]:
        """Give the markers (and free-running windows) that arrived since the last call."""
        return self.engine.take_arrived()

    def finish(self) -> list[Verdict]:
        """The session ends: every marker that still waits gets its outcome."""
        return self._process(self._time_base.finish()) + self.engine.finish()

    def _samples(self, packet: Packet) -> list[Verdict]:
        block = self._ingest.read(packet)
        self.engine.is_silent = False
        self.n_received += len(block.stamps)
        # 0 in a packet stands for an arrival that nobody noted.
        arrival = packet.received_at if packet.received_at > 0 else math.inf
        return self._process(
            self._time_base.feed(
                block.data, block.stamps, block.flags, block.counts, received_at=arrival
            )
        )

    def _process(self, stretches: list[Stretch]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for stretch in stretches:
            if stretch.is_first:
                self.filter.reset()
                self.signal_quality.start_run()
                self.screening.start_run()
            low = 0
            while low < len(stretch.timestamps):
                # Blocks end where a decision on the channels falls, however the samples came.
                high = low + min(self._n_block, self.screening.left)
                verdicts += self._block(stretch, low, high)
                low = high
        return verdicts

    def _block(self, stretch: Stretch, low: int, high: int) -> list[Verdict]:
        """Filter, keep and cut; in blocks, so that both rings still hold what is cut."""
        part = slice(low, high)
        data, timestamps = stretch.data[:, part], stretch.timestamps[part]
        bad = stretch.bad[part]
        if self._missing is not None:
            data, bad = self._missing.fill(data, bad, self.raw_ring.n_written)
        filtered = self.filter.process(data)
        if self._now is not None:
            self.filtered_at = self._now()
        self.raw_ring.append(data, timestamps)
        self.signal_quality.update()
        if self.raw_ring.n_written >= self._compare_at:
            self._compare_levels(int(self._compare_at) - self._n_level)
        is_first = stretch.is_first and low == 0
        verdicts = self.engine.feed_samples(
            filtered,
            timestamps,
            bad,
            is_first=is_first,
            is_doubtful=stretch.is_doubtful,
        )
        self.screening.feed(bad, filtered)
        self.engine.leave_out(self.screening.left_out)
        return verdicts

    def _level(self, start: int, stop: int) -> float:
        """How large the signal is: the median channel's mean step, microvolts; 0: unknown."""
        found = self.raw_ring.read(start, stop) if stop - start > 1 else None
        if found is None:
            return 0.0
        kept = found[0][~self.screening.left_out]
        return float(np.median(np.abs(np.diff(kept, axis=1)).mean(axis=1))) if len(kept) else 0.0

    def _compare_levels(self, start: int) -> None:
        """Say when a stream that returned is not as large as it was."""
        after, before = self._level(start, start + self._n_level), self._before
        self._compare_at = math.inf
        if before > 0 and after > 0 and not 1 / LEVEL_CHANGE < after / before < LEVEL_CHANGE:
            self._level_note = (
                f"Since the stream returned its level is {after / before:.2g} times what it was: "
                "check its gain and unit, and that it is the same person's headset."
            )

    def _markers(self, packet: Packet) -> list[Verdict]:
        lag = self.config.markers.stimulus_offset_ms / 1000
        onsets = packet.timestamps + self.marker_clock.at(packet.timestamps)
        moved = self._time_base.jumps.moved
        if moved and packet.received_at > 0:  # those of the same sender jumped as well
            is_off = abs(onsets + moved - packet.received_at) < abs(onsets - packet.received_at)
            onsets = np.where(is_off, onsets + moved, onsets)
        onsets = onsets + lag
        verdicts: list[Verdict] = []
        for t_onset, (label, invalid) in zip(
            onsets.tolist(), self._reader.read(packet), strict=True
        ):
            if math.isfinite(t_onset):
                verdicts += self.engine.feed_marker(t_onset, label, invalid=invalid)
            else:  # its arrival stands in, so that reports can sort it
                reason = invalid or "its time stamp is not finite"
                verdicts += self.engine.feed_marker(packet.received_at, label, invalid=reason)
        return verdicts

    def _state(self, change: StateChange) -> list[Verdict]:
        if change.role is not StreamRole.EEG:
            return []
        # Its markers are not "too far ahead" of samples that stand still: they wait for the next
        # ones, which tell whether theirs were lost.
        self.engine.is_silent = change.state in (StreamState.STALLED, StreamState.LOST)
        if change.state is StreamState.RETURNED:
            reason = change.reason or "the stream returned"
            verdicts = self._process(self._time_base.restart(reason))
            at = self.raw_ring.n_written
            self._before = self._level(max(0, at - self._n_level), at)
            self._compare_at = at + self._n_level
            return verdicts
        if change.state is StreamState.SOUGHT:
            reason = change.reason or "the replay went on elsewhere"
            return self._process(self._time_base.restart(reason, may_have_lost=False))
        if change.state is StreamState.JOINED:
            reason = change.reason or "the recording was put together here"
            lost = change.until is not None
            return self._process(self._time_base.restart(reason, may_have_lost=lost))
        if change.state is StreamState.REFUSED and change.until is not None:
            offset = self.clock.at(np.array([change.at, change.until]))
            low, high = (np.array([change.at, change.until]) + offset).tolist()
            self.engine.refuse(low, high, change.reason)
        if change.state is StreamState.ENDED:
            return self._process(self._time_base.finish())
        return []

    def _measure(self, start: int, stop: int) -> dict[str, float]:
        """Line noise of an epoch before the filter, and how many channels were bad."""
        n_bad = self.signal_quality.n_bad_channels(start, stop)
        if self._missing is not None:
            n_bad = max(n_bad, self._missing.n_missing(start, stop))
        quality = {"n_bad_channels": float(n_bad)}
        freqs = notches(self.config.filter, self.info.sfreq)
        if not freqs or start < self.raw_ring.oldest or stop > self.raw_ring.n_written:
            return quality
        raw = self.raw_ring.data_view(start, stop).copy()
        worst = max(line_ratio(raw, self.info.sfreq, freq) for freq in freqs)
        return quality | {"line_ratio": worst}


def _capacity(buffer: float, info: Info) -> int:
    """Samples of a ring of `buffer` seconds; refused where two of them fit no memory."""
    capacity = math.ceil(buffer * info.sfreq) + 1
    # Each ring is of double length, with a stamp a sample beside its float32 channels.
    size = 2 * 2 * capacity * (4 * info.n_channels + 8)
    if size > _LARGEST:
        raise ConfigurationError(
            f"{info.n_channels} channels at {info.sfreq:g} Hz need {size / 2**30:.3g} GiB for a "
            f"buffer of {buffer:g} s, expected at most {_LARGEST / 2**30:g}: give the true rate "
            "with source.sfreq, or a shorter buffer."
        )
    return capacity
