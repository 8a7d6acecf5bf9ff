"""Compares what came through the live path with what the hostile source knows to be true.

Owns the check: is every sample under its label, is every epoch where its marker was. Needs the
counting channel among the picks, and values that no filter changed. Knows nothing of verdicts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs import SessionConfig
from configs.models import EpochsConfig, FilterConfig, SourceConfig
from devices.hostile.samples import WRAP
from devices.hostile.source import COUNTER, T_START, HostileSource
from pipeline.live import LivePath
from pipeline.values import Epoch, Float32

LARGEST_UV = 1e7
"""The live path takes no larger value; the last good one stands in."""


def untouched(
    source: HostileSource, *, trusts_counter: bool = False, buffer: float = 60.0
) -> SessionConfig:
    """Settings under which every value passes as it is.

    `trusts_counter`: whether loss is told from the counting channel, or from stamps.
    """
    return SessionConfig(
        buffer=buffer,
        source=SourceConfig(
            picks=(*source.settings.ch_names, COUNTER),
            counter_channel=COUNTER if trusts_counter else None,
        ),
        filter=FilterConfig(l_freq=None, h_freq=None, notch_freqs=()),
        epochs=EpochsConfig(baseline=None, reject_uv={}),
    )


class Witness:
    """Watches one live path that is fed by one hostile source.

    Attributes
    ----------
    n_seen, n_wrong : int
        Samples (of all channels) that came through; that were under a wrong label or number.
    n_backward : int
        Samples whose time did not increase within their run.
    """

    def __init__(self, source: HostileSource, path: LivePath) -> None:
        self.n_seen = self.n_wrong = self.n_backward = 0
        self._source = source
        self._path = path
        self._next = 0

    def look(self) -> None:
        """Check what came since the last call (call it before the ring goes round)."""
        ring = self._path.raw_ring
        stop = ring.n_written
        found = ring.read(self._next, stop)
        if found is None or stop == self._next:
            return
        data, times = found
        truth = self._source.samples.at(self._numbers(data[-1], self._source.now))[:, :-1].T
        # In place of a value that cannot be used, the path holds the last good one.
        usable = np.abs(truth) <= LARGEST_UV
        self.n_wrong += int(np.count_nonzero((data[:-1] != truth) & usable))
        self.n_seen += truth.size
        first = {b.sample - self._next for b in self._path.breaks if b.sample >= self._next}
        back = np.flatnonzero(np.diff(times) <= 0) + 1
        self.n_backward += sum(int(i) not in first for i in back)
        self._next = stop

    def onset_error(self, epoch: Epoch) -> float:
        """True time of the sample taken as onset minus the marker's, in samples."""
        onset = round(-epoch.tmin * epoch.info.sfreq)
        number = self._numbers(epoch.data[-1, onset : onset + 1], epoch.t_onset)
        true = float(self._source.true_time(number)[0])
        return (true - epoch.t_onset) * epoch.info.sfreq

    def is_whole(self, epoch: Epoch) -> bool:
        """Whether an epoch holds neighbouring samples only, none lost or doubled."""
        return bool((np.diff(epoch.data[-1]) % WRAP == 1).all())

    def _numbers(self, counts: Float32, near: float) -> NDArray[np.int64]:
        """Numbers of samples by what the counting channel says, taken about `near`, s."""
        settings = self._source.settings
        around = round((near - T_START) * (settings.true_sfreq or settings.sfreq))
        laps = np.rint((around - counts.astype(np.float64)) / WRAP)
        return counts.astype(np.int64) + laps.astype(np.int64) * WRAP
