"""An adapter as an `Encoder`: epochs in, vectors of the gallery's space out.

Owns the step from class probabilities to an embedding. It points where the class prototypes do,
weighted by probability, and its length is the confidence: the probability of the best class, so
that the sampler, which draws fog for short vectors, draws something definite only when the decoder
knows. (The weighted mean's own length was rejected: halfway between two classes it is still 0.8.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import FilterConfig
from models.adapters.errors import AdapterError
from models.adapters.lda import SpatioTemporalLda
from models.adapters.manifest import AdapterManifest, check_filter
from models.adapters.window import Window
from models.api import EncoderSpec, InputSpec
from pipeline.gallery import SPACE
from pipeline.values import Embedding, Epoch, Float32, Float64, length_of


@dataclass(frozen=True, slots=True, eq=False)
class AdapterEncoder:
    """A person's decoder behind the `models.api.Encoder` Protocol.

    Attributes
    ----------
    manifest : AdapterManifest
    lda : SpatioTemporalLda
    prototypes : ndarray, shape (n_classes, n_features), float32
        Unit rows, in the order of `manifest.targets`.
    sha256 : str
        Over both files once saved; empty before.
    """

    manifest: AdapterManifest
    lda: SpatioTemporalLda
    prototypes: Float32
    sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers that do not fit the manifest, or are none."""
        window, n_filters = self.window, self.manifest.n_filters
        n_classes = len(self.manifest.targets)
        expected: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "filters": (self.lda.filters, (n_filters, len(window.ch_names))),
            "coef": (self.lda.coef, (n_classes, window.n_bins, n_filters)),
            "intercept": (self.lda.intercept, (n_classes,)),
            "prototypes": (self.prototypes, (n_classes, self.prototypes.shape[-1])),
        }
        for name, (array, shape) in expected.items():
            if array.shape != shape:
                raise AdapterError(
                    f"the adapter's {name} have shape {array.shape}, expected {shape} by its "
                    "manifest: calibrate again, or restore the file."
                )
            if not np.isfinite(array).all():
                raise AdapterError(
                    f"the adapter's {name} hold NaN or infinity, expected finite numbers: "
                    "calibrate again, or restore the file."
                )

    @property
    def window(self) -> Window:
        """Which samples it uses."""
        m = self.manifest
        return Window(m.ch_names, m.sfreq, m.tmin, m.tmax)

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives."""
        m = self.manifest
        return EncoderSpec(
            name=f"adapter:{m.subject}",
            input=InputSpec(m.sfreq, ch_names=m.ch_names),
            tmin=m.tmin,
            tmax=m.tmax,
            l_freq=m.filter.l_freq,
            h_freq=m.filter.h_freq,
            n_features=self.prototypes.shape[1],
            sha256=self.sha256,
            space=SPACE,
            states_confidence=True,
        )

    def check_filter(self, config: FilterConfig) -> None:
        """Raise `AdapterError` when a session filters otherwise than the calibration did."""
        check_filter(self.manifest.filter, config)

    def predict_proba(self, epoch: Epoch) -> Float64:
        """Class probabilities of one epoch, (n_classes,) float64, in the order of the targets."""
        features = self.window.features(epoch)
        if not np.isfinite(features).all():
            raise AdapterError(
                f"epoch {epoch.index} holds NaN or infinity, expected finite microvolts: reject it."
            )
        probability: Float64 = self.lda.predict_proba(features[np.newaxis])[0]
        return probability

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch; see the module's docstring for the length."""
        probability = self.predict_proba(epoch)
        toward = probability @ self.prototypes.astype(np.float64)
        length = max(float(np.linalg.norm(toward)), 1e-12)
        vector = (toward * (float(probability.max()) / length)).astype(np.float32)
        return Embedding(
            vector, index=epoch.index, t_onset=epoch.t_onset, confidence=length_of(vector)
        )
