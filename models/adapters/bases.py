"""What an adapter stands behind: epochs come in, and what is read from them goes to the method.

Owns the way from an epoch to what a method is fitted on, and from the method's evidence to the
vector of a session, for any encoder of vectors. Training and live decoding share it to the bit.
The shipped encoder, whose network some methods reach into, has a base of its own
(`network_base`); plain classes of events, which need no encoder, too (`methods.classes`).

Evidence `u` of a picture method is the encoder's own language: `u @ e / temperature + bias(e)` is
the log likelihood of a picture with embedding `e`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError
from models.adapters.latency_warps import WarpingEncoder
from models.adapters.manifest import AdapterManifest, EncoderReference
from models.adapters.montage import check_channels, map_montage, placed_names
from models.api import ChecksMontage, Encoder, EncoderSpec, ExpectsCovariance
from pipeline.values import Epoch, Float64, Info

Rows = Sequence[int] | np.ndarray


class Batch(Protocol):
    """Epochs of one montage, as a base prepares them."""

    def __len__(self) -> int: ...

    def take(self, rows: Rows) -> Self:
        """Return those epochs only."""
        ...


B = TypeVar("B", bound=Batch)


class Base(ABC, Generic[B]):
    """What stands before an adapter's method."""

    @abstractmethod
    def prepare(self, data: CalibrationData) -> B:
        """Bring a calibration's epochs into shape."""

    @abstractmethod
    def prepare_epoch(self, epoch: Epoch, ch_names: tuple[str, ...]) -> B:
        """Bring one live epoch into the same shape; raises `AdapterError` where it does not fit."""

    @abstractmethod
    def recall(self, evidence: Float64, bias: Float64 | None = None) -> Float64:
        """Turn evidence (n, k) into vectors of the session, (n, n_features) float64."""

    @abstractmethod
    def spec(self, manifest: AdapterManifest, sha256: str) -> EncoderSpec:
        """What an adapter on this base wants and gives."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What of it is kept with an adapter, by name."""
        return {}

    def probabilities(self, evidence: Float64) -> Float64 | None:
        """Probabilities of classes, (n, n_classes); None where it decodes none."""
        del evidence
        return None

    @property
    def memory(self) -> Float64:
        """Embeddings of pictures that it knows beforehand, (n_memory, n_features)."""
        return np.zeros((0, 0))

    def check_montage(self, given: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        """Raise `PhospheneError` when a session's channels will not do for the adapter's."""
        del given, wanted


class PictureBase(Base[B]):
    """An encoder of vectors, in the terms that picture methods use."""

    encoder: Encoder

    @property
    def n_features(self) -> int:
        """Size of an embedding."""
        return self.encoder.spec.n_features

    @property
    def temperature(self) -> float:
        """At which evidence is a log likelihood."""
        return 1.0

    @property
    def expects_covariance(self) -> bool:
        """Whether the encoder says what it can be aligned to."""
        return isinstance(self.encoder, ExpectsCovariance)

    def expected_covariance(self, ch_names: tuple[str, ...]) -> Float64:
        """What the encoder expects of a montage's channels, (n_channels, n_channels)."""
        if not isinstance(self.encoder, ExpectsCovariance):
            raise AdapterError(f"{self.encoder.spec.name} cannot be aligned without labels.")
        return self.encoder.expected_covariance(ch_names)

    @abstractmethod
    def channels(self, batch: B) -> Float64:
        """Placed channels against their common average, (n, n_channels, n_times) float64."""

    @abstractmethod
    def aligned(self, batch: B, matrix: Float64) -> B:
        """Return the batch with its channels mixed by `matrix` (n_channels, n_channels)."""

    @abstractmethod
    def remembering(self, batch: B) -> B:
        """Return the batch with the unchanged encoder's evidence worked out."""

    @abstractmethod
    def evidence(self, batch: B, warp_bias: Float64 | None = None) -> Float64:
        """What the encoder reads from a batch, (n, n_features) float64.

        `warp_bias` (n_warps,) is added to the log probability of each latency warp.
        """

    @property
    @abstractmethod
    def log_warp_prior(self) -> Float64:
        """Log probability of each latency warp beforehand, but for a constant; may be empty."""

    @abstractmethod
    def log_warps(self, batch: B) -> Float64:
        """Log probability of each latency warp, (n, n_warps) float64."""

    def corrected(self, evidence: Float64, plain: Float64) -> Float64:
        """Return evidence that a method changed; `plain` is the encoder's own."""
        del plain
        return evidence

    def check_reference(self, reference: EncoderReference) -> None:
        """Raise `AdapterError` when an adapter was fitted to another encoder."""
        spec = self.encoder.spec
        if reference.sha256 != spec.sha256:
            raise AdapterError(
                f"the adapter was fitted to encoder {reference.sha256[:12]}... of "
                f"{reference.system}, the one here is {spec.sha256[:12]}... ({spec.name}): "
                "calibrate again, or load the encoder it was made for with decoder.system and "
                "decoder.weights."
            )
        if reference.n_features != self.n_features:
            raise AdapterError(
                f"the adapter says {reference.n_features} features, the encoder has "
                f"{self.n_features}: restore the file or calibrate again."
            )

    def spec(self, manifest: AdapterManifest, sha256: str) -> EncoderSpec:
        """What an adapter on this base wants and gives: as the encoder, behind its filter."""
        inner = self.encoder.spec
        return replace(
            inner,
            name=f"adapter:{manifest.subject}",
            input=replace(inner.input, montage=manifest.ch_names),
            l_freq=manifest.filter.l_freq,
            h_freq=manifest.filter.h_freq,
            sha256=sha256,
        )


@dataclass(frozen=True, slots=True, eq=False)
class EpochBatch:
    """Epochs as a session gives them, and what the encoder read from them (None: not yet)."""

    ch_names: tuple[str, ...]
    epochs: tuple[Epoch, ...]
    known_evidence: Float64 | None = None

    def __len__(self) -> int:
        return len(self.epochs)

    def take(self, rows: Rows) -> EpochBatch:
        """Return those epochs only."""
        which = np.asarray(rows)
        return EpochBatch(
            self.ch_names,
            tuple(self.epochs[row] for row in which),
            None if self.known_evidence is None else self.known_evidence[which],
        )


class VectorBase(PictureBase[EpochBatch]):
    """Any encoder of vectors: whole epochs in, its vectors as evidence."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._warping = encoder if isinstance(encoder, WarpingEncoder) else None

    def prepare(self, data: CalibrationData) -> EpochBatch:
        """Bring a calibration's epochs into shape: as a session would give them."""
        return EpochBatch(
            placed_names(data.channels) or data.channels,
            tuple(data.epoch(row) for row in range(len(data))),
        )

    def prepare_epoch(self, epoch: Epoch, ch_names: tuple[str, ...]) -> EpochBatch:
        """Take one live epoch as it is; one with NaN is refused."""
        if not np.isfinite(epoch.data).all():
            raise AdapterError(
                f"epoch {epoch.index} holds NaN or infinity, expected finite samples: reject it."
            )
        return EpochBatch(ch_names, (epoch,))

    def check_montage(self, given: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        """Ask the encoder."""
        del wanted
        if isinstance(self.encoder, ChecksMontage):
            self.encoder.check_montage(given)

    def channels(self, batch: EpochBatch) -> Float64:
        """Placed channels against their common average, (n, n_channels, n_times) float64."""
        return np.stack([_channels(epoch, batch.ch_names) for epoch in batch.epochs])

    def aligned(self, batch: EpochBatch, matrix: Float64) -> EpochBatch:
        """Return the batch with its channels mixed by `matrix` (n_channels, n_channels)."""
        mixed = (
            replace(
                epoch,
                data=(matrix @ _channels(epoch, batch.ch_names)).astype(np.float32),
                info=Info(batch.ch_names, epoch.info.sfreq),
            )
            for epoch in batch.epochs
        )
        return EpochBatch(batch.ch_names, tuple(mixed))

    def remembering(self, batch: EpochBatch) -> EpochBatch:
        """Return the batch with the unchanged encoder's vectors worked out."""
        return replace(batch, known_evidence=self.evidence(batch))

    def evidence(self, batch: EpochBatch, warp_bias: Float64 | None = None) -> Float64:
        """The encoder's vectors, (n, n_features) float64; tokens are refused."""
        if warp_bias is not None and self._warping is not None and len(warp_bias):
            found = [self._warping.encode(e, warp_bias=warp_bias) for e in batch.epochs]
        elif batch.known_evidence is not None:
            return batch.known_evidence
        else:
            found = [self.encoder.encode(epoch) for epoch in batch.epochs]
        shapes = {each.vector.shape for each in found}
        if any(int(np.prod(shape[:-1])) != 1 or shape[-1] != self.n_features for shape in shapes):
            raise AdapterError(
                f"{self.encoder.spec.name} gives embeddings of shape {shapes.pop()}, expected "
                f"vectors ({self.n_features},): an adapter needs an encoder of vectors, so choose "
                "another decoder.system."
            )
        vectors = [each.vector.reshape(-1) for each in found]
        return np.stack(vectors).astype(np.float64)

    @property
    def log_warp_prior(self) -> Float64:
        """The encoder's own, where it reads epochs under several latency warps."""
        return np.zeros(0) if self._warping is None else self._warping.log_warp_prior

    def log_warps(self, batch: EpochBatch) -> Float64:
        """Log probability of each latency warp, (n, n_warps) float64."""
        if self._warping is None:
            return np.zeros((len(batch), 0))
        return np.stack([self._warping.log_warps(epoch) for epoch in batch.epochs])

    def corrected(self, evidence: Float64, plain: Float64) -> Float64:
        """Return changed vectors with the encoder's own lengths, which mean what they meant."""
        length = np.linalg.norm(evidence, axis=1, keepdims=True)
        own = np.linalg.norm(plain, axis=1, keepdims=True)
        return np.asarray(evidence * (own / np.maximum(length, 1e-12)))

    def recall(self, evidence: Float64, bias: Float64 | None = None) -> Float64:
        """The evidence: vectors are the encoder's language already."""
        del bias
        return evidence

    def spec(self, manifest: AdapterManifest, sha256: str) -> EncoderSpec:
        """As the encoder's; how sure it was of its own vector says nothing of another."""
        return replace(super().spec(manifest, sha256), states_confidence=False)


def eeg_labels(epoch: Epoch) -> tuple[str, ...]:
    """An epoch's labels, those of other channels than EEG made no label of the head."""
    return tuple(
        label if kind == "eeg" else f"({label})"
        for label, kind in zip(epoch.info.ch_names, epoch.info.ch_types, strict=True)
    )


def _channels(epoch: Epoch, ch_names: tuple[str, ...]) -> Float64:
    found = map_montage(eeg_labels(epoch), ch_names)
    check_channels(found)
    picked = found.matrix @ epoch.data
    return np.asarray(picked - picked.mean(axis=0))
