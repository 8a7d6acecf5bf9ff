"""A task without draws, for what the loop does with any task."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.training.draws import Draws, Indices


class _Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 6))
        self.spare = nn.Parameter(torch.ones(2))  # no step uses it

    def forward(self, given: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        return {"loss": (given @ self.weight - wanted).square().mean()}


class Line:
    """Linear regression: batches of equal size average to the batch of all."""

    n_train, n_val = 48, 0

    def __init__(self) -> None:
        self.module = _Module()
        rng = np.random.default_rng(0)
        self._given = torch.from_numpy(rng.normal(size=(self.n_train, 6))).float()
        self._wanted = self._given @ torch.arange(6.0)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.module.parameters(), lr=0.1)

    def learning_rate(self, progress: float) -> float:
        return 0.1 / (1 + progress)

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> dict[str, Tensor]:
        del draws, training
        return {"given": self._given[indices], "wanted": self._wanted[indices]}
