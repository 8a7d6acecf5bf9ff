"""Closed-form ridge regression in the space of embeddings, shrunk towards the encoder.

Owns the regression and the choice of its shrinkage by cross-validation over stimuli.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from models.adapters.bases import PictureBase
from models.adapters.manifest import AdapterManifest
from models.adapters.methods.base import Arrays, Fitting, Method, checked
from models.adapters.scoring import stimulus_folds
from pipeline.values import Float64

SHRINKAGES = (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""Penalties to choose from, in units of the mean variance of the evidence."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingRidge(Method[Any, PictureBase[Any]]):
    """A matrix between the encoder's evidence and what it should have said.

    `matrix` (n_features, n_features) is the identity plus what the person's epochs ask for;
    `offset` (n_features,) is taken from the evidence first; `shrinkage` was chosen.
    """

    name: ClassVar[str] = "ridge"
    title: ClassVar[str] = "ridge in embedding space"
    cost: ClassVar[int] = 2

    matrix: Float64
    offset: Float64
    shrinkage: float = 0.0

    @classmethod
    def fit(cls, given: Fitting[Any, PictureBase[Any]]) -> Self:
        """Choose the shrinkage by held-out stimuli, then fit on all."""
        given.watch.check()
        evidence, targets = given.base.evidence(given.batch), given.targets
        losses = np.zeros(len(SHRINKAGES))
        for train, test in stimulus_folds(given.groups, 5, seed=given.seed):
            for k, shrinkage in enumerate(SHRINKAGES):
                matrix, offset = _ridge(evidence[train], targets[train], shrinkage)
                losses[k] -= _agreement((evidence[test] - offset) @ matrix, targets[test])
        best = SHRINKAGES[int(np.argmin(losses))]
        matrix, offset = _ridge(evidence, targets, best)
        return cls(matrix, offset, best)

    def evidence(self, batch: Any, base: PictureBase[Any]) -> Float64:
        """Evidence, corrected."""
        plain = base.evidence(batch)
        return base.corrected(np.asarray((plain - self.offset) @ self.matrix), plain)

    def arrays(self) -> Arrays:
        """Matrix and offset."""
        return {
            "matrix": self.matrix,
            "offset": self.offset,
            "shrinkage": np.array([self.shrinkage]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest) -> Self:
        """Rebuild; see the base class."""
        n = manifest.n_features
        found = checked(arrays, {"matrix": (n, n), "offset": (n,), "shrinkage": (1,)})
        return cls(found["matrix"], found["offset"], float(found["shrinkage"][0]))


def _ridge(evidence: Float64, targets: Float64, shrinkage: float) -> tuple[Float64, Float64]:
    """Regress what the scaled evidence leaves of the targets; unit of the evidence kept."""
    offset = evidence.mean(axis=0)
    given, wanted = evidence - offset, targets - targets.mean(axis=0)
    power = max(float((given**2).sum()), 1e-12)
    scale = max(float((given * wanted).sum()) / power, 1e-3)
    gram = given.T @ given
    penalty = shrinkage * power / len(gram) * np.eye(len(gram))
    change = np.linalg.solve(gram + penalty, given.T @ (wanted - scale * given))
    return np.eye(len(gram)) + change / scale, offset


def _agreement(guess: Float64, targets: Float64) -> float:
    """Sum of cosines between guesses and centred targets."""
    wanted = targets - targets.mean(axis=0)
    length = np.linalg.norm(guess, axis=1) * np.linalg.norm(wanted, axis=1)
    return float(((guess * wanted).sum(axis=1) / np.maximum(length, 1e-12)).sum())
