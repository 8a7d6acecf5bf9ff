"""A virtual person who looks at one picture of a flickering grid; a simulation, no EEG of anybody.

Owns the EEG: background, and over the back of the head a response to every rise and fall of the
attended picture, from the frames that were really shown; where pictures flash in turn, to its every
flash, and a P300 with it. Sizes and latencies differ from person to
person, so that accuracy against time lies between the best and the worst of real people (the table
is in docs/attend.md). A `Source` under a virtual clock, which is told what to look at.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from scipy.signal import lfilter

from devices.files.base import eeg_info
from devices.files.cvep import CHANNELS
from devices.lsl.metadata import single_channel_info
from pipeline.looks import Grid, LookMarker
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

SFREQ: Final = 240.0
T_START: Final = 1000.0
"""Stamp of the first sample on the virtual clock, s."""
SETTLE: Final = 4.0
"""Before the first look, s: the filter settles."""
PAUSE: Final = 1.0
"""Between two looks, s: the eyes move."""
CHUNK: Final = 8
_WEIGHTS: Final = np.array([0.05, 0.1, 0.75, 0.55, 1.0, 0.9, 0.75, 0.1])
"""How much of the response each of `CHANNELS` shows."""
_P300_WEIGHTS: Final = np.array([0.5, 0.2, 0.4, 1.0, 0.5, 0.35, 0.4, 0.2])
"""The same of the P300, which an attended flash evokes."""
_JITTER: Final = 0.03
"""Standard deviation of the P300's latency from flash to flash, s."""
_N_SOURCES: Final = 12


@dataclass(frozen=True, slots=True)
class Looker:
    """Who looks: number of the person, size of the response (1: a person, 0: looks away), seed."""

    number: int = 1
    snr: float = 1.0
    seed: int = 0
    drops: float = 0.0
    """Part of the screen's frames that come a frame late."""


