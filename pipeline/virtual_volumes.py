"""A simulated person in a scanner: a linear code of what is shown, and noise, at a stated SNR.

Owns the code of each person and the noise around it; every response is one vector of z-scored
voxels, as a single-trial GLM gives it. Simulated: nothing here is a person's data, and nothing
that is decoded from it says what fMRI can do. Knows nothing of files, streams or time.

The response to a picture with embedding e is `(snr * A e + n) / sqrt(1 + snr**2)`: `A e` has unit
variance over the voxels that respond, `n` unit variance in every voxel. At `snr` 0 nothing depends
on the picture.
"""

from __future__ import annotations

import numpy as np

from pipeline.errors import ConfigurationError
from pipeline.values import Float32, Float64

RESPONSIVE = 0.4
"""Part of the voxels that carry the code; a visual mask has many that do not."""
N_SHARED = 24
"""Patterns of noise that spread over all voxels: arousal, breathing, drift."""
SHARED = 0.5
"""Part of the noise's variance that those patterns have."""
_SALT = 20_261_130


class VirtualScan:
    """One simulated person's visual cortex.

    Parameters
    ----------
    n_voxels : int
    n_features : int
        Of the embeddings that are shown.
    subject_number : int
        The person: its code follows from the number, whatever the seed.
    snr : float
        Standard deviation of the code over that of the noise, in a voxel that responds; 0: no
        information at all.
    seed : int
        Of the noise.

    Raises
    ------
    ConfigurationError
        No voxel, or a negative `snr`.
    """

    def __init__(
        self,
        n_voxels: int,
        n_features: int,
        *,
        subject_number: int = 1001,
        snr: float = 1.0,
        seed: int = 0,
    ) -> None:
        if n_voxels < 1 or not (np.isfinite(snr) and snr >= 0):
            raise ConfigurationError(
                f"a simulated scan of {n_voxels} voxels at an SNR of {snr:g}, expected at least 1 "
                "voxel and an SNR of 0 or more."
            )
        self.n_voxels, self.n_features, self.snr = n_voxels, n_features, float(snr)
        person = np.random.default_rng([_SALT, subject_number])
        # A unit embedding then gives a response of unit variance over the voxels that respond.
        self._code: Float64 = person.standard_normal((n_voxels, n_features))
        self._code[person.random(n_voxels) >= RESPONSIVE] = 0.0
        patterns = person.standard_normal((n_voxels, N_SHARED))
        self._patterns: Float64 = patterns / np.sqrt((patterns**2).sum(axis=1, keepdims=True))
        self._rng = np.random.default_rng([_SALT, subject_number, seed, 1])

    def respond(self, embedding: Float32 | Float64 | None) -> Float32:
        """One more response, (n_voxels,) float32, z scores; None: to nothing (noise alone).

        Parameters
        ----------
        embedding : ndarray, shape (n_features,), unit norm
        """
        shared = self._patterns @ self._rng.standard_normal(N_SHARED)
        own = self._rng.standard_normal(self.n_voxels)
        noise = np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own
        signal = 0.0 if embedding is None else self._code @ np.asarray(embedding, np.float64)
        response = (self.snr * signal + noise) / np.sqrt(1 + self.snr**2)
        return np.asarray(response, dtype=np.float32)
