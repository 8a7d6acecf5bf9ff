"""A deterministic stream under a virtual clock, to which everything can happen.

Owns the playing of `devices.hostile.faults`: what is sampled, lost, stamped, delayed and
delivered, in the order in which it would arrive. Every sample tells its number and every channel
its label, so a sample that is lost, doubled or under a wrong label shows. A stream that returns
goes through the very rule of the LSL inlet (`devices.lsl.changes`). Knows nothing of filters and
epochs; hours of stream take seconds.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from devices.errors import SourceError, StreamChangedError
from devices.hostile import faults as kinds
from devices.hostile.faults import Fault
from devices.hostile.markers import MarkerPlan, TrueMarker
from devices.hostile.samples import Samples
from devices.hostile.settings import HostileSettings
from devices.lsl.changes import channel_order
from pipeline.values import (
    ClockOffset,
    Float64,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)

__all__ = ["HostileSettings", "HostileSource", "TrueMarker"]

T_START = 1000.0
"""Local time of the first sample, s."""
COUNTER = "counter"
"""Label of the channel that holds the sample's number."""
STALL_AFTER = 1.0
LOST_AFTER = 1.5
"""Time without a sample until the stream is called stalled, lost, s."""
PROBE_ERROR = 1e-4
"""Standard deviation of a clock probe, s."""


