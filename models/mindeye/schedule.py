"""How MindEye's stages are optimised: the one-cycle schedule, and what decays.

Owns the numbers; knows nothing of tasks or data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

START_DIVISOR, END_DIVISOR = 25.0, 1000.0
BETA1 = (0.95, 0.85)
"""Highest and lowest first moment of AdamW."""
WARMUP_PASSES = 2


@dataclass(frozen=True, slots=True)
class OneCycle:
    """Smith and Topin (arXiv 1708.07120) as torch has it, with cosines.

    Attributes
    ----------
    lr : float
        The highest rate.
    passes, steps_per_pass : int
    """

    lr: float
    passes: int
    steps_per_pass: int

    def rate(self, step: int) -> float:
        """Rate of step 0, 1, ..."""
        first = self.lr / START_DIVISOR
        return self._between(step, first, self.lr, first / END_DIVISOR)

    def beta1(self, step: int) -> float:
        """First moment of step 0, 1, ..."""
        most, least = BETA1
        return self._between(step, most, least, most)

    def _between(self, step: int, first: float, top: float, end: float) -> float:
        n = self.passes * self.steps_per_pass
        warm = min(1.0, WARMUP_PASSES / self.passes) * n - 1
        if step <= warm:
            return _cosine(first, top, step / warm if warm > 0 else 1.0)
        return _cosine(top, end, min(1.0, (step - warm) / max(1.0, n - 1 - warm)))


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))


def decays(name: str) -> bool:
    """Whether a parameter decays: all do whose name says no bias, those of norms included."""
    return "bias" not in name


def make_optimizer(module: nn.Module, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Build AdamW over a module's trained parameters."""
    trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    groups = [
        {"params": _of(trained, decayed=True), "weight_decay": weight_decay},
        {"params": _of(trained, decayed=False), "weight_decay": 0.0},
    ]
    betas = (BETA1[0], 0.999)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=betas, fused=True)


def _of(trained: Iterable[tuple[str, Tensor]], *, decayed: bool) -> list[Tensor]:
    return [value for name, value in trained if decays(name) == decayed]
