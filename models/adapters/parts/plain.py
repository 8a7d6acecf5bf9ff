"""The two that need no labels: the encoder as it is, and aligned with its training pool.

Knows nothing of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.adapters.parts.base import Arrays, PictureAdapter, Watch, checked
from models.adapters.prepared import EncoderView, Prepared
from models.adapters.timings import learn_warps
from models.embedded.time_warps import WARPS
from models.embedded.training_pool import pool_covariance
from pipeline.alignment import EuclideanAlignment
from pipeline.values import Float64


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
    """A person's epochs brought to what the encoder was trained on; no labels.

    In space: channels get the training pool's mean covariance (He and Wu 2020). In time: which
    latencies the person has becomes known, so that an epoch need not tell them alone.

    Attributes
    ----------
    matrix : ndarray, shape (n_channels, n_channels)
    warp_bias : ndarray, shape (n_warps,)
        Added to the log probability of each of the encoder's timings.
    """

    name: ClassVar[str] = "aligned"
    title: ClassVar[str] = "alignment in space and time"
    cost: ClassVar[int] = 1

    matrix: Float64
    warp_bias: Float64

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
        del targets, groups, seed, watch
        reference = pool_covariance(batch.ch_names)
        matrix = EuclideanAlignment.fit(batch.channels, reference).matrix
        return cls(matrix, learn_warps(view.log_timing(batch.aligned(matrix)), view.log_warp_prior))

    def evidence(self, batch: Prepared, view: EncoderView) -> Float64:
        """Evidence behind the alignment."""
        return view.evidence(batch.aligned(self.matrix), self.warp_bias)

    def arrays(self) -> Arrays:
        """Matrix and bias."""
        return {"matrix": self.matrix, "warp_bias": self.warp_bias}

    @classmethod
    def from_arrays(cls, arrays: Arrays, *, n_channels: int, n_features: int) -> Self:
        """Rebuild; see the base class."""
        del n_features
        shapes: dict[str, tuple[int | None, ...]] = {
            "matrix": (n_channels, n_channels),
            "warp_bias": (len(WARPS),),
        }
        found = checked(arrays, shapes)
        return cls(found["matrix"].astype(np.float64), found["warp_bias"].astype(np.float64))
