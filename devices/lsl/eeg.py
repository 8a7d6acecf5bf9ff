"""The EEG stream of a session: its samples, and the states that it goes through.

Owns what counts as stalled, lost and returned, and that no sample comes out under a wrong label.
Knows nothing of markers, units, filters or epochs: packets are native.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from configs import SourceConfig
from devices.errors import SourceError, StreamChangedError
from devices.lsl.changes import channel_order, outlet_changes, same_source, stranger
from devices.lsl.connection import Connection, StreamLostError
from devices.lsl.discovery import (
    Finder,
    Match,
    describe,
    describe_source,
    is_source,
    only_one,
    wait_for_one,
)
from devices.lsl.pacing import BurstModel, Liveness
from devices.lsl.reader import RoleReader
from devices.lsl.scout import Scout
from pipeline.values import Float64, Packet, StreamInfo, StreamRole, StreamState
from pipeline.volumes import KIND

BUFFER = 30
"""Seconds of EEG that liblsl keeps for a reader that is late; more is dropped and counted."""
SCATTERED = 10.0
"""Longest usual time between the responses of an fMRI stream without a rate, s."""
_STRANGE = 86_400.0
"""Stamps that are a day off are of another clock, s."""


class EegReader(RoleReader):
    """Reads the EEG stream; opening blocks until it is there, described and probed.

    Parameters
    ----------
    config : SourceConfig
        Which stream, and what it does not say of itself.
    stop : threading.Event
        Gives up opening when set.

    Raises
    ------
    SourceError
        The stream is not there, not the only one, or cannot be used.
    """

    info: StreamInfo

    def __init__(self, config: SourceConfig, stop: threading.Event) -> None:
        super().__init__(StreamRole.EEG)
        self._config = config
        self._order: tuple[int, ...] | None = None
        self._last_stamp = 0.0
        self._last_pull = 0.0
        self._lost_at = 0.0
        self.failure: SourceError | None = None
        """Why the stream cannot go on; None while it can."""
        self.n_overflowed = 0
        """Samples that liblsl dropped because nobody read, by their stamps."""
        self._is_clock_checked = False
        connection = _connect(config, stop)
        self.info = connection.info
        self._begin(connection)
        self._tell(StreamState.CONNECTING, f"Connected to {describe(self.info)}.")
        self._tell_offset(connection.first_offset)

    def step(self, wait: float) -> None:
        """Pull once, waiting up to `wait` s for the first sample; put what came into `items`."""
        self._adopt()
        if self.failure is not None:
            return
        if self.connection is not None:
            self._pull(self.connection, 0.0 if self.items else wait)
        elif self._scout is not None:
            self._scout.wait(0.0 if self.items else wait)
        self._watch()

    # -- samples -------------------------------------------------------------------------------

    def _begin(self, connection: Connection) -> None:
        """Set up the buffer and the bookkeeping of a fresh connection."""
        self.connection = connection
        self._sfreq = connection.info.sfreq or self._config.sfreq or 0.0
        n_channels = connection.info.n_channels
        # A second of samples; a burst that is longer is handed out in several packets.
        n_times = max(64, min(int(np.ceil(self._sfreq)) or 1024, 2**22 // n_channels))
        self._buffer: NDArray[Any] = np.empty((n_times, n_channels), dtype=connection.dtype)
        self._bursts = BurstModel(self._sfreq, self._config.chunk_ms / 1000.0)
        self._liveness = Liveness(pylsl.local_clock(), _interval(connection.info, self._sfreq))
        self._last_pull = 0.0

    def _pull(self, connection: Connection, wait: float) -> None:
        try:
            stamps = self._pull_burst(connection, wait)
        except StreamLostError as error:
            self._lost(str(error))
            return
        if not len(stamps):
            return
        now = pylsl.local_clock()
        if self.state is not StreamState.STREAMING:
            silence = now - self._liveness.last
            self._tell(StreamState.STREAMING, f"Samples arrive after {silence:.1f} s.")
            self._send(None)
        self._count_overflow(stamps, now)
        self._check_clock(float(stamps[-1]), now)
        self._liveness.data(now)
        rows = self._buffer[: len(stamps)]
        # The one copy out of the buffer; fancy indexing makes a new array as well.
        samples = rows.copy() if self._order is None else rows[:, self._order]
        self.items.append(Packet(self.role, samples, stamps, received_at=now))

    def _pull_burst(self, connection: Connection, wait: float) -> Float64:
        """Fill the buffer with what the source sent together; return the stamps."""
        began = pylsl.local_clock()
        stamps = connection.pull(self._buffer, timeout=wait, at_least_one=True)
        n_times = len(stamps)
        came = pylsl.local_clock()
        n_more, linger = self._bursts.first(n_samples=n_times, waited=came - began)
        n_more = min(n_more, len(self._buffer) - n_times)
        if n_more == 0:
            return stamps
        try:
            more = connection.pull(
                self._buffer[n_times : n_times + n_more], timeout=linger, at_least_one=False
            )
        except StreamLostError:
            return stamps  # the next pull says so again
        self._bursts.rest(n_samples=len(more), waited=pylsl.local_clock() - came)
        return np.concatenate((stamps, more))

    def _count_overflow(self, stamps: Float64, now: float) -> None:
        """Count what liblsl dropped while nobody read; other gaps are the source's own."""
        away = now - self._last_pull
        if self._last_pull and away > BUFFER:
            missing = round((float(stamps[0]) - self._last_stamp) * self._sfreq) - 1
            if missing > 0:
                self.n_overflowed += missing
                self._tell(
                    StreamState.STREAMING,
                    f"{missing} samples were dropped: nothing was read for {away:.1f} s, and "
                    f"{BUFFER} s are kept.",
                )
        self._last_stamp, self._last_pull = float(stamps[-1]), now

    def _check_clock(self, stamp: float, now: float) -> None:
        """Say once that the sender stamps with a clock that is not LSL's."""
        if self._is_clock_checked:
            return
        self._is_clock_checked = True
        ahead = stamp + self.last_offset - now
        if abs(ahead) > _STRANGE:
            unix = abs(stamp - time.time()) < _STRANGE
            self._tell(
                StreamState.STREAMING,
                f"The stamps of {self.info.name!r} lie {abs(ahead) / 86400:.0f} days "
                f"{'ahead of' if ahead > 0 else 'behind'} LSL's clock: no marker of another "
                "program will meet them"
                + ("; they are UNIX time: set source.clock to unix." if unix else "."),
            )

    def _tell_offset(self, offset: float) -> None:
        if self._config.clock == "unix":
            offset += pylsl.local_clock() - time.time()
        super()._tell_offset(offset)

    # -- states --------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Say that the stream stalled, and look whether it lives on as another outlet."""
        now = pylsl.local_clock()
        waiting = self.state in (StreamState.STALLED, StreamState.LOST)
        if self.connection is None or waiting or not self._liveness.stalled(now):
            return
        self._tell(StreamState.STALLED, f"No sample for {now - self._liveness.last:.1f} s.")
        uid, again = self.info.uid, self._again()
        self._send(
            Scout(
                lambda candidate: candidate.uid != uid and again(candidate),
                max_buflen=BUFFER,
                refused=self._strangers(),
                name="phosphene-eeg-scout",
            )
        )

    def _again(self) -> Match:
        any_host = self._config.any_host
        return same_source(self.info, any_host=any_host, admitted=self._admitted)

    def _strangers(self) -> Match | None:
        return None if self._config.any_host else stranger(self.info)

    def _lost(self, reason: str) -> None:
        self._disconnect()
        self._lost_at = pylsl.local_clock()
        self._tell(StreamState.LOST, f"{reason} Looking for it.")
        self._send(
            Scout(
                self._again(),
                max_buflen=BUFFER,
                settle=0.1,
                refused=self._strangers(),
                prefer_uid=self.info.uid,
                name="phosphene-eeg-scout",
            )
        )

    def _adopt(self) -> None:
        """Go on with the stream that a scout brought, if it is the same."""
        connection = self._take()
        if connection is None:
            return
        if self.connection is not None:  # stalled: the old outlet hangs, a new one is there
            self._disconnect()
            self._lost_at = self._liveness.last
            self._tell(StreamState.LOST, f"Stream {self.info.name!r} was started anew.")
        self._send(None)
        try:
            self._order = channel_order(self.info, connection.info)
        except StreamChangedError as error:
            connection.close()
            self.failure = error
            self._tell(StreamState.ENDED, str(error))
            return
        self._begin(connection)
        fresh = connection.info
        other = outlet_changes(self.info, fresh)
        self.info = replace(
            self.info, uid=fresh.uid, hostname=fresh.hostname, created_at=fresh.created_at
        )
        away = pylsl.local_clock() - self._lost_at
        how = ", its channels in another order: remapped by label" if self._order else ""
        self._tell(StreamState.RETURNED, f"The stream returned after {away:.1f} s{other}{how}.")
        self._tell_offset(connection.first_offset)


