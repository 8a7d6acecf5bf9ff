"""Alignment that follows a session in front of any encoder (opt-in).

Owns which channels of an epoch are aligned and when the state moves: `observe` once for every
decoded epoch, in order, before `encode`; so a replay, which decodes the same epochs, repeats it.
`encode` itself changes nothing: warm-up and noise controls call it too. Starts frozen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.alignment import OnlineAlignment, mean_covariance
from pipeline.electrodes import canonical_name
from pipeline.ports import Encoder, EncoderSpec
from pipeline.values import Embedding, Epoch, Float64

N_START = 20
"""Epochs whose mean covariance is the reference of an encoder that brings none."""


class OnlineAligned:
    """An encoder behind alignment that can follow the session; satisfies `Encoder`.

    Parameters
    ----------
    encoder : Encoder
    ch_names : tuple of str
        Canonical labels of the channels that `reference` is of; empty: every EEG channel.
    reference : ndarray, shape (n_channels, n_channels), optional
        Covariance that the encoder expects; None: the mean of the session's first epochs.
    average : bool
        Whether `reference` is against the common average (else as recorded).
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        ch_names: tuple[str, ...] = (),
        reference: Float64 | None = None,
        average: bool = True,
    ) -> None:
        self.inner = encoder
        self._ch_names = ch_names
        self._reference = reference
        self._average = average
        self._state = None if reference is None else OnlineAlignment(reference)
        self._first: list[Float64] = []
        self._follows = False

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
        """Forget the session; the next epochs count as its first."""
        self._first = []
        self._state = None if self._reference is None else OnlineAlignment(self._reference)
        if self._state is not None and self._follows:
            self._state.resume()

    def observe(self, epoch: Epoch) -> None:
        """Take in an epoch that is about to be decoded; one without all channels does not count."""
        rows = self._rows(epoch)
        if rows is None or not np.isfinite(epoch.data).all():
            return
        data = self._channels(epoch, rows)
        if self._state is not None:
            self._state.observe(data)
            return
        self._first.append(data)
        if len(self._first) >= N_START:
            self._state = OnlineAlignment(mean_covariance(np.stack(self._first)))
            self._first = []
            if self._follows:
                self._state.resume()

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch behind the alignment as it stands; changes nothing."""
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
            self._ch_names = tuple(found)
        if any(name not in found for name in self._ch_names):
            return None
        return [found[name] for name in self._ch_names]
