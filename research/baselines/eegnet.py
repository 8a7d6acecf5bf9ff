"""EEGNet: the small convolutional network that EEG decoders are measured against.

Written from Lawhern et al., J. Neural Eng. 15 (2018) 056013, arXiv 1611.08024, table 2. Owns the
network and its norm constraint; knows nothing of boards, epochs or training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_POOLS = (4, 8)
"""Samples averaged after the first and after the second block."""
_KERNEL, _SEPARABLE = 64, 16
"""Samples of the first filters (half a second at 128 Hz) and of the separable ones."""
_SPATIAL_NORM = 1.0
"""Largest norm of one spatial filter."""


@dataclass(frozen=True, slots=True)
class EegnetConfig:
    """Sizes; EEGNet-8,2 by default, for about 128 samples a second.

    Attributes
    ----------
    n_channels, n_times : int
        Shape of one epoch.
    n_outputs : int
        Classes in the paper; here the features of an embedding.
    n_temporal : int
        F1, temporal filters.
    depth : int
        D, spatial filters for each temporal one. F2 is F1 * D, as in the paper.
    dropout : float
        0.25 across people, 0.5 within one (the paper's choices).
    """

    n_channels: int
    n_times: int
    n_outputs: int
    n_temporal: int = 8
    depth: int = 2
    dropout: float = 0.25


class Eegnet(nn.Module):
    """Maps (batch, n_channels, n_times) to (batch, n_outputs).

    Two things are not as in the paper's table. The spatial filters come before the temporal ones,
    and the batch norm between them is left out: both layers are linear, so their order is free,
    and the next batch norm undoes that one. It is the same network at a sixteenth of the cost for
    63 channels (a test compares). And the last layer is unbounded: the paper's bound on its norm
    (0.25) is for a softmax over classes and would hold an embedding's length down.
    """

    def __init__(self, config: EegnetConfig) -> None:
        super().__init__()
        self.config = config
        f1 = config.n_temporal
        f2 = f1 * config.depth
        self.spatial = nn.Conv1d(config.n_channels, f2, 1, bias=False)
        self.temporal = nn.Parameter(nn.init.xavier_uniform_(torch.empty(f1, 1, _KERNEL)))
        self.spatial_norm = nn.BatchNorm1d(f2)
        self.separable = nn.Parameter(nn.init.xavier_uniform_(torch.empty(f2, 1, _SEPARABLE)))
        self.pointwise = nn.Conv1d(f2, f2, 1, bias=False)
        self.separable_norm = nn.BatchNorm1d(f2)
        self.dropout = nn.Dropout(config.dropout)
        n_left = config.n_times // _POOLS[0] // _POOLS[1]
        self.output = nn.Linear(f2 * n_left, config.n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Embed epochs (batch, n_channels, n_times)."""
        # Each temporal filter serves `depth` spatial ones.
        kernels = self.temporal.repeat_interleave(self.config.depth, dim=0)
        hidden = each_filtered(self.spatial(x), kernels)
        hidden = functional.elu(self.spatial_norm(hidden))
        hidden = self.dropout(functional.avg_pool1d(hidden, _POOLS[0]))
        hidden = self.pointwise(each_filtered(hidden, self.separable))
        hidden = functional.elu(self.separable_norm(hidden))
        hidden = self.dropout(functional.avg_pool1d(hidden, _POOLS[1]))
        embedding: Tensor = self.output(hidden.flatten(1))
        return embedding

    @torch.no_grad()
    def constrain(self) -> None:
        """Hold every spatial filter's norm to 1; called after each step."""
        weight = self.spatial.weight
        norm = weight.flatten(1).norm(dim=1).clamp(min=1e-12)
        weight.mul_((_SPATIAL_NORM / norm).clamp(max=1.0)[:, None, None])


def each_filtered(x: Tensor, kernels: Tensor) -> Tensor:
    """Filter each row in time with its own kernel, the length kept: a depthwise convolution.

    As a product with banded matrices: its gradient takes a quarter of the time on a CPU.

    Parameters
    ----------
    x : Tensor, shape (batch, n_rows, n_times)
    kernels : Tensor, shape (n_rows, 1, n_taps)

    Returns
    -------
    Tensor, shape (batch, n_rows, n_times)
    """
    n_times, n_taps = x.shape[2], kernels.shape[2]
    times = torch.arange(n_times, device=x.device)
    taps = times[:, None] - times[None, :] + (n_taps - 1) // 2
    inside = (taps >= 0) & (taps < n_taps)
    bands = kernels[:, 0][:, taps.clamp(0, n_taps - 1)] * inside
    return torch.bmm(x.transpose(0, 1), bands).transpose(0, 1)
