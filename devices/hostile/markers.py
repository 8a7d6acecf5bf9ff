"""When the hostile stream's markers happen, when they arrive, and what they say.

Owns the plan of the markers. Knows nothing of samples.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from devices.hostile import faults as kinds
from devices.hostile.faults import Fault
from devices.hostile.settings import HostileSettings
from pipeline.values import Packet, StreamRole

LATENCY = 0.002
"""From a marker's onset to its arrival, s."""


@dataclass(frozen=True, slots=True)
class TrueMarker:
    """A marker as it was sent: its stamp (local clock, s) and its text; in order of arrival."""

    t_onset: float
    text: str


class MarkerPlan:
    """Markers in order of arrival."""

    def __init__(self, settings: HostileSettings, faults: Sequence[Fault], start: float) -> None:
        self._settings = settings
        self._start = start
        self._rng = np.random.default_rng((settings.seed, 1))
        # Apart, so that a fault leaves labels and onsets of the others as they were.
        self._order_rng = np.random.default_rng((settings.seed, 2))
        self._late = [f for f in faults if isinstance(f, kinds.LateMarkers)]
        self._shuffled = [f for f in faults if isinstance(f, kinds.ShuffledMarkers)]
        self._given: list[TrueMarker] = []
        self._number = count()
        self._queue: list[tuple[float, float, int, Packet]] = []
        self._extra = [
            f for f in faults if isinstance(f, kinds.MalformedMarkers | kinds.MarkerStorm)
        ]
        self._next = 0.5 * settings.marker_interval or math.inf

    def until(self, end: float) -> Iterator[tuple[float, Packet]]:
        """Give arrival and packet of the markers that happen before `end`, s."""
        while self._extra and self._start + self._extra[0].at < end:
            self._add(self._extra.pop(0))
        while self._start + self._next < end and self._next < self._settings.duration:
            labels = self._settings.labels
            self._plan(self._next, labels[int(self._rng.integers(len(labels)))])
            self._next += self._settings.marker_interval * float(self._rng.uniform(0.8, 1.2))
        while self._queue:
            arrival, _, _, packet = heapq.heappop(self._queue)
            yield arrival, packet

    def note(self, packet: Packet) -> None:
        """Note that a packet was handed out."""
        text = packet.samples[0]
        self._given.append(TrueMarker(float(packet.timestamps[0]), str(text)))

    def take(self) -> list[TrueMarker]:
        """Give what was handed out since the last call."""
        given, self._given = self._given, []
        return given

    def _add(self, fault: Fault) -> None:
        if isinstance(fault, kinds.MalformedMarkers):
            for text in fault.texts:
                self._send(fault.at + fault.ahead, text, fault.at)
        elif isinstance(fault, kinds.MarkerStorm):
            for k in range(int(fault.rate * fault.duration)):
                self._plan(fault.at + k / fault.rate, "storm")

    def _plan(self, t: float, text: str) -> None:
        """Send a marker that happens at `t` s of stream time, late or shuffled if so planned."""
        arrival, order = t, 0.0
        for late in self._late:
            if late.at <= t < late.end:
                arrival += late.delay
        for shuffled in self._shuffled:
            if shuffled.at <= t < shuffled.end:
                arrival, order = shuffled.end, float(self._order_rng.random())
        self._send(t, text, arrival, order)

    def _send(self, t: float, text: str, arrival: float, order: float = 0.0) -> None:
        at = self._start + arrival + LATENCY + 1e-6 * order
        packet = Packet(StreamRole.MARKERS, (text,), np.array([self._start + t]), at)
        heapq.heappush(self._queue, (at, order, next(self._number), packet))
