"""`phosphene bench acquisition`: pull, filter, store and cut, beside MNE-LSL in one process.

Owns four measurements, each with the peer interleaved (A-B-A-B) and in process CPU time: a 40 ms
chunk at a 60 s buffer; how that grows from a 10 s buffer; the CPU of an idle application; from the
last sample pushed to the epoch handed on. The peer gets an outlet of its own with the same samples.
mne-lsl is a peer, not a dependency: without it the benchmark says so.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from app.benchmarks.live import own_lsl, signal_of
from configs import SessionConfig
from configs.models import EpochsConfig, FilterConfig, MarkersConfig, SourceConfig

CHUNK_MS = 40.0
N_CHANNELS, SFREQ = 64, 1000.0
N_CHUNK = round(CHUNK_MS * SFREQ / 1000)
N_REPEATS = 36
"""Turns of each side; a turn is a second of stream."""
SAME = 1e-6
"""Stamps that are no further apart are one, s."""
FILTER = {"order": 2, "ftype": "butter", "output": "sos"}


def run_acquisition_bench(
    *, n_repeats: int = N_REPEATS, idle: float = 6.0, n_epochs: int = 60
) -> dict[str, Any]:
    """Measure; a dict with `rows`.

    Parameters
    ----------
    n_repeats : int
        Turns of each side for the cost of a chunk.
    idle : float
        Length of a turn of the idle measurement, s; three turns each.
    n_epochs : int
        Epochs of each side for the delay.
    """
    own_lsl()
    try:
        from mne_lsl import set_log_level
    except ImportError:
        return {"peer": "mne-lsl is not installed (extra `peers`)", "rows": []}
    set_log_level("ERROR")
    load_before = os.getloadavg()[0]
    short, long = _chunk_cost(n_repeats)
    idling = _idle(idle)
    delay = _delay(n_epochs)
    rows = [
        _row("P1: µs a 40 ms chunk, 64 channels, 1 kHz, 60 s buffer (median)", *long, 5.0),
        _growth_row(short, long),
        _row("P4: % of a core idle, 32 channels, 500 Hz, markers, epochs (median)", *idling, 4.0),
        _row("P5: ms from the last sample pushed to the epoch (p95)", *delay, 1.0),
    ]
    return {
        "load_before_after": [round(load_before, 2), round(os.getloadavg()[0], 2)],
        "chunk_10s_us_min_median": {"ours": short[0][:2], "mne_lsl": short[1][:2]},
        "chunk_60s_us_min_median": {"ours": long[0][:2], "mne_lsl": long[1][:2]},
        "idle_percent_min_median": {"ours": idling[0][:2], "mne_lsl": idling[1][:2]},
        "delay_ms_p50_p95_max": {"ours": delay[0][3:], "mne_lsl": delay[1][3:]},
        "rows": rows,
    }


Figures = tuple[float, ...]
"""Minimum, median, the one that is compared, and more to show."""


def _row(what: str, ours: Figures, peer: Figures, goal: float) -> dict[str, Any]:
    ratio = peer[2] / ours[2]
    return {
        "what": what,
        "ours": ours[2],
        "peer": peer[2],
        "ratio": round(ratio, 2),
        "goal": f">= {goal:g}",
        "met": ratio >= goal,
    }


def _growth_row(short: tuple[Figures, Figures], long: tuple[Figures, Figures]) -> dict[str, Any]:
    ours, peer = (long[side][1] / short[side][1] for side in (0, 1))
    return {
        "what": "P3: growth of that from a 10 s to a 60 s buffer (medians)",
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(peer / ours, 2),
        "goal": "<= 1.1",
        "met": ours <= 1.1,
    }


# -- streams -------------------------------------------------------------------------------------


class _Outlet:
    """An outlet of mne-lsl's kind of description, which both sides read."""

    def __init__(self, n_channels: int, sfreq: float) -> None:
        from mne_lsl.lsl import StreamInfo, StreamOutlet

        self.source_id = f"bench-{uuid.uuid4().hex[:8]}"
        about = StreamInfo("bench", "EEG", n_channels, sfreq, "float32", self.source_id)
        about.set_channel_names([f"E{i}" for i in range(n_channels)])
        about.set_channel_types("eeg")
        about.set_channel_units("microvolts")
        self._outlet = StreamOutlet(about)
        self._base = signal_of(n_channels, sfreq)
        self._sfreq = sfreq
        self.n_pushed = 0
        self.t_start = _clock()

    def push(self, n_times: int, *, stamp: float = 0.0) -> None:
        """Push the next samples; `stamp` is the last one's time (0: now)."""
        rows = np.arange(self.n_pushed, self.n_pushed + n_times) % len(self._base)
        self._outlet.push_chunk(np.ascontiguousarray(self._base[rows]), stamp)
        self.n_pushed += n_times


