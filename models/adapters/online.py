"""Alignment that follows a session in front of any encoder (opt-in).

Owns which channels of an epoch are aligned and when the state moves: with every epoch that is
observed, in order, so that a replay, which observes the same epochs, repeats it. Encoding changes
nothing, so noise controls leave no trace. Starts frozen: the running covariance follows for
`drift`, what is applied does not. In front of an encoder that reads epochs under several latency
warps, the person's latencies are followed as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from configs import FilterConfig
from models.adapters.latency_warps import OnlineWarps, WarpingEncoder
from models.api import ChecksFilter, ChecksMontage, Encoder, EncoderSpec
from pipeline.alignment import OnlineAlignment, mean_covariance
from pipeline.electrodes import canonical_name
from pipeline.values import Embedding, Epoch, Float64

N_START = 20
"""Epochs whose mean covariance is the reference of an encoder that brings none."""
START_COUNT = 30
"""How many epochs the reference counts as in the running covariance, at first."""
Reference = Float64 | Callable[[tuple[str, ...]], Float64]


class OnlineAligned:
    """An encoder behind alignment that can follow the session; satisfies `Encoder`.

    Parameters
    ----------
    encoder : Encoder
    ch_names : tuple of str
        Canonical labels of the channels that `reference` is of; empty: every EEG channel.
    reference : ndarray, shape (n_channels, n_channels), or callable, optional
        Covariance that the encoder expects, or what gives it for a montage; None: the mean of
        the session's first epochs.
    average : bool
        Whether `reference` is against the common average (else as recorded).
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        ch_names: tuple[str, ...] = (),
        reference: Reference | None = None,
        average: bool = True,
    ) -> None:
        self.inner = encoder
        self._warping = encoder if isinstance(encoder, WarpingEncoder) else None
        self._given = tuple(ch_names)
        self._reference = reference
        self._average = average
        self._follows = False
        self._set_start()

    def _set_start(self) -> None:
        self._ch_names = self._given
        self._state: OnlineAlignment | None = None
        self._first: list[Float64] = []
        self._warps: OnlineWarps | None = None

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's own."""
        return self.inner.spec

    @property
    def is_frozen(self) -> bool:
        """Whether what is applied stays as it is."""
        return not self._follows

    @property
    def drift(self) -> float:
        """Distance of the running covariance from the reference; 0 before there is one."""
        return 0.0 if self._state is None else self._state.drift

    def freeze(self) -> None:
        """Keep what is applied as it is."""
        self._follows = False
        if self._state is not None:
            self._state.freeze()

    def resume(self) -> None:
        """Let what is applied follow the session."""
        self._follows = True
        if self._state is not None:
            self._state.resume()

    def reset(self) -> None:
        """Go back to the calibration's alignment; the next epochs count as the first."""
        self._set_start()

    def check_filter(self, config: FilterConfig) -> None:
        """Raise when the encoder was made for another filter."""
        if isinstance(self.inner, ChecksFilter):
            self.inner.check_filter(config)

    def check_montage(self, ch_names: tuple[str, ...]) -> None:
        """Raise when the encoder cannot do with a session's channels."""
        if isinstance(self.inner, ChecksMontage):
            self.inner.check_montage(ch_names)

    def observe(self, epoch: Epoch) -> None:
        """Take in one epoch; one without all channels, or with NaN, does not count."""
        rows = self._rows(epoch)
        if rows is None or not np.isfinite(epoch.data).all():
            return
        data = self._channels(epoch, rows)
        if self._state is None:
            self._state = self._started(data)
        if self._state is not None:
            self._state.observe(data)
        if self._follows and self._warping is not None:
            self._warps = self._warps or OnlineWarps(self._warping.log_warp_prior)
            self._warps.observe(self._warping.log_warps(self.aligned(epoch)))

    def _started(self, data: Float64) -> OnlineAlignment | None:
        if self._reference is None:
            self._first.append(data)
            if len(self._first) < N_START:
                return None
            reference = mean_covariance(np.stack(self._first))
        elif callable(self._reference):
            reference = self._reference(self._ch_names)
        else:
            reference = self._reference
        state = OnlineAlignment(reference, start_count=START_COUNT)
        if self._follows:
            state.resume()
        return state

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch behind the alignment as it stands; `observe` moves that."""
        if self._warping is not None and self._warps is not None:
            return self._warping.encode(self.aligned(epoch), warp_bias=self._warps.bias)
        return self.inner.encode(self.aligned(epoch))

    def aligned(self, epoch: Epoch) -> Epoch:
        """Return the epoch as the encoder gets it: the same object while nothing is applied."""
        rows = None if self._state is None else self._rows(epoch)
        if self._state is None or rows is None:
            return epoch
        matrix = self._state.matrix
        if np.array_equal(matrix, np.eye(len(matrix))):
            return epoch
        data = np.array(epoch.data)
        data[rows] = (matrix @ self._channels(epoch, rows)).astype(np.float32)
        return replace(epoch, data=data)

    def _channels(self, epoch: Epoch, rows: list[int]) -> Float64:
        data = epoch.data[rows].astype(np.float64)
        return np.asarray(data - data.mean(axis=0)) if self._average else data

    def _rows(self, epoch: Epoch) -> list[int] | None:
        """Rows of the aligned channels; None when one is absent."""
        found: dict[str, int] = {}
        for row, (label, kind) in enumerate(
            zip(epoch.info.ch_names, epoch.info.ch_types, strict=True)
        ):
            if kind == "eeg":
                found.setdefault(canonical_name(label) or label, row)
        if not self._ch_names:
            self._ch_names = tuple(name for name in found if canonical_name(name) == name)
        if len(self._ch_names) < 2 or any(name not in found for name in self._ch_names):
            return None
        return [found[name] for name in self._ch_names]
