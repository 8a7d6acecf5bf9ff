"""The optimiser of stage A: which parameters decay, and the rate of every step.

Owns nothing but these two rules; knows nothing of data or checkpoints.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from configs.published import MaskedTrainingConfig


def decay_groups(module: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the trained parameters that decay, and of those that do not.

    Everything with more than one dimension decays (the special tokens too); biases, norms and
    the fixed positions do not.
    """
    decayed: list[str] = []
    kept: list[str] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            flat = parameter.ndim <= 1 or name.endswith(".bias")
            (kept if flat else decayed).append(name)
    return decayed, kept


def make_optimizer(module: nn.Module, config: MaskedTrainingConfig) -> torch.optim.AdamW:
    """AdamW over the trained parameters, in two groups by decay."""
    parameters = dict(module.named_parameters())
    decayed, kept = decay_groups(module)
    groups = [
        {"params": [parameters[name] for name in kept], "weight_decay": 0.0},
        {"params": [parameters[name] for name in decayed], "weight_decay": config.weight_decay},
    ]
    # Fused: one kernel for all parameters; the update is the same to rounding.
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def learning_rate(progress: float, config: MaskedTrainingConfig) -> float:
    """Rate at `progress` passes (a fraction within a pass): warm-up, then half a cosine.

    Taken before the step, so that the very first step has rate 0, as published.
    """
    if progress < config.warmup_passes:
        return config.lr * progress / config.warmup_passes
    span = max(config.passes - config.warmup_passes, 1e-12)
    turn = math.pi * (progress - config.warmup_passes) / span
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1.0 + math.cos(turn))