def _clock() -> float:
    import pylsl

    return float(pylsl.local_clock())


def _wait(holds: Callable[[], bool], timeout: float = 5.0) -> None:
    deadline = perf_counter() + timeout
    while not holds():
        if perf_counter() > deadline:
            raise TimeoutError(f"not within {timeout} s: samples did not arrive over LSL")
        time.sleep(0.0005)


# -- the cost of a chunk -------------------------------------------------------------------------


class _OurChunk:
    """Pull, filter and store of one chunk, as a session does it: our whole inlet and live path."""

    def __init__(self, buffer: float) -> None:
        from devices.lsl.inlet import LslSource
        from pipeline.live import LivePath

        self.feed = _Outlet(N_CHANNELS, SFREQ)
        config = SessionConfig(
            buffer=buffer, source=SourceConfig(source_id=self.feed.source_id, chunk_ms=CHUNK_MS)
        )
        self._source = LslSource(config.source)
        self._path = LivePath(config, self._source.streams)

        opened: Any = self._source._eeg.connection  # noqa: SLF001 - only asked whether it is there
        self._inlet = opened._inlet  # noqa: SLF001

    def is_there(self) -> bool:
        """Whether a whole chunk has arrived."""
        return int(self._inlet.samples_available()) >= N_CHUNK

    def take(self) -> None:
        """Read it, and feed the live path."""
        for item in self._source.read(0.0):
            self._path.feed(item)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class _TheirChunk:
    """The same as `StreamLSL.acquire` does it."""

    def __init__(self, buffer: float) -> None:
        # mne-lsl's liblsl (1.17) sees, in machine scope, the newest outlet alone.
        self.feed = _Outlet(N_CHANNELS, SFREQ)
        self._stream = _peer_stream(self.feed.source_id, buffer, delay=None)
        self._inlet = self._stream._inlet  # noqa: SLF001 - only asked whether the chunk is there

    def is_there(self) -> bool:
        """Whether a whole chunk has arrived."""
        return int(self._inlet.samples_available) >= N_CHUNK

    def take(self) -> None:
        """Pull, filter and store it."""
        self._stream.acquire()

    def close(self) -> None:
        """Disconnect."""
        self._stream.disconnect()


def _chunk_cost(n_repeats: int) -> list[tuple[Figures, Figures]]:
    """CPU time of a chunk, µs, ours and theirs, at a 10 s and at a 60 s buffer.

    Minimum and median of the turns' means; all four take turns, so that growth is compared
    under the same load.
    """
    sides = [side(buffer) for buffer in (10.0, 60.0) for side in (_OurChunk, _TheirChunk)]
    costs: list[list[float]] = [[] for _ in sides]
    n_turn = round(1000 / CHUNK_MS)
    try:
        # The first turns warm everything up; they are not counted.
        for turn in range(n_repeats + 3):
            for k, side in enumerate(sides):
                spent = 0.0
                for _ in range(n_turn):
                    # Stamps at the stream's own rate, though it is pushed as fast as it goes.
                    end = side.feed.t_start + (side.feed.n_pushed + N_CHUNK) / SFREQ
                    side.feed.push(N_CHUNK, stamp=end)
                    _wait(side.is_there)
                    began = process_time()
                    side.take()
                    spent += process_time() - began
                if turn >= 3:
                    costs[k].append(1e6 * spent / n_turn)
    finally:
        for side in sides:
            side.close()
    ours_10, theirs_10, ours_60, theirs_60 = (_figures(each) for each in costs)
    return [(ours_10, theirs_10), (ours_60, theirs_60)]


def _figures(costs: list[float]) -> Figures:
    middle = round(median(costs), 1)
    return round(min(costs), 1), middle, middle


