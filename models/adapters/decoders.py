"""Decoders of plain classes, each on its own: fitted to binned epochs, log likelihoods out.

Owns the Protocol, the three kinds, and how each is cross-validated over contiguous blocks of time.
`methods.ensemble` chooses among them and averages; none knows of adapters or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.adapters.lda import SpatioTemporalLda
from models.adapters.selection import N_BLOCKS, N_FILTERS, validate
from models.adapters.shrinkage_lda import ShrinkageLda
from models.adapters.tangent import TangentSpace
from pipeline.values import Float64

Arrays = dict[str, NDArray[np.float64]]
Sizes = dict[str, tuple[int | None, ...]]
Ints = NDArray[np.intp]


class ClassDecoder(Protocol):
    """A decoder of classes; `title` is its name for people."""

    title: ClassVar[str]

    @classmethod
    def fit(cls, features: Float64, targets: Ints, *, n_classes: int, setting: int = 0) -> Self:
        """Fit to (n_epochs, n_channels, n_bins); `setting` is what `held_out` chose."""
        ...

    @classmethod
    def held_out(cls, features: Float64, targets: Ints, *, n_classes: int) -> tuple[Float64, int]:
        """Logits of epochs from blocks of time that were left out, and the setting for `fit`."""
        ...

    def logits(self, features: Float64) -> Float64:
        """Log likelihoods but for a constant, (n_epochs, n_classes); equal priors."""
        ...

    def arrays(self) -> Arrays:
        """Everything learnt, by name."""
        ...

    @classmethod
    def sizes(cls, n_classes: int, n_channels: int, n_bins: int) -> Sizes:
        """Shapes of `arrays`; None: any."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SpaceTime:
    """Block-Toeplitz discriminant; see `models.adapters.lda`."""

    title: ClassVar[str] = "discriminant in space and time"
    lda: SpatioTemporalLda

    @classmethod
    def fit(cls, features: Float64, targets: Ints, *, n_classes: int, setting: int = 5) -> Self:
        """`setting` is the count of filters."""
        count = min(setting, features.shape[1])
        return cls(SpatioTemporalLda.fit(features, targets, n_classes=n_classes, n_filters=count))

    @classmethod
    def held_out(cls, features: Float64, targets: Ints, *, n_classes: int) -> tuple[Float64, int]:
        """Choose the count of filters by the likelihood of what was left out."""
        found = validate(features, targets, n_classes=n_classes, n_filters=N_FILTERS)
        return found.logits, found.n_filters

    def logits(self, features: Float64) -> Float64:
        """See the Protocol."""
        return self.lda.logits(features)

    def arrays(self) -> Arrays:
        """Spatial filters, coefficients and intercepts."""
        lda = self.lda
        return {"filters": lda.filters, "coef": lda.coef, "intercept": lda.intercept}

    @classmethod
    def sizes(cls, n_classes: int, n_channels: int, n_bins: int) -> Sizes:
        """See the Protocol."""
        return {
            "filters": (None, n_channels),
            "coef": (n_classes, n_bins, None),
            "intercept": (n_classes,),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """See the Protocol."""
        return cls(SpatioTemporalLda(arrays["filters"], arrays["coef"], arrays["intercept"]))


@dataclass(frozen=True, slots=True, eq=False)
class Shrinkage:
    """Shrinkage discriminant of every channel's bins."""

    title: ClassVar[str] = "shrinkage discriminant"
    lda: ShrinkageLda

    @classmethod
    def fit(cls, features: Float64, targets: Ints, *, n_classes: int, setting: int = 0) -> Self:
        """There is nothing to set."""
        del setting
        return cls(ShrinkageLda.fit(_flat(features), targets, n_classes=n_classes))

    @classmethod
    def held_out(cls, features: Float64, targets: Ints, *, n_classes: int) -> tuple[Float64, int]:
        """See the Protocol."""
        return _held_out(cls, features, targets, n_classes), 0

    def logits(self, features: Float64) -> Float64:
        """See the Protocol."""
        return self.lda.logits(_flat(features))

    def arrays(self) -> Arrays:
        """Coefficients and intercepts."""
        return {"coef": self.lda.coef, "intercept": self.lda.intercept}

    @classmethod
    def sizes(cls, n_classes: int, n_channels: int, n_bins: int) -> Sizes:
        """See the Protocol."""
        return {"coef": (n_classes, n_channels * n_bins), "intercept": (n_classes,)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """See the Protocol."""
        return cls(ShrinkageLda(**arrays))


@dataclass(frozen=True, slots=True, eq=False)
class Tangent:
    """Shrinkage discriminant of the covariances' tangent vectors behind xDAWN filters."""

    title: ClassVar[str] = "xDAWN and tangent space"
    space: TangentSpace
    lda: ShrinkageLda

    @classmethod
    def fit(cls, features: Float64, targets: Ints, *, n_classes: int, setting: int = 0) -> Self:
        """Few filters a class where there are many classes: matrices stay below about 24 rows."""
        del setting
        count = max(2, min(4, 12 // n_classes))
        space = TangentSpace.fit(features, targets, n_classes=n_classes, n_filters=count)
        vectors = space.transform(features)
        return cls(space, ShrinkageLda.fit(vectors, targets, n_classes=n_classes))

    @classmethod
    def held_out(cls, features: Float64, targets: Ints, *, n_classes: int) -> tuple[Float64, int]:
        """See the Protocol."""
        return _held_out(cls, features, targets, n_classes), 0

    def logits(self, features: Float64) -> Float64:
        """See the Protocol."""
        return self.lda.logits(self.space.transform(features))

    def arrays(self) -> Arrays:
        """Filters, waves, the tangent's place, coefficients and intercepts."""
        space, lda = self.space, self.lda
        return {
            "filters": space.filters,
            "waves": space.waves,
            "mean": space.mean,
            "coef": lda.coef,
            "intercept": lda.intercept,
        }

    @classmethod
    def sizes(cls, n_classes: int, n_channels: int, n_bins: int) -> Sizes:
        """See the Protocol."""
        return {
            "filters": (None, n_channels),
            "waves": (None, n_bins),
            "mean": (None, None),
            "coef": (n_classes, None),
            "intercept": (n_classes,),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """See the Protocol."""
        space = TangentSpace(arrays["filters"], arrays["waves"], arrays["mean"])
        return cls(space, ShrinkageLda(arrays["coef"], arrays["intercept"]))


DECODERS: Mapping[str, type[ClassDecoder]] = MappingProxyType(
    {"space-time": SpaceTime, "shrinkage": Shrinkage, "tangent": Tangent}
)
"""By the name that its arrays have in a file."""


def _held_out(
    kind: type[ClassDecoder], features: Float64, targets: Ints, n_classes: int
) -> Float64:
    logits = np.empty((len(targets), n_classes))
    for block in np.array_split(np.arange(len(targets)), N_BLOCKS):
        rest = np.setdiff1d(np.arange(len(targets)), block)
        fitted = kind.fit(features[rest], targets[rest], n_classes=n_classes)
        logits[block] = fitted.logits(features[block])
    return logits


def _flat(features: Float64) -> Float64:
    return features.reshape(len(features), -1)