class HostileSource:
    """Plays a stream with faults; satisfies `pipeline.ports.Source`.

    Parameters
    ----------
    settings : HostileSettings
    faults : sequence of Fault

    Attributes
    ----------
    now : float
        The virtual clock, s: arrival of the newest items.
    n_delivered, n_lost, n_doubled : int
        Samples that were handed out (repeated ones included); that never will be; that were
        handed out twice.
    """

    def __init__(self, settings: HostileSettings, faults: Sequence[Fault] = ()) -> None:
        self.settings = settings
        self.now = T_START
        self.n_delivered = self.n_lost = self.n_doubled = 0
        self._faults = sorted(faults, key=lambda fault: fault.at)
        self._rate = settings.true_sfreq or settings.sfreq
        self._rng = np.random.default_rng(settings.seed)
        self.samples = Samples(settings.ch_names, self._rate, self._faults)
        self._markers = MarkerPlan(settings, self._faults, T_START)
        self._ahead = _SenderClock(self._faults)
        self._eeg = _eeg_info(settings)
        marker_info = StreamInfo("stimuli", "Markers", "hostile-stimuli", 1, 0.0, "string")
        self._streams = {StreamRole.EEG: self._eeg, StreamRole.MARKERS: marker_info}
        self._failure: SourceError | None = None
        self._order: tuple[int, ...] | None = None
        self._queue: list[tuple[float, int, SourceItem]] = []
        self._number = count()
        self._closed = threading.Event()
        self._steps = self._play()

    # -- the port -------------------------------------------------------------------------------

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        """Infos of both streams."""
        return MappingProxyType(self._streams)

    @property
    def is_live(self) -> bool:
        """Its clock is virtual: nothing arrives in the present."""
        return False

    def read(self, timeout: float) -> list[SourceItem]:
        """Give what arrives next, at once; after the end, empty lists (after `timeout` s).

        Raises
        ------
        SourceError
            The stream returned as something else; an `ENDED` with the same sentence came before.
        """
        if self._closed.is_set():
            return []
        for items in self._steps:
            if items:
                return items
        if self._failure is not None:
            raise self._failure
        self._closed.wait(timeout)
        return []

    def close(self) -> None:
        """End; `read` then gives nothing more."""
        self._closed.set()

    # -- the truth ------------------------------------------------------------------------------

    def true_time(self, numbers: NDArray[np.int64]) -> Float64:
        """Local time at which samples were taken, same shape, s."""
        times: Float64 = T_START + numbers / self._rate
        return times

    def take_true_markers(self) -> list[TrueMarker]:
        """Give what was true of the markers that were handed out since the last call."""
        return self._markers.take()

    def offset(self, t: float) -> float:
        """Offset between the clocks at `t` s of stream time: `local = sender + offset`."""
        return self.settings.clock_offset - float(self._ahead.at(np.array([t]))[0])

    # -- playing --------------------------------------------------------------------------------

    def _play(self) -> Iterator[list[SourceItem]]:
        """Sample, chunk by chunk, and hand out what has arrived by then."""
        settings, chunk = self.settings, self.settings.chunk
        n_times = math.ceil(settings.duration * self._rate)
        self._plan_states()
        self._plan_probes()
        active: list[Fault] = []
        upcoming = iter([*self._faults, Fault(math.inf)])
        following = next(upcoming)
        for low in range(0, n_times, chunk):
            numbers = np.arange(low, min(low + chunk, n_times))
            ends = (numbers[-1] + 1) / self._rate
            while following.at < ends:
                active.append(following)
                following = next(upcoming)
            starts = low / self._rate
            active = [f for f in active if self._end(f) > starts]
            self._sample(numbers, active)
            for arrival, marker in self._markers.until(T_START + ends):
                self._put(arrival, marker)
            yield from self._arrived(T_START + ends)
            if self._failure is not None:
                return
        yield from self._arrived(math.inf)
        end = T_START + settings.duration
        yield [StateChange(role, StreamState.ENDED, end, "The end.") for role in self._streams]

    def _end(self, fault: Fault) -> float:
        """When a fault has certainly passed, s of stream time."""
        if isinstance(fault, kinds.Lasting):
            return fault.end
        n_samples = fault.n_samples if isinstance(fault, kinds.Loss | kinds.NotFinite) else 0
        return fault.at + 1.0 + n_samples / self._rate

    def _put(self, arrival: float, item: SourceItem) -> None:
        heapq.heappush(self._queue, (arrival, next(self._number), item))

    def _arrived(self, until: float) -> Iterator[list[SourceItem]]:
        """Hand out what arrives before `until`, s; packets that come together as one."""
        items: list[SourceItem] = []
        while self._queue and self._queue[0][0] < until:
            self.now, _, item = heapq.heappop(self._queue)
            if isinstance(item, StateChange) and item.state is StreamState.RETURNED:
                item = self._return(item)
            if isinstance(item, Packet):
                if item.role is StreamRole.EEG:
                    self.n_delivered += len(item.timestamps)
                    item = self._rewired(item)
                else:
                    self._markers.note(item)
                if items and _come_together(items[-1], item):
                    item = _joined(items.pop(), item)
            items.append(item)
            if self._failure is not None:
                break
        yield items

    # -- samples --------------------------------------------------------------------------------

    def _sample(self, numbers: NDArray[np.int64], active: list[Fault]) -> None:
        """Take one packet's samples and send what is left of it."""
        times = numbers / self._rate
        keep = self._kept(numbers, times, active)
        self.n_lost += len(keep) - int(keep.sum())
        if not keep.any():
            return
        stamps = T_START + times + self._ahead.at(times) - self.settings.clock_offset
        for fault in active:
            if isinstance(fault, kinds.Jitter):
                inside = (times >= fault.at) & (times < fault.end)
                stamps = stamps + inside * self._rng.uniform(-fault.size, fault.size, len(times))
        samples = self.samples.at(numbers)
        arrival = T_START + float(times[-1]) + self.settings.latency
        for fault in active:
            if isinstance(fault, kinds.Burst) and fault.at <= arrival - T_START < fault.end:
                arrival = T_START + fault.end
            elif isinstance(fault, kinds.Reordered) and times[0] <= fault.at <= times[-1]:
                arrival += 1.5 * len(times) / self._rate
        packet = Packet(StreamRole.EEG, samples[keep], stamps[keep], arrival)
        self._put(arrival, packet)
        for fault in active:
            if isinstance(fault, kinds.Duplicate) and times[0] <= fault.at <= times[-1]:
                self.n_doubled += len(packet.timestamps)
                self._put(arrival + 1e-6, replace(packet, received_at=arrival + 1e-6))

    def _kept(
        self, numbers: NDArray[np.int64], times: Float64, active: list[Fault]
    ) -> NDArray[np.bool_]:
        """Samples that are not lost."""
        keep = np.ones(len(times), dtype=bool)
        for fault in active:
            if isinstance(fault, kinds.Gap | kinds.Death):
                keep &= (times < fault.at) | (times >= fault.end)
            elif isinstance(fault, kinds.Loss):
                first = math.ceil(fault.at * self._rate)
                keep &= (numbers < first) | (numbers >= first + fault.n_samples)
            elif isinstance(fault, kinds.RandomLoss):
                inside = (times >= fault.at) & (times < fault.end)
                keep &= ~(inside & (self._rng.random(len(times)) < fault.rate))
        return keep

    def _rewired(self, packet: Packet) -> Packet:
        """Put the samples of a stream that returned in another order back under their labels."""
        if self._order is None or not isinstance(packet.samples, np.ndarray):
            return packet
        wire = packet.samples[:, self._wire]
        return replace(packet, samples=wire[:, self._order])

    # -- states and probes ----------------------------------------------------------------------

    def _plan_states(self) -> None:
        self._deaths = {
            T_START + fault.end: fault for fault in self._faults if isinstance(fault, kinds.Death)
        }
        for fault in self._faults:
            if not isinstance(fault, kinds.Death | kinds.Burst | kinds.Gap):
                continue
            at, end = T_START + fault.at, T_START + fault.end
            if fault.duration > STALL_AFTER:
                self._tell(at + STALL_AFTER, StreamState.STALLED, "No sample for 1.0 s.")
            if isinstance(fault, kinds.Death):
                if fault.duration > LOST_AFTER:
                    self._tell(at + LOST_AFTER, StreamState.LOST, "The stream is gone.")
                away = f"The stream returned after {fault.duration:.1f} s."
                self._tell(end, StreamState.RETURNED, away)
                self._probe(end, fault.end)
            elif fault.duration > STALL_AFTER:
                self._tell(end, StreamState.STREAMING, "Samples arrive.")

    def _tell(self, at: float, state: StreamState, reason: str) -> None:
        self._put(at, StateChange(StreamRole.EEG, state, at, reason))

    def _plan_probes(self) -> None:
        interval = self.settings.probe_interval
        for k in range(math.ceil(self.settings.duration / interval)):
            t = k * interval
            if not any(death.at <= t < death.end for death in self._deaths.values()):
                self._probe(T_START + t, t)
            self._put(T_START + t, ClockOffset(StreamRole.MARKERS, T_START + t, 0.0))

    def _probe(self, at: float, t: float) -> None:
        error = float(self._rng.normal(0, PROBE_ERROR))
        self._put(at, ClockOffset(StreamRole.EEG, at, self.offset(t) + error))

    def _return(self, change: StateChange) -> StateChange:
        """Compare the returned stream with the one that was lost, as the inlet does."""
        death = self._deaths[change.at]
        order = death.order or tuple(range(len(self.settings.ch_names)))
        wire = (*order, len(order))  # the counter stays last
        names = tuple(self._eeg.ch_names[i] for i in wire)
        if death.ch_names:
            names = (*death.ch_names, COUNTER)
        after = replace(self._eeg, ch_names=names, sfreq=death.sfreq or self._eeg.sfreq)
        try:
            self._order, self._wire = channel_order(self._eeg, after), wire
        except StreamChangedError as error:
            self._failure = error
            return replace(change, state=StreamState.ENDED, reason=str(error))
        how = " Its channels are in another order: remapped by label." if self._order else ""
        return replace(change, reason=change.reason + how)