def _peer_stream(source_id: str, buffer: float, *, delay: float | None) -> Any:
    from mne_lsl.stream import StreamLSL

    options = {"acquisition_delay": delay, "timeout": 10}
    stream = StreamLSL(buffer, source_id=source_id).connect(**options)
    stream.filter(0.5, 40.0, iir_params=FILTER)
    stream.notch_filter(50.0)
    return stream


# -- an idle application -------------------------------------------------------------------------


class _Pacer:
    """Pushes EEG in 20 ms chunks at its rate, and a marker a second, from a thread."""

    def __init__(self, feed: _Outlet, sfreq: float, markers: Any, period: float = 1.0) -> None:
        self._feed, self._sfreq, self._markers, self._period = feed, sfreq, markers, period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bench-pacer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        n_chunk, began, n_markers = round(0.02 * self._sfreq), _clock(), 0
        k = 0
        while not self._stop.is_set():
            k += 1
            due = began + k * n_chunk / self._sfreq
            self._stop.wait(max(0.0, due - _clock()))
            self._feed.push(n_chunk, stamp=due)
            if due - began >= (n_markers + 1) * self._period:
                n_markers += 1
                self._markers(due)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def _string_markers() -> tuple[str, Callable[[float], None]]:
    import pylsl

    source_id = f"bench-markers-{uuid.uuid4().hex[:8]}"
    outlet = pylsl.StreamOutlet(
        pylsl.StreamInfo("bench-markers", "Markers", 1, 0, "string", source_id)
    )
    return source_id, lambda stamp: outlet.push_sample(["stimulus"], stamp)


def _number_markers() -> tuple[str, Callable[[float], None]]:
    """MNE-LSL takes events as numbers from a channel each."""
    from mne_lsl.lsl import StreamInfo, StreamOutlet

    source_id = f"bench-events-{uuid.uuid4().hex[:8]}"
    about = StreamInfo("bench-events", "events", 1, 0, "int32", source_id)
    about.set_channel_names(["stimulus"])
    about.set_channel_types("stim")
    about.set_channel_units("none")
    outlet = StreamOutlet(about)
    value = np.array([1], dtype=np.int32)
    return source_id, lambda stamp: outlet.push_sample(value, stamp)


