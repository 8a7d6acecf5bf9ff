"""MindEye's contrastive objectives (arXiv 2305.18274, section 2.2), as published.

Functions of given tensors and given draws; all vectors (n, n_features), those of a contrast of
norm 1. Knows nothing of networks or data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIX_ALPHA = 0.15
"""Of the Beta distribution that shares are drawn from."""
MIX_CHANCE = 0.5
TEMPERATURE = 0.006
"""Of BiMixCo."""
SOFT_TEMPERATURES = (0.004, 0.0075)
"""Of SoftCLIP, at its first pass and at its last."""
MAP_TEMPERATURE = 0.075
"""Of the low-level pipeline's contrast."""


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """How a batch is mixed: `share` (n,) of each row, the rest from row `partner` (n,)."""

    share: Tensor
    partner: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Mix rows (n, ...); those that are whole stay as they are, to the bit."""
        share = self.share.to(rows.dtype).view(-1, *[1] * (rows.ndim - 1))
        mixed = rows * share + rows[self.partner] * (1 - share)
        return torch.where(share == 1, rows, mixed)


def make_mix(partner: Tensor, shares: Tensor, chances: Tensor) -> Mix:
    """Build a mix of drawn numbers (n,): about half of the rows are mixed."""
    return Mix(torch.where(chances <= MIX_CHANCE, shares, torch.ones_like(shares)), partner)


def draw_mix(n: int, generator: torch.Generator) -> Mix:
    """Draw a mix of `n` rows, none its own partner (one row is not mixed)."""
    if n == 1:
        return Mix(torch.ones(1), torch.zeros(1, dtype=torch.int64))
    order = torch.randperm(n, generator=generator)
    partner = torch.empty_like(order)
    partner[order] = order.roll(1)
    shares = torch.stack([_draw_share(generator) for _ in range(n)])
    return make_mix(partner, shares, torch.rand(n, generator=generator))


def _draw_share(generator: torch.Generator) -> Tensor:
    """One number of Beta(alpha, alpha) by Jöhnk's rejection: torch's own takes no generator."""
    while True:
        x, y = torch.rand(2, generator=generator, dtype=torch.float64) ** (1 / MIX_ALPHA)
        if 0 < x + y <= 1:
            share: Tensor = x / (x + y)
            return share.float()


def info_nce(predicted: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Symmetric cross-entropy over the batch."""
    logits = predicted @ target.T / temperature
    own = torch.eye(len(logits), device=logits.device)
    return (_cross_entropy(logits, own) + _cross_entropy(logits.T, own)) / 2


def mixco(
    predicted: Tensor, target: Tensor, temperature: float, *, mix: Mix, both_ways: bool = True
) -> Tensor:
    """Contrast of mixed rows with whole targets (BiMixCo; one way: MixCo).

    As published, the way back uses the transposed weights, which do not add up to one, and a row
    that is its own partner keeps the rest alone (`draw_mix` draws none).
    """
    logits = predicted @ target.T / temperature
    share = mix.share.to(logits)
    weights = torch.diag(share)
    weights[torch.arange(len(share), device=share.device), mix.partner.to(share.device)] = 1 - share
    loss = _cross_entropy(logits, weights)
    return (loss + _cross_entropy(logits.T, weights.T)) / 2 if both_ways else loss


def soft_clip(predicted: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Contrast whose goal is how the targets resemble each other."""
    goal = (target @ target.T / temperature).softmax(dim=-1)
    logits = predicted @ target.T / temperature
    return (_cross_entropy(logits, goal) + _cross_entropy(logits.T, goal)) / 2


def soft_contrast(student: Tensor, teacher: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Contrast of a student with one view's teacher, the goal being how both views resemble."""
    goal = teacher @ other.T / temperature
    logits = student @ other.T / temperature
    there = _cross_entropy(logits, goal.softmax(dim=-1))
    return (there + _cross_entropy(logits.T, goal.T.softmax(dim=-1))) / 2


def soft_temperature(at: int, n: int) -> float:
    """Temperature of SoftCLIP at pass `at` of its `n`."""
    return float(cosine_anneal(*SOFT_TEMPERATURES, n)[at])


def cosine_anneal(start: float, end: float, n: int) -> Tensor:
    """From `start` to `end` in `n` values, both included, along half a cosine; (n,)."""
    place = torch.linspace(0, 1, n, dtype=torch.float64) if n > 1 else torch.zeros(n)
    return end + (start - end) / 2 * (1 + torch.cos(torch.pi * place))


def _cross_entropy(logits: Tensor, goal: Tensor) -> Tensor:
    return -(logits.log_softmax(dim=-1) * goal).sum(dim=-1).mean()
