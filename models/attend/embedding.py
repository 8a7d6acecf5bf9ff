"""From the probability of each picture to what is drawn: their mean in embedding space.

Owns that step. The vector's length is the confidence: 0 where every picture is as probable as any
other, which a sampler draws as fog, and 1 where one is certain.
"""

from __future__ import annotations

import numpy as np

from pipeline.values import Embedding, Float32, Float64, length_of


def embed(posterior: Float64, vectors: Float32, *, index: int, t_onset: float) -> Embedding:
    """Embed what is known of a look.

    Parameters
    ----------
    posterior : ndarray, shape (n_targets,), float64
    vectors : ndarray, shape (n_targets, n_features), float32
        The pictures' embeddings, of unit length.
    """
    n_targets = len(vectors)
    mean = posterior @ vectors.reshape(n_targets, -1).astype(np.float64)
    chance = 1 / n_targets if n_targets > 1 else 0.0
    sure = max(0.0, (float(posterior.max()) - chance) / (1 - chance))
    length = float(np.linalg.norm(mean))
    vector = (mean * (sure / length if length > 0 else 0.0)).astype(np.float32)
    return Embedding(
        vector.reshape(vectors.shape[1:]), index, t_onset, confidence=length_of(vector)
    )
