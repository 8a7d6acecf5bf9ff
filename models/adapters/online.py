"""Alignment that follows a session in front of any encoder (opt-in).

Owns which channels of an epoch are aligned and when the state moves: with every epoch that is
observed, in order, so that a replay, which observes the same epochs, repeats it. Encoding changes
nothing, so noise controls leave no trace. Starts frozen: the running covariance follows for
`drift`, what is applied does not. In front of an encoder that reads epochs under several latency
warps, the person's latencies are followed as well.

Alignment makes any brain look like those that the encoder knows, so that its own doubt ends. Where
`is_bounded`, an aligned vector is therefore no longer than the unaligned one, and everything is
fog where the session's noise is nobody's that the encoder knows.
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
from pipeline.session_doubt import SessionDoubt
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
    is_bounded : bool
        Whether evidence is bounded as the module says. Off: sessions of before.
    is_of_pool : bool
        Whether `reference` is that of everybody whom the encoder knows, so that distance from it
        is a reason to doubt; one person's own may lie far from today's for other reasons.
    begins_running : bool
        Whether what is applied follows from the first epoch on.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        ch_names: tuple[str, ...] = (),
        reference: Reference | None = None,
        average: bool = True,
        is_bounded: bool = False,
        is_of_pool: bool = False,
        begins_running: bool = False,
    ) -> None:
        self.inner = encoder
        self._warping = encoder if isinstance(encoder, WarpingEncoder) else None
        self._given = tuple(ch_names)
        self._reference = reference
        self._average = average
        self.is_bounded, self._is_of_pool = is_bounded, is_of_pool
        self._follows = begins_running
        self._set_start()

    def _set_start(self) -> None:
        self._ch_names = self._given
        self._state: OnlineAlignment | None = None
        self._first: list[Float64] = []
        self._warps: OnlineWarps | None = None
        self._doubt: SessionDoubt | None = None

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

    @property
    def doubt(self) -> float:
        """Part of the evidence that is let go because of the session as a whole."""
        return 0.0 if self._doubt is None else 1.0 - self._doubt.kept

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
        if self._doubt is not None:
            self._doubt.observe(data)
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
        if self.is_bounded and self._is_of_pool:
            self._doubt = SessionDoubt(reference)
        if self._follows:
            state.resume()
        return state

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch behind the alignment as it stands; `observe` moves that."""
        aligned = self.aligned(epoch)
        if self._warping is not None and self._warps is not None:
            found = self._warping.encode(aligned, warp_bias=self._warps.bias)
        else:
            found = self.inner.encode(aligned)
        if not self.is_bounded or not self.spec.states_confidence:
            return found
        is_plain = aligned is epoch and self._warps is None
        plain = found if is_plain else self.inner.encode(epoch)
        return bounded(found, plain, kept=1.0 - self.doubt)

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


def bounded(found: Embedding, plain: Embedding, *, kept: float = 1.0) -> Embedding:
    """The direction of `found`, no longer and no surer than `plain`, of which `kept` is left."""
    length = float(np.linalg.norm(found.vector))
    limit = float(np.linalg.norm(plain.vector)) * kept
    if found is plain and kept == 1.0:
        return found
    vector = found.vector * np.float32(min(1.0, limit / max(length, 1e-12)))
    confidence = found.confidence
    if confidence is not None and plain.confidence is not None:
        confidence = min(confidence, plain.confidence * kept)
    classes = found.classes
    if classes and max(classes) > max(plain.classes):
        even = 1 / len(classes)
        part = (max(plain.classes) - even) / (max(classes) - even)
        classes = tuple(even + part * (each - even) for each in classes)
    return replace(found, vector=vector, confidence=confidence, classes=classes)