def _interval(info: StreamInfo, sfreq: float) -> float:
    """How long the stream is usually silent between two samples, s; 0: not known."""
    if sfreq > 0:
        return 1.0 / sfreq
    return SCATTERED if KIND in info.ch_types else 0.0


def _connect(config: SourceConfig, stop: threading.Event) -> Connection:
    """Open the stream that `config` means."""

    def match(candidate: StreamInfo) -> bool:
        return is_source(candidate, config)

    def prefer(candidate: StreamInfo) -> bool:
        return candidate.type.lower() == config.type.lower()

    timeout, wanted = config.resolve_timeout, describe_source(config)
    with Finder() as finder:
        _, native = wait_for_one(
            finder, match, prefer=prefer, timeout=timeout, wanted=wanted, settle=0.1, stop=stop
        )
        connection = Connection(native, max_buflen=BUFFER, timeout=5.0, stop=stop)
        try:
            # The clock probe took half a second, in which a twin had time to answer: looking
            # again now costs nothing, a longer wait before would.
            only_one(finder, match, prefer=prefer, wanted=wanted, timeout=timeout)
            _check(connection.info, config)
        except SourceError:
            connection.close()
            raise
    return connection


def _check(info: StreamInfo, config: SourceConfig) -> None:
    if info.channel_format in ("string", "undefined"):
        raise SourceError(
            f"Stream {info.name!r} carries {info.channel_format} values, expected numbers: "
            "choose an EEG stream."
        )
    if config.ch_names and len(config.ch_names) != info.n_channels:
        raise SourceError(
            f"source.ch_names has {len(config.ch_names)} labels, expected {info.n_channels}: "
            f"stream {info.name!r} has {info.n_channels} channels. Give one label a channel."
        )
