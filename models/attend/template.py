"""What a known person's EEG does when a code is attended to: a filter, a response, and noise.

Owns the likelihood of a look under each code, and under none of them. Pooled correlation always
finds something in a code, also in one that nobody saw; a response that is known says how strong it
has to be, so that "none of these" is an answer like the others, at 0 nats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.attend.evidence import Covariances, ridged, whitener
from pipeline.values import Float64

N_COMPONENTS = 2
"""Pairs of filter and response: the first alone leaves a tenth of the evidence of 1 s."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A response that was learnt.

    Attributes
    ----------
    filters : ndarray, shape (n_channels, N_COMPONENTS), float64
    responses : ndarray, shape (n_regressors, N_COMPONENTS), float64
    precision : ndarray, shape (N_COMPONENTS,), float64
        Of a filtered sample around its response.
    gain : float
        Part of the response that looks that did not teach it showed: few looks overstate it.
    """

    filters: Float64
    responses: Float64
    precision: Float64
    gain: float = 1.0

    @classmethod
    def learnt(cls, sums: Covariances) -> Template:
        """Fit the template to covariances of looks whose answers are known."""
        whiten = whitener(sums.eeg)
        cross = sums.cross @ whiten
        fitted = np.linalg.solve(ridged(sums.model), cross)
        squared, turned = np.linalg.eigh(cross.T @ fitted)
        turned = turned[:, ::-1][:, :N_COMPONENTS]
        left = 1 - np.clip(squared[::-1][:N_COMPONENTS], 0.0, 0.99)
        return cls(whiten @ turned, fitted @ turned, sums.n_times / left)

    def with_gain(self, gain: float) -> Template:
        """Keep all but the gain."""
        return replace(self, gain=gain)

    def compare(self, look: Covariances) -> tuple[Float64, Float64]:
        """How far a look follows each answer's response, and how strong that should be.

        Returns
        -------
        match, power : ndarray, shape (n_targets,), float64, nats
        """
        match = ((look.cross @ self.filters) * self.responses).sum(axis=-2) @ self.precision
        power = ((look.model @ self.responses) * self.responses).sum(axis=-2) @ self.precision
        return match, power

    def score(self, look: Covariances) -> Float64:
        """Log-likelihood ratio of each answer to none.

        Returns
        -------
        ndarray, shape (n_targets,), float64, nats
            As if every sample were independent.
        """
        match, power = self.compare(look)
        result: Float64 = self.gain * match - 0.5 * self.gain**2 * power
        return result
