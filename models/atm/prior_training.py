"""Trains the prior: noise prediction with the condition dropped now and then.

Owns one step and the schedule of its learning rate. Randomness is an argument (`PriorDraws`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional

from models.atm.prior import DiffusionPriorUNet

WARMUP_STEPS = 500
MAX_GRAD_NORM = 1.0
CONDITION_DROPOUT = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class PriorDraws:
    """What chance decides in one step.

    `timesteps` (n,) int64, `noise` (n, embed_dim); `drop_condition` takes the condition of the
    whole batch away, as published.
    """

    timesteps: Tensor
    noise: Tensor
    drop_condition: bool


def learning_rate(
    step: int, *, base: float, n_steps: int, n_warmup: int = WARMUP_STEPS, offset: int = 1
) -> float:
    """Rate of step 0, 1, ...: linear warm-up, then half a cosine to 0 at `n_steps`.

    `offset` 1 as published: the original advances its schedule before the optimiser's step, so
    the first update has 1/500 of the rate instead of none.
    """
    at = step + offset
    if at < n_warmup:
        return base * at / max(1, n_warmup)
    progress = (at - n_warmup) / max(1, n_steps - n_warmup)
    return base * max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))


def prior_loss(
    prior: DiffusionPriorUNet,
    scheduler: DDPMScheduler,
    target: Tensor,
    condition: Tensor,
    draws: PriorDraws,
) -> Tensor:
    """Mean squared error of the predicted noise; a scalar.

    `target` (n, embed_dim) CLIP vectors, `condition` (n, cond_dim) EEG vectors.
    """
    noisy = scheduler.add_noise(target, draws.noise, draws.timesteps)
    predicted = prior(noisy, draws.timesteps, None if draws.drop_condition else condition)
    return functional.mse_loss(predicted, draws.noise)


def take_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, *, lr: float
) -> float:
    """Clip the gradient, set the rate, update; return the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return float(loss.detach())


def train_pass(
    prior: DiffusionPriorUNet,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor, PriorDraws]],
    *,
    base_lr: float,
    first_step: int,
    n_steps: int,
) -> list[float]:
    """Train over batches of (target, condition, draws); return the loss of each."""
    scheduler = DDPMScheduler()
    losses: list[float] = []
    for step, (target, condition, draws) in enumerate(batches, start=first_step):
        loss = prior_loss(prior, scheduler, target, condition, draws)
        lr = learning_rate(step, base=base_lr, n_steps=n_steps)
        losses.append(take_step(prior, optimizer, loss, lr=lr))
    return losses
