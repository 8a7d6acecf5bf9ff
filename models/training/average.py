"""An exponential moving average of trained weights (EMA).

Owns the averages and their swap with the weights at the end of a run. Knows nothing of steps or
of checkpoints. Neither DreamDiffusion nor the ATM family trains with one, so it is off unless
`ema_decay` is set.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.training.sharding import share


class WeightAverage:
    """Averages `values` by parameter name, float32, beside a module's trained parameters.

    Parameters
    ----------
    decay : float
        Part of the average that stays at each step. The first steps use (1 + n) / (10 + n) where
        that is smaller, so that the random start is soon forgotten (Tan and Le 2019, as in
        diffusers' `EMAModel`).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._decay = decay
        self.values: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in self._trained.items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after `step` (from 1) in."""
        part = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, value in self._trained.items():
            self.values[name].lerp_(value, part)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Continue from saved averages."""
        for name, value in self.values.items():
            value.copy_(share(values[name], value))

    @torch.no_grad()
    def put(self) -> None:
        """Give the module the averages: what is validated and kept as its result."""
        for name, value in self._trained.items():
            value.copy_(self.values[name])
