"""The streams of a session: opened, pulled, recorded, fed to the live path.

Owns what becomes of each item, in order, and what is known of the streams by it. Every item goes
first to the recording, then to the pure live path: the recording holds exactly the sequence that
the path saw, and so a replay repeats it. Belongs to the acquisition thread; its attributes may be
read by others. Knows nothing of decoding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.port import TraceBlock
from app.runtime.publishing import quality_vector
from app.runtime.results import quality_event
from app.runtime.session_recorder import SessionRecorder
from app.runtime.summary import StreamFigures
from configs import SessionConfig
from configs.labels import canonical_label
from devices.lsl.metadata import impedances
from devices.lsl.outlet import quality_info
from pipeline.arrivals import Arrivals
from pipeline.live import LivePath
from pipeline.ports import Admitting, Source
from pipeline.signal_quality import ChannelQuality
from pipeline.values import (
    OWN_ROLES,
    Marker,
    Packet,
    SourceItem,
    StateChange,
    StreamRole,
    StreamState,
    Verdict,
)

NEWS_SECONDS = 6.0
"""How long the sentence about a stream's return stands, s."""
SET_BACK = 1.0
"""Stamps that run back further are of a clock that was set, not packets out of order, s."""
FILTER_DELAY_HZ = 10.0
"""Frequency whose group delay is shown, Hz."""

TakeVerdict = Callable[[Verdict, float | None, float, float], None]
"""`(verdict, arrival, pulled, filtered)`: LSL's clock, then `time.monotonic` twice, s.

`arrival` is None while the stream's times do not agree with that clock.
"""