class LookerSource:
    """The virtual person's headset and the grid's markers as a `Source`.

    Parameters
    ----------
    looker : Looker
    grid : Grid
        What flickers.
    n_looks : int
        Looks after which it ends.
    """

    def __init__(self, looker: Looker, grid: Grid, *, n_looks: int) -> None:
        rng = np.random.default_rng([0xA77E, looker.number])
        self._grid, self._looker, self._n_looks = grid, looker, n_looks
        self._response = looker.snr * _response(rng)
        self._p300 = np.random.default_rng([0xA300, looker.number])
        self._p300_size = 3.5 * looker.snr * math.exp(float(self._p300.normal(0, 0.3)))
        self._p300_at = 0.38 + float(self._p300.normal(0, 0.03))
        self._kind = grid.kind
        self._mixing = rng.normal(0, 1, (len(CHANNELS), _N_SOURCES)) / math.sqrt(_N_SOURCES)
        self._rng = np.random.default_rng([0xA77E, looker.number, looker.seed])
        self._state = np.zeros((2, _N_SOURCES, 1))
        self._own_state = np.zeros((len(CHANNELS), 1))
        self._n_times = 0
        self._evoked = np.zeros((2, 0))
        """Of the response and of the P300, microvolts, from the next sample on."""
        self._look = -1
        self._target = 0
        self._frame = 0
        self._flip_at = 0.0
        self._bright = False
        self._is_on = False
        self._due: deque[tuple[float, LookMarker]] = deque()
        self._start_at = SETTLE
        self._is_over = False
        eeg = eeg_info_of(looker)
        markers = single_channel_info(
            name="phosphene-attend",
            stream_type="Markers",
            source_id="phosphene-attend-simulated",
            desc=grid.desc,
        )
        self._streams = {StreamRole.EEG: eeg, StreamRole.MARKERS: markers}
        self._is_new = True
        self._t_start = T_START

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        """Infos of both streams."""
        return MappingProxyType(self._streams)

    @property
    def is_live(self) -> bool:
        """Its clock is virtual."""
        return False

    @property
    def wants_look(self) -> bool:
        """Whether nothing flickers and more looks are to come."""
        return not self._is_on and not self._is_over and self._look + 1 < self._n_looks

    def begin_look(self, target: int | None) -> None:
        """Flicker from now on, after the pause; the person looks at `target` (None: the first)."""
        self._look += 1
        self._target, self._frame, self._is_on, self._bright = target or 0, 0, True, False
        self._start_at = max(SETTLE, self._n_times / SFREQ + PAUSE)
        self._flip_at = self._start_at

    def end_look(self) -> None:
        """Flicker no more."""
        if self._is_on:
            self._is_on = False
            now = self._n_times / SFREQ
            self._due.append((now, LookMarker(self._look, None)))
            if self._look + 1 >= self._n_looks:
                self._is_over = True

    def read(self, timeout: float) -> list[SourceItem]:
        """Give the next 33 ms of EEG with the markers before it; it never waits."""
        del timeout
        items: list[SourceItem] = []
        if self._is_new:
            self._is_new = False
            items += [ClockOffset(role, self._t_start, 0.0) for role in self._streams]
        end = (self._n_times + CHUNK) / SFREQ
        self._flicker(end)
        while self._due:
            at, marker = self._due.popleft()
            stamps = np.array([self._t_start + at])
            items.append(Packet(StreamRole.MARKERS, (marker.label,), stamps, self._t_start + at))
        data = self._chunk()
        stamps = self._t_start + (self._n_times + np.arange(CHUNK)) / SFREQ
        self._n_times += CHUNK
        items.append(Packet(StreamRole.EEG, data, stamps, float(stamps[-1])))
        if self._is_over:
            items += [
                StateChange(role, StreamState.ENDED, self._t_start + end, "The simulation is over.")
                for role in self._streams
            ]
        return items

    def close(self) -> None:
        """End; safe to call twice."""
        self._is_over = True

    def _flicker(self, end: float) -> None:
        """Show the frames before `end` (s from the start), and evoke what they evoke."""
        code = self._grid.codes[self._target]
        interval = 1 / self._grid.frame_rate
        while self._is_on and self._flip_at < end:
            is_late = self._frame > 0 and self._rng.random() < self._looker.drops
            if is_late:
                self._flip_at += interval
            cycle = self._grid.codes.shape[1]
            if is_late or self._frame % cycle == 0:
                cue = None if self._frame else self._target
                self._due.append((self._flip_at, LookMarker(self._look, self._frame, cue)))
            self._see(bool(code[self._frame % cycle]), self._flip_at)
            self._frame += 1
            self._flip_at += interval

    def _see(self, bright: bool, at: float) -> None:
        """Respond to the attended picture, as it is from `at` on, s from the start."""
        if bright == self._bright:
            return
        self._bright = bright
        if self._kind == "flicker":
            self._evoke(at, self._response[0 if bright else 1], 0)
        elif bright:
            late = self._p300_at + float(self._p300.normal(0, _JITTER))
            self._evoke(at, self._response[0], 0)
            self._evoke(at, self._p300_size * _p300(late), 1)

    def _evoke(self, at: float, wave: Float64, row: int) -> None:
        first = round(at * SFREQ) - self._n_times
        wave = wave[max(0, -first) :]
        first = max(0, first)
        self._reach(first + len(wave))
        self._evoked[row, first : first + len(wave)] += wave

    def _reach(self, n_times: int) -> None:
        need = n_times - self._evoked.shape[1]
        if need > 0:
            self._evoked = np.concatenate([self._evoked, np.zeros((2, need))], axis=1)

    def _chunk(self) -> Float64:
        """EEG (n_times, n_channels) float32: pink sources, alpha, electrode noise, the response."""
        noise = self._rng.normal(0, 1, (_N_SOURCES, CHUNK))
        slow, self._state[0] = lfilter([1.0], [1.0, -0.985], noise, zi=self._state[0])
        quick, self._state[1] = lfilter([1.0], [1.0, -0.8], noise, zi=self._state[1])
        alone = self._rng.normal(0, 1, (len(CHANNELS), CHUNK))
        own, self._own_state = lfilter([1.0], [1.0, -0.9], alone, zi=self._own_state)
        data = self._mixing @ (0.8 * slow + 1.2 * quick) + 0.8 * own
        self._reach(CHUNK)
        data += np.outer(_WEIGHTS, self._evoked[0, :CHUNK])
        if self._kind == "flash":
            data += np.outer(_P300_WEIGHTS, self._evoked[1, :CHUNK])
        self._evoked = self._evoked[:, CHUNK:]
        result: Float64 = np.ascontiguousarray(data.T, dtype=np.float32)
        return result


def eeg_info_of(looker: Looker) -> StreamInfo:
    """Describe the stream: labels, units, and that it is a simulation."""
    from pathlib import Path

    return eeg_info(
        Path(f"virtual-looker-{looker.number}"),
        ch_names=CHANNELS,
        sfreq=SFREQ,
        manufacturer="Phosphene simulation",
        is_simulated=True,
    )


def _p300(at: float) -> Float64:
    """P300 (n_times,) of size 1 that is highest `at` s after its flash."""
    times = np.arange(round(0.8 * SFREQ)) / SFREQ
    n200 = -0.4 * np.exp(-0.5 * ((times - at + 0.15) / 0.03) ** 2)
    result: Float64 = n200 + np.exp(-0.5 * ((times - at) / 0.07) ** 2)
    return result


def _response(rng: np.random.Generator) -> Float64:
    """Responses (2, n_times) of a person to a rise and a fall, microvolts."""
    times = np.arange(round(0.3 * SFREQ)) / SFREQ
    size = 0.75 * math.exp(float(rng.normal(0, 0.3)))
    delay = float(rng.normal(0, 0.006))
    waves = []
    for scale, sign in ((1.0, 1.0), (0.7, -1.0)):
        n75 = -np.exp(-0.5 * ((times - 0.075 - delay) / 0.014) ** 2)
        p100 = 1.4 * np.exp(-0.5 * ((times - 0.105 - delay) / 0.016) ** 2)
        n145 = -0.8 * np.exp(-0.5 * ((times - 0.15 - delay) / 0.024) ** 2)
        waves.append(sign * scale * size * (n75 + p100 + n145))
    return np.array(waves)
