"""Whether a session's brain is like those that a decoder knows: its noise, over many epochs.

Owns the running covariance and the limit. A single epoch tells little on few electrodes; the
distance of ten epochs' covariance tells virtual people, whom the limit was measured on, from
strangers. NumPy only; a function of the epochs in their order.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from pipeline.alignment import LOUD, covariance_distance, shrunk
from pipeline.values import Float32, Float64

LIMIT = 0.9
"""Distance from the training pool's covariance above which nobody of the virtual people lies: of
30 under each of five montages, after 10 epochs or more, the farthest was 0.88 (1.0 to 2.7 are real
people, seven of eight recordings)."""
FEW = 0.5
"""Added to the limit over the count of epochs: few epochs lie farther away by themselves."""
SOFTNESS = 0.05
"""Distance beyond the limit at which a third of the evidence is left."""
LEAST = 3
"""Epochs before anything is said."""
HORIZON = 40
"""Epochs that are looked at, the newest."""


class SessionDoubt:
    """The part of the evidence that a session's covariance leaves.

    Parameters
    ----------
    reference : ndarray, shape (n_channels, n_channels)
        Covariance that the decoder was trained on.
    """

    def __init__(self, reference: Float64) -> None:
        self._reference = reference
        self._newest: deque[Float64] = deque(maxlen=HORIZON)  # covariances
        self._kept = 1.0

    @property
    def kept(self) -> float:
        """1: as those that the decoder knows; towards 0: like none of them."""
        return self._kept

    def observe(self, data: Float32 | Float64) -> None:
        """Take in one epoch (n_channels, n_times), finite, microvolts."""
        centred = np.asarray(data, dtype=np.float64)
        centred = centred - centred.mean(axis=1, keepdims=True)
        self._newest.append(centred @ centred.T / centred.shape[1])
        n = len(self._newest)
        if n >= LEAST:
            distance = covariance_distance(self._reference, self._mean())
            beyond = distance - (LIMIT + FEW / n)
            self._kept = float(np.exp(-max(0.0, beyond) / SOFTNESS))

    def _mean(self) -> Float64:
        """Mean covariance; loud epochs (artifacts) are turned down as alignment does."""
        found = np.stack(self._newest)
        power = np.trace(found, axis1=1, axis2=2)
        gain = np.minimum(1.0, LOUD * np.median(power) / np.maximum(power, 1e-30))
        return shrunk((gain[:, None, None] * found).mean(axis=0))
