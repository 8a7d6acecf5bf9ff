"""Fixed sine-cosine positions of a one-dimensional row of tokens, and their resizing.

Owns the table's layout (row 0 is CLS, all zeros); knows nothing of the network that adds it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_LONGEST = 10_000.0


def sinusoidal_positions(n_tokens: int, embed_dim: int) -> Tensor:
    """Table of positions with a CLS row of zeros in front.

    The first half of the columns holds sines, the second cosines, of position over 10000**(i /
    (embed_dim / 2)); computed in float64 (Vaswani et al. 2017, in the layout of MAE).

    Returns
    -------
    Tensor, shape (1, n_tokens + 1, embed_dim), float32
    """
    half = embed_dim // 2
    rates = _LONGEST ** (-np.arange(half, dtype=np.float64) / half)
    angles = np.arange(n_tokens, dtype=np.float64)[:, None] * rates
    table = np.zeros((n_tokens + 1, embed_dim), dtype=np.float32)
    table[1:, :half] = np.sin(angles)
    table[1:, half : 2 * half] = np.cos(angles)
    return torch.from_numpy(table)[None]


def resize_positions(positions: Tensor, n_tokens: int) -> Tensor:
    """Fit a table (1, n + 1, embed_dim) to another count of tokens; its CLS row stays.

    Nearest neighbour, as the published code resizes (bilinear would be smoother, and another
    function than the one the released weights were used with).
    """
    if positions.shape[1] == n_tokens + 1:
        return positions
    tokens = functional.interpolate(positions[:, 1:].transpose(1, 2), size=n_tokens, mode="nearest")
    return torch.cat([positions[:, :1], tokens.transpose(1, 2)], dim=1)
