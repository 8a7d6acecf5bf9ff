"""A picture adapter as an `Encoder`: epochs in, vectors of the gallery's space out.

Owns the chain of a calibrated session (channels, evidence, recall) and what it says of itself.
Training scores the very same chain. Knows nothing of files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from configs import FilterConfig
from models.adapters.errors import AdapterError
from models.adapters.manifest import PersonalManifest, check_filter
from models.adapters.montage import map_montage
from models.adapters.parts.base import PictureAdapter
from models.adapters.prepared import EncoderView, Prepared, check_channels, prepare_epoch
from models.api import EncoderSpec, InputSpec
from pipeline.values import Embedding, Epoch, Float32, Float64, length_of


@dataclass(frozen=True, slots=True, eq=False)
class PersonalEncoder:
    """A person's adapter on the shipped encoder, behind `models.api.Encoder`.

    Attributes
    ----------
    manifest : PersonalManifest
    part : PictureAdapter
    view : EncoderView
    covariance : ndarray, shape (n_channels, n_channels), float64
        Of the calibration's channels: what online alignment brings a later session back to.
    sha256 : str
        Over both files once saved; empty before.
    """

    manifest: PersonalManifest
    part: PictureAdapter
    view: EncoderView
    covariance: Float64
    sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse a part that is made for another encoder or montage."""
        if self.manifest.encoder_sha256 != self.view.sha256:
            raise AdapterError(
                f"the adapter was fitted to encoder {self.manifest.encoder_sha256[:12]}..., the "
                f"one here is {self.view.sha256[:12]}...: calibrate again, or load the encoder it "
                "was made for with decoder.weights."
            )
        if self.manifest.n_features != self.view.n_features:
            raise AdapterError(
                f"the adapter says {self.manifest.n_features} features, the encoder has "
                f"{self.view.n_features}: restore the file or calibrate again."
            )
        n = len(self.manifest.ch_names)
        if self.covariance.shape != (n, n) or not np.isfinite(self.covariance).all():
            raise AdapterError(
                f"the adapter's covariance has shape {self.covariance.shape} or holds NaN, "
                f"expected finite ({n}, {n}): restore the file or calibrate again."
            )

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives; `check_montage` says which channels it can do with."""
        inner, m = self.view.encoder.spec, self.manifest
        return EncoderSpec(
            name=f"adapter:{m.subject}",
            input=InputSpec(inner.input.sfreq, montage=m.ch_names),
            tmin=inner.tmin,
            tmax=inner.tmax,
            l_freq=m.filter.l_freq,
            h_freq=m.filter.h_freq,
            n_features=m.n_features,
            sha256=self.sha256,
            space=inner.space,
            states_confidence=True,
        )

    @property
    def temperature(self) -> float:
        """What `Gallery.rank` should divide by."""
        return self.view.encoder.temperature

    def check_filter(self, config: FilterConfig) -> None:
        """Raise `AdapterError` when a session filters otherwise than the calibration did."""
        check_filter(self.manifest.filter, config)

    def check_montage(self, ch_names: tuple[str, ...]) -> None:
        """Raise `AdapterError` when too many of the calibration's channels are absent."""
        check_channels(map_montage(ch_names, self.manifest.ch_names))

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch."""
        batch = prepare_epoch(epoch, self.manifest.ch_names)
        vector: Float32 = embed(self.part, batch, self.view)[0].astype(np.float32)
        return Embedding(
            vector, index=epoch.index, t_onset=epoch.t_onset, confidence=length_of(vector)
        )


def embed(part: PictureAdapter, batch: Prepared, view: EncoderView) -> Float64:
    """Vectors of a batch behind an adapter, (n, n_features): what a session draws from."""
    return view.recall(part.evidence(batch, view), part.bias(view.memory))
