"""The convolution over time and space that NICE and ATM-S share, and their projector.

Owns the two blocks under the names of the published state, so that a checkpoint loads key by
key. Knows nothing of subjects, losses or files.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.atm.errors import AtmError

N_FILTERS = 40
KERNEL = 25
POOL, POOL_STRIDE = 51, 5


def n_positions(n_times: int) -> int:
    """Positions along time that are left of `n_times` samples (36 of 250).

    Raises
    ------
    AtmError
        Fewer samples than the kernel and the pool span.
    """
    count = (n_times - KERNEL + 1 - POOL) // POOL_STRIDE + 1
    if count < 1:
        raise AtmError(
            f"{n_times} samples are too few, expected at least {KERNEL + POOL - 1}: "
            "use a longer epoch or a higher rate."
        )
    return count


class TemporalSpatialConvolution(nn.Module):
    """ShallowNet's convolution: filters along time, then one across all channels.

    NICE (Song et al., arXiv 2308.13234), unchanged in ATM-S (Li et al., arXiv 2403.07721).
    """

    def __init__(self, n_channels: int, *, n_filters: int = N_FILTERS) -> None:
        super().__init__()
        self.tsconv = nn.Sequential(
            nn.Conv2d(1, n_filters, (1, KERNEL)),
            nn.AvgPool2d((1, POOL), (1, POOL_STRIDE)),
            nn.BatchNorm2d(n_filters),
            nn.ELU(),
            nn.Conv2d(n_filters, n_filters, (n_channels, 1)),
            nn.BatchNorm2d(n_filters),
            nn.ELU(),
            nn.Dropout(0.5),
        )
        self.projection = nn.Sequential(nn.Conv2d(n_filters, n_filters, (1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_channels, n_times) to (n, n_positions * n_filters), position-major."""
        temporal, spatial, last = (
            cast("nn.Conv2d", m) for m in (self.tsconv[0], self.tsconv[4], self.projection[0])
        )
        # The pool follows the convolution with nothing between, and both are linear along time:
        # smoothing first, then filtering only where the pool looks, is the same sum with a
        # sixth of the products and no array at the full rate. What is left are matrix products.
        smooth = functional.avg_pool1d(x, POOL, stride=1)
        windows = smooth.unfold(2, KERNEL, POOL_STRIDE).transpose(1, 2)
        filtered = functional.linear(windows, temporal.weight.flatten(1), temporal.bias)
        active = self.tsconv[2:4](filtered.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        weight = spatial.weight.squeeze(-1).transpose(1, 2).flatten(1)
        mixed = functional.linear(active.flatten(2), weight, spatial.bias)
        features: Tensor = self.tsconv[5:](mixed.permute(0, 2, 1).unsqueeze(-1))
        features = features.squeeze(-1).transpose(1, 2)
        return functional.linear(features, last.weight.flatten(1), last.bias).flatten(1)


class Residual(nn.Module):
    """Adds what a module makes to what it got."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """Return `x + fn(x)`."""
        return x + self.fn(x)  # type: ignore[no-any-return]


def projector(n_inputs: int, n_features: int) -> nn.Sequential:
    """Linear, residual GELU block, layer norm: (n, n_inputs) to (n, n_features)."""
    block = nn.Sequential(nn.GELU(), nn.Linear(n_features, n_features), nn.Dropout(0.5))
    return nn.Sequential(nn.Linear(n_inputs, n_features), Residual(block), nn.LayerNorm(n_features))


def sinusoids(n_positions: int, width: int) -> Tensor:
    """Fixed position code (n_positions, width): sines at even places, cosines at odd ones."""
    rates = torch.exp(torch.arange(0, width, 2) * (-torch.log(torch.tensor(10000.0)) / width))
    angles = torch.arange(n_positions)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
