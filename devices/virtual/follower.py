"""A virtual headset over LSL whose wearer looks at somebody else's noise-tagged grid.

Owns following the grid's marker stream (its codes are in the metadata) and the EEG's schedule; the
EEG is the virtual looker's, evoked by the frames that the markers tell. It looks at what a marker
asks for, else at a picture of its own choice each time. A simulation, no EEG of anybody.
"""

from __future__ import annotations

import math
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
import pylsl

from devices.lsl.metadata import from_pylsl
from devices.lsl.outlet import EegOutlet
from devices.virtual.looker import CHUNK, SFREQ, Looker, LookerSource, eeg_info_of
from pipeline.codes import FRAME_RATE, gold_codes
from pipeline.errors import InfoError
from pipeline.looks import Grid, LookMarker, ShownFrames, read_grid, read_label
from pipeline.values import Packet, StreamInfo, StreamRole

GRID_STREAM: Final = "phosphene-attend"
"""Name of the marker stream that it follows."""
BEHIND: Final = 0.08
"""How long after its last sample a chunk is sent, s: markers are heard before they are answered."""
_FOREVER: Final = 1 << 30
_OPEN_SECONDS: Final = 5.0
_PULL_SECONDS: Final = 0.2


class Follower(LookerSource):
    """EEG of somebody who looks at a grid that markers tell of.

    Parameters
    ----------
    looker : Looker
    t_start : float
        Stamp of the first sample, s.
    """

    def __init__(self, looker: Looker, *, t_start: float) -> None:
        blank = Grid(gold_codes(2), ("", ""), FRAME_RATE)
        super().__init__(looker, blank, n_looks=_FOREVER)
        self._t_start = t_start
        self._own_choice = np.random.default_rng([0xF0110, looker.number, looker.seed])
        self._heard: deque[tuple[Grid, LookMarker, float]] = deque()
        self._shown: ShownFrames | None = None

    @property
    def next_at(self) -> float:
        """Stamp of the end of the next chunk, s."""
        return self._t_start + (self._n_times + CHUNK) / SFREQ

    def hear(self, grid: Grid, label: str, at: float) -> None:
        """Take a marker of a grid, stamped `at`, s; from any thread."""
        said = read_label(label)
        if said is not None:
            self._heard.append((grid, said, at - self._t_start))

    def next_chunk(self) -> Packet:
        """Make the next 33 ms of EEG."""
        found = self.read(0.0)
        return next(x for x in found if isinstance(x, Packet) and x.role is StreamRole.EEG)

    def _flicker(self, end: float) -> None:
        while self._heard:
            self._follow(*self._heard.popleft())
        if self._shown is None:
            return
        states, flips = self._shown.until(end)
        for bright, at in zip(states[:, self._target].tolist(), flips.tolist(), strict=True):
            self._see(bool(bright), at)

    def _follow(self, grid: Grid, said: LookMarker, at: float) -> None:
        if said.frame is None:
            self._shown = None
            self._see(False, at)
        elif said.frame == 0 or self._shown is None:
            self._kind = grid.kind
            self._shown = ShownFrames(grid, at - said.frame / grid.frame_rate)
            is_known = said.cue is not None and said.cue < grid.n_targets
            chosen = int(self._own_choice.integers(grid.n_targets))
            self._target = said.cue if is_known and said.cue is not None else chosen
        else:
            self._shown.mark(said.frame, at)


class GridListener:
    """Reads the markers of every grid that comes, one after the other, in a thread.

    Parameters
    ----------
    take : callable
        Takes `(grid, label, stamp)`.
    """

    def __init__(self, take: Callable[[Grid, str, float], None]) -> None:
        self._take, self._stop = take, threading.Event()
        self._thread = threading.Thread(target=self._listen, name="grid-markers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        resolver = pylsl.ContinuousResolver("name", GRID_STREAM, forget_after=2.0)
        while not self._stop.wait(0.1):
            found = resolver.results()
            if found:
                self._follow(found[-1])
        del resolver

    def _follow(self, info: pylsl.StreamInfo) -> None:
        inlet = pylsl.StreamInlet(info, recover=False)
        try:
            grid = read_grid(from_pylsl(inlet.info(timeout=_OPEN_SECONDS)))
            inlet.open_stream(timeout=_OPEN_SECONDS)
            is_here = info.hostname() == socket.gethostname()
            offset = 0.0 if is_here else inlet.time_correction(timeout=_OPEN_SECONDS)
            while not self._stop.is_set():
                sample, stamp = inlet.pull_sample(timeout=_PULL_SECONDS)
                if sample is not None and stamp is not None:
                    self._take(grid, str(sample[0]), stamp + offset)
        except (pylsl.util.TimeoutError, pylsl.util.LostError, InfoError):
            return  # gone, or no grid: another will come
        finally:
            inlet.close_stream()


def serve_follower(
    looker: Looker,
    stop: threading.Event,
    *,
    duration: float | None = None,
    on_ready: Callable[[StreamInfo], None],
) -> None:
    """Publish the headset until `stop` is set, or for `duration` s.

    `on_ready` takes what its stream says of itself.
    """
    follower = Follower(looker, t_start=pylsl.local_clock())
    outlet = EegOutlet(eeg_info_of(looker))
    listener = GridListener(follower.hear)
    try:
        on_ready(outlet.info)
        ends_at = math.inf if duration is None else pylsl.local_clock() + duration
        while not stop.is_set() and pylsl.local_clock() < ends_at:
            left = follower.next_at + BEHIND - pylsl.local_clock()
            if left > 0 and stop.wait(left):
                break
            chunk = follower.next_chunk()
            outlet.push(np.asarray(chunk.samples), chunk.timestamps)
    finally:
        listener.close()
        outlet.close()
