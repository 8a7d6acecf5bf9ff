"""Plain classes of events (face, house, left, right) instead of pictures, with no encoder before.

Owns the discriminant as a method, what it stands on (a window of the raw epochs), and the step
from class probabilities to an embedding. That points where the class prototypes do, weighted by
probability, and its length is the confidence: the probability of the best class, so that the
sampler, which draws fog for short vectors, draws something definite only when the decoder knows.
(The weighted mean's own length was rejected: halfway between two classes it is still 0.8.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from models.adapters.bases import Base, Rows
from models.adapters.data import CalibrationData
from models.adapters.decoders import DECODERS
from models.adapters.errors import AdapterError
from models.adapters.lda import SpatioTemporalLda, softmax
from models.adapters.manifest import CLASSES, AdapterManifest
from models.adapters.methods.base import Arrays, Fitting, Method, Shapes, checked
from models.adapters.selection import N_FILTERS, validate
from models.adapters.window import Window
from models.api import EncoderSpec, InputSpec, ReadsFeatures
from pipeline.gallery import SPACE
from pipeline.values import Epoch, Float32, Float64


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Binned windows of epochs, (n, n_channels, n_bins) float64, microvolts.

    `read` is what pretrained encoders read from them, (n, n_features) by the encoder's system.
    """

    values: Float64
    read: Mapping[str, Float64] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> Features:
        """Return those epochs only."""
        which = np.asarray(rows)
        return Features(self.values[which], {name: v[which] for name, v in self.read.items()})


@dataclass(frozen=True, slots=True, eq=False)
class ClassBase(Base[Features]):
    """Raw epochs, cut and binned; evidence is the classes' log likelihood, but for a constant.

    Attributes
    ----------
    window : Window
    prototypes : ndarray, shape (n_classes, n_features), float32
        Where the classes lie in the gallery's space; unit rows.
    temperature : float
        What the evidence is divided by, so that the probabilities are honest on new epochs.
    encoders : mapping of str to ReadsFeatures
        Pretrained encoders that read the window as well, by system.
    decoders : tuple of str
        Which of `models.adapters.decoders.DECODERS` are chosen among.
    """

    window: Window
    prototypes: Float32
    temperature: float = 1.0
    encoders: Mapping[str, ReadsFeatures] = field(default_factory=dict)
    decoders: tuple[str, ...] = tuple(DECODERS)

    def prepare(self, data: CalibrationData) -> Features:
        """Cut a calibration's epochs."""
        epochs = [data.epoch(row) for row in range(len(data))]
        return Features(self.window.stack(epochs), self._read(epochs))

    def prepare_epoch(self, epoch: Epoch, ch_names: tuple[str, ...]) -> Features:
        """Cut one live epoch; its channels are the window's."""
        del ch_names
        features = self.window.features(epoch)
        if not np.isfinite(features).all():
            raise AdapterError(
                f"epoch {epoch.index} holds NaN or infinity, expected finite microvolts: reject it."
            )
        return Features(features[np.newaxis], self._read([epoch]))

    def _read(self, epochs: Sequence[Epoch]) -> dict[str, Float64]:
        if not self.encoders:
            return {}
        window = self.window
        data = np.stack([window.cut(epoch) for epoch in epochs])
        return {
            name: encoder.features(data, window.ch_names, window.sfreq)
            for name, encoder in self.encoders.items()
        }

    def check_montage(self, given: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        """Refuse channels that an encoder behind it does not know."""
        del given
        for encoder in self.encoders.values():
            encoder.check_montage(wanted)

    def arrays(self) -> Arrays:
        """The prototypes."""
        return {"prototypes": self.prototypes}

    def probabilities(self, evidence: Float64) -> Float64:
        """Class probabilities, (n, n_classes), rows sum to one."""
        return softmax(evidence / self.temperature)

    def recall(self, evidence: Float64, bias: Float64 | None = None) -> Float64:
        """Embed class evidence; see the module's docstring for the length."""
        del bias
        prototypes = self.prototypes.astype(np.float64)
        return np.stack([_toward(each, prototypes) for each in self.probabilities(evidence)])

    def spec(self, manifest: AdapterManifest, sha256: str) -> EncoderSpec:
        """What an adapter of classes wants and gives."""
        window, classes = self.window, manifest.event_classes
        return EncoderSpec(
            name=f"adapter:{manifest.subject}",
            input=InputSpec(window.sfreq, ch_names=window.ch_names),
            tmin=window.tmin,
            tmax=window.tmax,
            l_freq=manifest.filter.l_freq,
            h_freq=manifest.filter.h_freq,
            n_features=self.prototypes.shape[1],
            sha256=sha256,
            space=SPACE,
            states_confidence=True,
            classes=classes.events,
            class_of=tuple(classes.class_of.items()),
        )


def window_of(manifest: AdapterManifest) -> Window:
    """The samples that an adapter of classes looks at."""
    classes = manifest.event_classes
    return Window(manifest.ch_names, manifest.sfreq, classes.tmin, classes.tmax)


def _toward(probability: Float64, prototypes: Float64) -> Float64:
    if not prototypes[int(probability.argmax())].any():
        return np.zeros(prototypes.shape[1])  # the likeliest class has no picture: fog
    toward = probability @ prototypes
    length = max(float(np.linalg.norm(toward)), 1e-12)
    return np.asarray(toward * (float(probability.max()) / length))


@dataclass(frozen=True, slots=True, eq=False)
class ClassDiscriminant(Method[Features, ClassBase]):
    """Linear discriminant analysis in space and time; see `models.adapters.lda`."""

    name: ClassVar[str] = CLASSES
    title: ClassVar[str] = "discriminant in space and time"
    cost: ClassVar[int] = 2

    lda: SpatioTemporalLda

    @classmethod
    def fit(cls, given: Fitting[Features, ClassBase]) -> Self:
        """Choose the count of spatial filters by blocks of time, then fit on all.

        `targets` (n, n_classes) have a one in the class's column; `groups` are its numbers.
        """
        given.watch.check()
        features, groups, n_classes = given.batch.values, given.groups, given.targets.shape[1]
        try:
            found = validate(features, groups, n_classes=n_classes, n_filters=N_FILTERS)
            n_filters = found.n_filters
        except AdapterError:  # a class is missing from an inner block: take the middle choice
            n_filters = N_FILTERS[len(N_FILTERS) // 2]
        return cls(
            SpatioTemporalLda.fit(features, groups, n_classes=n_classes, n_filters=n_filters)
        )

    def evidence(self, batch: Features, base: ClassBase) -> Float64:
        """Log likelihood of each class, (n, n_classes), but for a constant."""
        del base
        return self.lda.logits(batch.values)

    def arrays(self) -> Arrays:
        """Spatial filters, coefficients and intercepts."""
        lda = self.lda
        return {"filters": lda.filters, "coef": lda.coef, "intercept": lda.intercept}

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest) -> Self:
        """Rebuild; see the base class."""
        classes = manifest.event_classes
        n_classes, n_filters = len(classes.targets), classes.n_filters
        shapes: Shapes = {
            "filters": (n_filters, len(manifest.ch_names)),
            "coef": (n_classes, window_of(manifest).n_bins, n_filters),
            "intercept": (n_classes,),
        }
        found = {name: array.astype(np.float64) for name, array in checked(arrays, shapes).items()}
        return cls(SpatioTemporalLda(found["filters"], found["coef"], found["intercept"]))
