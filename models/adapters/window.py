"""From epochs to features: a window of time in bins, with each channel's offset taken out.

Owns the cut, the bins and the checks of an epoch against them. Bins of about 16 ms keep what the
filter passes (40 Hz) and the covariance small. The offset goes because a baseline is a noisy
estimate of it: what is left does not depend on whether, or over what, the session subtracted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.adapters.errors import AdapterError
from pipeline.values import Epoch, Float64

BIN_RATE = 64.0
"""Bins a second, about: bins are whole samples."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which samples count: from `tmin` to before `tmax` (s from onset), of `ch_names`, at `sfreq`.

    The last bin ends before `tmax`, so nothing later than `tmax` is ever seen.
    """

    ch_names: tuple[str, ...]
    sfreq: float
    tmin: float = 0.0
    tmax: float = 0.6

    def __post_init__(self) -> None:
        """Refuse a window without at least two bins."""
        if not self.ch_names or not self.sfreq > 0 or self.n_bins < 2:
            raise AdapterError(
                f"the window {self.tmin:g} to {self.tmax:g} s of {len(self.ch_names)} channels at "
                f"{self.sfreq:g} Hz holds {self.n_bins if self.sfreq > 0 else 0} bins, expected "
                "channels and at least two bins: choose a longer window."
            )

    @property
    def bin_size(self) -> int:
        """Samples a bin."""
        return max(1, round(self.sfreq / BIN_RATE))

    @property
    def n_bins(self) -> int:
        """Whole bins from `tmin` to `tmax`."""
        return round((self.tmax - self.tmin) * self.sfreq) // self.bin_size

    def features(self, epoch: Epoch) -> Float64:
        """Cut one epoch.

        Returns
        -------
        ndarray, shape (n_channels, n_bins), float64, microvolts
            Rows in the order of `ch_names`, each with mean zero.

        Raises
        ------
        AdapterError
            Another rate, missing channels, or a window that the epoch does not hold.
        """
        data = self.cut(epoch)
        bins = data.reshape(len(data), self.n_bins, self.bin_size).mean(axis=2)
        return np.asarray(bins - bins.mean(axis=1, keepdims=True))

    def cut(self, epoch: Epoch) -> Float64:
        """The window's samples as they are, (n_channels, n_times); refuses as `features` does."""
        data = epoch.data[self._rows(epoch)].astype(np.float64)
        start = round((self.tmin - epoch.tmin) * self.sfreq)
        stop = start + self.n_bins * self.bin_size
        if start < 0 or stop > data.shape[1]:
            raise AdapterError(
                f"an epoch from {epoch.tmin:g} to {epoch.tmax:g} s does not hold the adapter's "
                f"window of {self.tmin:g} to {self.tmax:g} s: widen epochs.tmin and epochs.tmax."
            )
        return np.asarray(data[:, start:stop])

    def stack(self, epochs: Sequence[Epoch]) -> Float64:
        """Features of many epochs, (n_epochs, n_channels, n_bins); see `features`."""
        if not epochs:
            raise AdapterError("there are no epochs, expected some of each class: record first.")
        return np.stack([self.features(epoch) for epoch in epochs])

    def _rows(self, epoch: Epoch) -> list[int]:
        info = epoch.info
        if abs(info.sfreq / self.sfreq - 1) > 1e-3:
            raise AdapterError(
                f"the epoch has {info.sfreq:g} Hz, the adapter was fitted at {self.sfreq:g} Hz: "
                "set the headset to that rate, or calibrate again."
            )
        missing = [name for name in self.ch_names if name not in info.ch_names]
        if missing:
            raise AdapterError(
                f"the montage lacks {', '.join(missing[:8])} of the adapter's {len(self.ch_names)} "
                "channels: give the labels with source.ch_names, or calibrate again."
            )
        return [info.ch_names.index(name) for name in self.ch_names]
