"""The two that need no labels: the encoder as it is, and behind Euclidean alignment.

Owns also the covariance that the encoder's training pool has under a montage, which is what
alignment brings a person to. Knows nothing of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.adapters.parts.base import Arrays, PictureAdapter, Watch, checked
from models.adapters.prepared import EncoderView, Prepared
from pipeline.alignment import EuclideanAlignment, shrunk
from pipeline.values import Float64, read_only
from pipeline.virtual_brain.background import SENSOR_UV, alpha_mixing, background_mixing
from pipeline.virtual_brain.head import AVERAGE, oriented, reference_matrix, table_leadfield
from pipeline.virtual_brain.subject import draw_subject

N_POOL = 40
"""Virtual people whose covariance is averaged; more change it by less than a percent."""


@dataclass(frozen=True, slots=True, eq=False)
class ZeroShot(PictureAdapter):
    """The shipped encoder, unchanged."""

    name: ClassVar[str] = "zero-shot"
    title: ClassVar[str] = "no adapter"
    cost: ClassVar[int] = 0

    @classmethod
    def fit(
        cls,
        batch: Prepared,
        targets: Float64,
        groups: NDArray[np.intp],
        view: EncoderView,
        *,
        seed: int,
        watch: Watch,
    ) -> Self:
        """Return it: nothing is learnt."""
        del batch, targets, groups, view, seed, watch
        return cls()

    def evidence(self, batch: Prepared, view: EncoderView) -> Float64:
        """Evidence as the encoder gives it."""
        return view.evidence(batch)

    def arrays(self) -> Arrays:
        """Nothing was learnt."""
        return {}

    @classmethod
    def from_arrays(cls, arrays: Arrays, *, n_channels: int, n_features: int) -> Self:
        """Rebuild; see the base class."""
        del n_channels, n_features
        checked(arrays, {})
        return cls()


@dataclass(frozen=True, slots=True, eq=False)
class Aligned(PictureAdapter):
    """Channels brought to the training pool's mean covariance (He and Wu 2020); no labels.

    `matrix` is (n_channels, n_channels).
    """

    name: ClassVar[str] = "aligned"
    title: ClassVar[str] = "Euclidean alignment"
    cost: ClassVar[int] = 1

    matrix: Float64

    @classmethod
    def fit(
        cls,
        batch: Prepared,
        targets: Float64,
        groups: NDArray[np.intp],
        view: EncoderView,
        *,
        seed: int,
        watch: Watch,
    ) -> Self:
        """Learn it from the epochs alone."""
        del targets, groups, view, seed, watch
        reference = pool_covariance(batch.ch_names)
        return cls(EuclideanAlignment.fit(batch.channels, reference).matrix)

    def evidence(self, batch: Prepared, view: EncoderView) -> Float64:
        """Evidence behind the alignment."""
        return view.evidence(batch.aligned(self.matrix))

    def arrays(self) -> Arrays:
        """The matrix."""
        return {"matrix": self.matrix}

    @classmethod
    def from_arrays(cls, arrays: Arrays, *, n_channels: int, n_features: int) -> Self:
        """Rebuild; see the base class."""
        del n_features
        found = checked(arrays, {"matrix": (n_channels, n_channels)})
        return cls(found["matrix"].astype(np.float64))


@lru_cache(maxsize=64)
def pool_covariance(ch_names: tuple[str, ...]) -> Float64:
    """Mean covariance of the encoder's training pool under a montage, average reference.

    Worked out from the virtual people's sources, not simulated: background, alpha and sensor
    noise; blinks and muscle bursts, which alignment turns down, are left out.

    Returns
    -------
    ndarray, shape (n_channels, n_channels), float64, microvolts squared
    """
    leadfield = table_leadfield(ch_names)
    referencing = reference_matrix(ch_names, AVERAGE)
    total = np.zeros((len(ch_names), len(ch_names)))
    for number in range(N_POOL):
        subject = draw_subject(number)
        field = oriented(leadfield, subject.orientations)
        brain = background_mixing(field, referencing, subject)
        alpha = alpha_mixing(field, referencing, subject)
        total += brain @ brain.T + alpha @ alpha.T
    white = SENSOR_UV**2 * referencing @ referencing.T
    return read_only(shrunk(total / N_POOL + white))