class _SenderClock:
    """How far the faults put the sender's clock ahead of ours."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        jumps = [(f.at, f.shift) for f in faults if isinstance(f, kinds.ClockJump)]
        jumps += [(f.end, f.clock_shift) for f in faults if isinstance(f, kinds.Death)]
        jumps.sort()
        self._jump_times = np.array([at for at, _ in jumps])
        self._jumped = np.concatenate(([0.0], np.cumsum([shift for _, shift in jumps])))
        drifts = [f for f in faults if isinstance(f, kinds.Drift)]
        knots = np.unique([0.0, *(t for f in drifts for t in (f.at, f.end))])
        self._knots = knots
        self._drifted = np.zeros(len(knots))
        for f in drifts:
            self._drifted += 1e-6 * f.ppm * np.clip(knots - f.at, 0.0, f.duration)

    def at(self, times: Float64) -> Float64:
        """Time ahead at stream times, same shape, s."""
        jumped = self._jumped[np.searchsorted(self._jump_times, times, side="right")]
        ahead: Float64 = jumped + np.interp(times, self._knots, self._drifted)
        return ahead


def _eeg_info(settings: HostileSettings) -> StreamInfo:
    n_eeg = len(settings.ch_names)
    return StreamInfo(
        name="hostile",
        type="EEG",
        source_id="hostile-1",
        n_channels=n_eeg + 1,
        sfreq=settings.sfreq,
        channel_format="float32",
        ch_names=(*settings.ch_names, COUNTER),
        ch_units=("microvolts",) * (n_eeg + 1),
        ch_types=("EEG",) * n_eeg + ("misc",),
    )


def _come_together(before: SourceItem, item: SourceItem) -> bool:
    """Whether two packets of EEG arrive in the same moment."""
    return (
        isinstance(before, Packet)
        and isinstance(item, Packet)
        and before.role is item.role is StreamRole.EEG
        and before.received_at == item.received_at
    )


def _joined(before: SourceItem, item: SourceItem) -> SourceItem:
    if not (isinstance(before, Packet) and isinstance(item, Packet)):
        return item
    samples = np.concatenate((np.asarray(before.samples), np.asarray(item.samples)))
    stamps = np.concatenate((before.timestamps, item.timestamps))
    return Packet(StreamRole.EEG, samples, stamps, item.received_at)