class Acquisition:
    """An open source and its live path.

    Parameters
    ----------
    config : SessionConfig
    source : Source
    session_recorder : SessionRecorder
    clock : callable
        `local_clock`, s.
    running : str
        The sentence while all is well.
    say : callable
        Takes the sentence of the moment.
    on_verdict : TakeVerdict
    on_marker : callable
        Takes each marker as it arrives.
    on_quality : callable
        Takes each second's verdict on the channels and its time (s).
    on_sought : callable
        Called when a replay goes on elsewhere.
    monotonic : callable
        `time.monotonic` but for tests: a live session's length.
    """

    def __init__(
        self,
        config: SessionConfig,
        source: Source,
        *,
        session_recorder: SessionRecorder,
        clock: Callable[[], float],
        running: str,
        say: Callable[[str], None],
        on_verdict: TakeVerdict,
        on_marker: Callable[[Marker], None],
        on_quality: Callable[[Sequence[ChannelQuality], float], None],
        on_sought: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self.path = LivePath(config, source.streams, clock=time.monotonic)
        told = impedances(source.streams[StreamRole.EEG])
        self.impedance = {canonical_label(name): value for name, value in told.items()}
        self.filter_delay = self.path.filter.group_delay(FILTER_DELAY_HZ)
        self.stream_state = StreamState.CONNECTING
        self.n_reconnects = 0
        self._news: list[str] = []
        self._session_recorder = session_recorder
        self._clock = clock
        self._running = running
        self._say = say
        self._on_verdict = on_verdict
        self._on_marker = on_marker
        self._on_quality = on_quality
        self._on_sought = on_sought
        self._n_notes = 0
        self._declared = set(source.streams)
        self._news_until: float | None = None
        self._n_packets = self._n_judged = 0
        self._monotonic = monotonic
        self._opened_at = monotonic()
        self._first_at: float | None = None
        self._newest_at = self._opened_at
        self._ended_at: float | None = None
        self._stamps = _Progress()
        self._began_anew = 0.0
        self._arrivals = Arrivals()
        session_recorder.declare(
            {**source.streams, StreamRole.QUALITY: quality_info(self.path.display_names)}
        )

    # -- figures (any thread) -----------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Time since the first sample, s: this machine's, whatever the stream says of its own.

        In a recording it is the recorded one: a replay at any speed is as long as what it replays.
        """
        if not self.source.is_live:
            return self._stamps.seconds
        return 0.0 if self._first_at is None else self._now - self._first_at

    @property
    def waited(self) -> float:
        """As `elapsed`, but from the opening on while no sample has come, s."""
        if self.source.is_live and self._first_at is None:
            return self._now - self._opened_at
        return self.elapsed

    @property
    def _now(self) -> float:
        return self._monotonic() if self._ended_at is None else self._ended_at

    @property
    def newest_age(self) -> float | None:
        """Age of the newest sample, s; None without one, or in a replay."""
        newest = self.path.newest
        if newest is None or not self.source.is_live:
            return None
        if not self._arrivals.agree:
            return self._monotonic() - self._newest_at
        return max(0.0, self._clock() - newest)

    @property
    def is_streaming(self) -> bool:
        """Whether samples come."""
        return self.stream_state is StreamState.STREAMING

    @property
    def silent_for(self) -> float | None:
        """How long a live stream has been stalled or lost, s; None while it is neither."""
        if self.stream_state not in (StreamState.STALLED, StreamState.LOST):
            return None
        return self._now - self._newest_at

    @property
    def receives_markers(self) -> bool:
        """Whether the source follows a marker stream by now."""
        return StreamRole.MARKERS in self.source.streams

    @property
    def is_settled(self) -> bool:
        """Whether an epoch that began now would lie behind the filter's settling."""
        settling = self.path.filter.settling_time - self.path.config.epochs.tmin
        return self._stamps.seconds - self._began_anew > settling

    def rates(self) -> StreamFigures:
        """The rates alone: cheap enough for every look."""
        path = self.path
        return StreamFigures(
            sfreq=path.info.sfreq,
            effective_sfreq=path.effective_sfreq,
            has_counter=path.has_counter,
        )

    def figures(self) -> StreamFigures:
        """What became of the samples."""
        path = self.path
        return StreamFigures(
            n_received=path.n_received,
            n_lost=path.n_lost,
            n_gaps=path.n_gaps,
            n_reconnects=self.n_reconnects,
            sfreq=path.info.sfreq,
            effective_sfreq=path.effective_sfreq,
            quality=path.signal_quality.shares(),
            left_out=path.screening.summary(),
            has_counter=path.has_counter,
            packet_ms=1000 * path.n_received / max(1, self._n_packets) / path.info.sfreq,
        )

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        """Raw samples from number `since` on, at most the newest `limit`."""
        ring = self.path.raw_ring
        stop = ring.n_written
        # Half the ring stays between reader and writer, so that no window is overwritten meanwhile.
        start = max(since, stop - limit, stop - ring.capacity // 2, 0)
        block = ring.read(start, stop) if start < stop else None
        if block is None:
            return None
        breaks = tuple(b.sample for b in self.path.breaks if start <= b.sample < stop)
        return TraceBlock(data=block[0], timestamps=block[1], start=start, breaks=breaks)

    # -- items (acquisition thread) ---------------------------------------------------------------

    def turn(self, timeout: float) -> bool:
        """Pull once, waiting up to `timeout` s; say whether the source has ended."""
        if self._take(self.source.read(timeout)):
            self.source.read(0.0)  # raises the reason when the stream could not go on
            return True
        self._session_recorder.probe()
        notes = self.path.notes
        if len(notes) > self._n_notes:
            self._n_notes = len(notes)
            self._tell(notes[-1])
        if self._news_until is not None and time.monotonic() > self._news_until:
            self._news_until = None
            self._say(self._running)
        return False

    def finish(self) -> None:
        """Give every marker that still waits its verdict."""
        self._ended_at = self._monotonic()
        now, arrival = time.monotonic(), self._clock()
        verdicts = self.path.finish()
        self._note_new_markers()
        for verdict in verdicts:
            self._on_verdict(verdict, arrival if self._arrivals.agree else None, now, now)

    def _take(self, items: Sequence[SourceItem]) -> bool:
        pulled, arrival = time.monotonic(), self._clock()
        ended = False
        for item in items:
            if item.role in OWN_ROLES:
                continue  # a recording's own decisions: read beforehand, made anew here
            self._welcome(item.role)
            self._session_recorder.put(item)
            if isinstance(item, StateChange):
                ended |= self._note_state(item)
            elif isinstance(item, Packet) and item.role is StreamRole.EEG:
                self._note_data(item)
            verdicts = self.path.feed(item)
            filtered = self.path.filtered_at
            self._note_new_markers()
            self._note_arrival(item, arrival)
            known = arrival if self._arrivals.agree else None
            for verdict in verdicts:
                self._on_verdict(verdict, known, pulled, max(pulled, filtered))
        self._note_quality()
        return ended

    def _welcome(self, role: StreamRole) -> None:
        """Declare a marker stream that joins late, before its first item is used."""
        if role in self._declared:
            return
        info = self.source.streams.get(role)
        if info is not None:
            self._declared.add(role)
            self.path.add_stream(role, info)
            self._session_recorder.declare({role: info})

    def _note_state(self, item: StateChange) -> bool:
        if item.role is not StreamRole.EEG:
            return False
        if item.state in (StreamState.JOINED, StreamState.REFUSED):
            return False  # of what was recorded, not of how the stream is
        self.stream_state = item.state
        if item.state is StreamState.RETURNED:
            self.n_reconnects += 1
            self._began_anew = self._stamps.seconds
            if "another outlet" in item.reason:
                self._news.append(item.reason)
        if item.state is StreamState.SOUGHT:
            self._on_sought()
        if item.state in (StreamState.RETURNED, StreamState.SOUGHT):
            self.stream_state = StreamState.STREAMING
        if item.state in (StreamState.STALLED, StreamState.LOST):
            self._say(item.reason or f"The stream is {item.state}; waiting for it.")
        elif self.stream_state is StreamState.STREAMING:
            self._tell(item.reason or self._running)
        return item.state is StreamState.ENDED

    def take_news(self) -> list[str]:
        """Give the sentences on streams and channels that came up since the last call."""
        news, self._news = self._news, []
        return [*news, *self.path.take_news()]

    def _tell(self, news: str) -> None:
        """Say something for a while."""
        self._say(news)
        self._news_until = time.monotonic() + NEWS_SECONDS

    def _note_data(self, packet: Packet) -> None:
        if self.stream_state is StreamState.CONNECTING:
            self.stream_state = StreamState.STREAMING
        if len(packet.timestamps):
            self._n_packets += 1
            self._newest_at = self._monotonic()
            if self._first_at is None:
                self._first_at = self._newest_at
            self._stamps.note(float(packet.timestamps[0]), float(packet.timestamps[-1]))

    def _note_arrival(self, item: SourceItem, arrival: float) -> None:
        newest = self.path.newest
        if isinstance(item, Packet) and item.role is StreamRole.EEG and newest is not None:
            self._arrivals.note(newest, arrival)

    def _note_new_markers(self) -> None:
        for marker in self.path.take_new_markers():
            self._on_marker(marker)

    def _note_quality(self) -> None:
        """Put each new second's verdict on the electrodes beside what they sent."""
        quality = self.path.signal_quality
        if quality.n_seconds == self._n_judged:
            return
        self._n_judged, newest = quality.n_seconds, self.path.newest
        if newest is None:
            return
        self._session_recorder.note(quality_event(quality.newest))
        self._session_recorder.put_vector(
            StreamRole.QUALITY, quality_vector(quality.newest), newest
        )
        self._on_quality(quality.newest, newest)


class _Progress:
    """How far a stream's stamps have got; a clock that is set back takes nothing away."""

    def __init__(self) -> None:
        self._before = 0.0
        self._first = self._last = math.nan

    @property
    def seconds(self) -> float:
        """From the first stamp to the newest, s."""
        return 0.0 if math.isnan(self._first) else self._before + (self._last - self._first)

    def note(self, first: float, last: float) -> None:
        """Take a packet's first and last stamp, s."""
        if not (math.isfinite(first) and math.isfinite(last)):
            return
        if math.isnan(self._first):
            self._first = first
        elif last < self._last - SET_BACK:
            self._before, self._first = self.seconds, first
        self._last = last


def stream_fields(acquisition: Acquisition) -> dict[str, Any]:
    """What a snapshot says of the streams."""
    path, source = acquisition.path, acquisition.source
    eeg = source.streams.get(StreamRole.EEG)
    return {
        "stream_state": acquisition.stream_state,
        "duration": acquisition.elapsed,
        "n_reconnects": acquisition.n_reconnects,
        "eeg": eeg,
        "markers": source.streams.get(StreamRole.MARKERS),
        "info": path.info,
        "newest_age": acquisition.newest_age,
        "silent_for": acquisition.silent_for,
        "foreign_hosts": source.foreign_hosts if isinstance(source, Admitting) else (),
        "n_received": path.n_received,
        "n_lost": path.n_lost,
        "n_gaps": path.n_gaps,
        "effective_sfreq": path.effective_sfreq,
        "quality": path.signal_quality.newest,
        "clock_offset": path.clock_offset,
        "filter_delay": acquisition.filter_delay,
        "impedance": acquisition.impedance,
    }
