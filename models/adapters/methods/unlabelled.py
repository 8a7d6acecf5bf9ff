"""The two that need no labels: the encoder as it is, and aligned with its training data.

Knows nothing of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from models.adapters.bases import PictureBase
from models.adapters.errors import AdapterError
from models.adapters.latency_warps import learn_warps
from models.adapters.manifest import AdapterManifest
from models.adapters.methods.base import Arrays, Fitting, Method, checked
from pipeline.alignment import EuclideanAlignment
from pipeline.values import Float64


@dataclass(frozen=True, slots=True, eq=False)
class ZeroShot(Method[Any, PictureBase[Any]]):
    """The encoder, unchanged."""

    name: ClassVar[str] = "zero-shot"
    title: ClassVar[str] = "no adapter"
    cost: ClassVar[int] = 0

    @classmethod
    def fit(cls, given: Fitting[Any, PictureBase[Any]]) -> Self:
        """Return it: nothing is learnt."""
        del given
        return cls()

    def evidence(self, batch: Any, base: PictureBase[Any]) -> Float64:
        """Evidence as the encoder gives it."""
        return base.evidence(batch)

    def arrays(self) -> Arrays:
        """Nothing was learnt."""
        return {}

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest) -> Self:
        """Rebuild; see the base class."""
        del manifest
        checked(arrays, {})
        return cls()


@dataclass(frozen=True, slots=True, eq=False)
class Aligned(Method[Any, PictureBase[Any]]):
    """A person's epochs brought to what the encoder was trained on; no labels.

    In space: channels get the training data's mean covariance (He and Wu 2020). In time: which
    latencies the person has becomes known, so that an epoch need not tell them alone.

    Attributes
    ----------
    matrix : ndarray, shape (n_channels, n_channels)
    warp_bias : ndarray, shape (n_warps,)
        Added to the log probability of each of the encoder's latency warps; empty: it has none.
    """

    name: ClassVar[str] = "aligned"
    title: ClassVar[str] = "alignment in space and time"
    cost: ClassVar[int] = 1

    matrix: Float64
    warp_bias: Float64

    @classmethod
    def unfit_for(cls, base: PictureBase[Any]) -> str:
        """Only an encoder that says what its training data looked like can be aligned."""
        return "" if base.expects_covariance else "needs an encoder that states its covariance"

    @classmethod
    def fit(cls, given: Fitting[Any, PictureBase[Any]]) -> Self:
        """Learn it from the epochs alone."""
        batch, base = given.batch, given.base
        reference = base.expected_covariance(batch.ch_names)
        matrix = EuclideanAlignment.fit(base.channels(batch), reference).matrix
        prior = base.log_warp_prior
        if not len(prior):
            return cls(matrix, prior)
        return cls(matrix, learn_warps(base.log_warps(base.aligned(batch, matrix)), prior))

    def evidence(self, batch: Any, base: PictureBase[Any]) -> Float64:
        """Evidence behind the alignment."""
        if len(self.warp_bias) not in (0, len(base.log_warp_prior)):
            raise AdapterError(
                f"the adapter knows {len(self.warp_bias)} latency warps, its encoder "
                f"{len(base.log_warp_prior)}: restore the file or calibrate again."
            )
        return base.evidence(base.aligned(batch, self.matrix), self.warp_bias)

    def arrays(self) -> Arrays:
        """Matrix and bias."""
        return {"matrix": self.matrix, "warp_bias": self.warp_bias}

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest) -> Self:
        """Rebuild; see the base class."""
        n_channels = len(manifest.ch_names)
        found = checked(arrays, {"matrix": (n_channels, n_channels), "warp_bias": (None,)})
        return cls(found["matrix"].astype(np.float64), found["warp_bias"].astype(np.float64))