class _Ours:
    """Our acquisition as a session runs it: one thread that reads the source and feeds the path."""

    def __init__(self, source_id: str, marker_id: str, *, settle: bool) -> None:
        from devices.lsl.inlet import LslSource
        from pipeline.live import LivePath

        config = SessionConfig(
            source=SourceConfig(source_id=source_id),
            markers=MarkersConfig(source_id=marker_id),
            epochs=EpochsConfig(tmin=-0.2, tmax=0.3, reject_uv={}),
            filter=FilterConfig() if settle else FilterConfig(l_freq=20.0),
        )
        self.source = LslSource(config.source, config.markers)
        self.path = LivePath(config, self.source.streams)
        self.epochs: list[tuple[float, float]] = []
        """Time of the last sample and of the hand-over, s."""
        self._timeout = config.source.chunk_ms / 1000
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bench-ours", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for item in self.source.read(self._timeout):
                for verdict in self.path.feed(item):
                    if verdict.epoch is not None:
                        self.epochs.append((verdict.epoch.t_onset, _clock()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.source.close()


class _Theirs:
    """StreamLSL, a marker stream and EpochsStream with their defaults."""

    def __init__(self, source_id: str) -> None:
        from mne_lsl.stream import EpochsStream, StreamLSL

        self.stream = _peer_stream(source_id, 10.0, delay=0.001)
        # Only now: in machine scope mne-lsl's liblsl (1.17) sees the newest outlet alone.
        marker_id, self.push_marker = _number_markers()
        self.events = StreamLSL(10.0, source_id=marker_id).connect(
            acquisition_delay=0.001, timeout=10
        )
        self.epochs = EpochsStream(
            self.stream, 20, event_id={"stimulus": 1}, event_channels="stimulus",
            event_stream=self.events, tmin=-0.2, tmax=0.3,
        )  # fmt: skip
        self.epochs.connect(acquisition_delay=0.001)

    def close(self) -> None:
        self.epochs.disconnect()
        self.events.disconnect()
        self.stream.disconnect()


def _idle(duration: float) -> tuple[Figures, Figures]:
    """Process CPU of each application less that of the pushing alone, % of a core."""
    sfreq = 500.0
    spent: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(3):
        for side in (2, 0, 1):
            feed = _Outlet(32, sfreq)
            reader: Any = None
            pacer: _Pacer | None = None
            try:
                if side == 1:
                    reader = _Theirs(feed.source_id)
                    push = reader.push_marker
                else:
                    marker_id, push = _string_markers()
                    reader = _Ours(feed.source_id, marker_id, settle=True) if side == 0 else None
                pacer = _Pacer(feed, sfreq, push)
                time.sleep(1.0)
                began, cpu_began = perf_counter(), process_time()
                time.sleep(duration)
                spent[side].append(100 * (process_time() - cpu_began) / (perf_counter() - began))
            finally:
                if pacer is not None:
                    pacer.close()
                if reader is not None:
                    reader.close()
    pushing = median(spent[2])
    ours, theirs = ([max(0.01, each - pushing) for each in spent[side]] for side in (0, 1))
    return _percent(ours), _percent(theirs)


def _percent(values: list[float]) -> Figures:
    middle = round(median(values), 2)
    return round(min(values), 2), middle, middle


# -- from the last sample to the epoch -----------------------------------------------------------


def _delay(n_epochs: int) -> tuple[Figures, Figures]:
    """From the push of the chunk with an epoch's last sample to the epoch, ms."""
    late: tuple[list[float], list[float]] = ([], [])
    for _ in range(2):
        late[0].extend(_our_delay(n_epochs // 2))
        late[1].extend(_their_delay(n_epochs // 2))
    return _quantiles(late[0]), _quantiles(late[1])


def _quantiles(late: list[float]) -> Figures:
    p50, p95 = (round(float(np.quantile(late, q)), 2) for q in (0.5, 0.95))
    return round(min(late), 2), p50, p95, p50, p95, round(max(late), 2)


class _TimedPacer(_Pacer):
    """A pacer that notes when it pushed which sample, and which markers it sent."""

    def __init__(self, feed: _Outlet, sfreq: float, markers: Any) -> None:
        self.pushes: list[tuple[float, float]] = []
        self.onsets: list[float] = []

        def note(stamp: float) -> None:
            self.onsets.append(stamp)
            markers(stamp)

        push = feed.push

        def timed(n_times: int, *, stamp: float = 0.0) -> None:
            self.pushes.append((stamp, _clock()))
            push(n_times, stamp=stamp)

        feed.push = timed  # type: ignore[method-assign]
        super().__init__(feed, sfreq, note, period=0.25)

    def pushed_at(self, t: float) -> float:
        """When the sample of time `t` was pushed, s."""
        return next(at for stamp, at in self.pushes if stamp >= t - SAME)


def _our_delay(n_epochs: int) -> list[float]:
    feed = _Outlet(32, 500.0)
    marker_id, push = _string_markers()
    reader = _Ours(feed.source_id, marker_id, settle=False)
    pacer = _TimedPacer(feed, 500.0, push)
    try:
        _wait(lambda: len(reader.epochs) >= n_epochs, 0.25 * n_epochs + 20)
    finally:
        reader.close()
        pacer.close()
    return [1000 * (at - pacer.pushed_at(t + 0.3)) for t, at in reader.epochs[:n_epochs]]


def _their_delay(n_epochs: int) -> list[float]:
    feed = _Outlet(32, 500.0)
    reader = _Theirs(feed.source_id)
    pacer = _TimedPacer(feed, 500.0, reader.push_marker)
    late: list[float] = []
    try:
        # Epochs carry no onset: the newest one that can be complete is the one that came.
        deadline = perf_counter() + 0.25 * n_epochs + 20
        while len(late) < n_epochs and perf_counter() < deadline:
            if not reader.epochs.n_new_epochs:
                time.sleep(0.0002)
                continue
            now = _clock()
            reader.epochs.get_data()
            whole = [t for t in list(pacer.onsets) if pacer.pushes[-1][0] >= t + 0.3 - SAME]
            if whole:
                late.append(1000 * (now - pacer.pushed_at(whole[-1] + 0.3)))
    finally:
        reader.close()
        pacer.close()
    return late
