"""The multimodal objective: five noise predictions, each of squared error and angle.

Owns the loss and one training step's total. Randomness is an argument. Knows nothing of loops,
optimisers or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional

from models.atm.prior import DiffusionPriorUNet
from models.multimodal.modalities import LOSS_WEIGHTS, Modality
from models.training.together import gathered

MSE_WEIGHT, COSINE_WEIGHT = 0.7, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class NoiseLoss:
    """Loss of one prediction, all scalars: `total = 0.7 mse + 0.3 cosine`, cosine as 1 - cos."""

    total: Tensor
    mse: Tensor
    cosine: Tensor


def combined_loss(predicted: Tensor, noise: Tensor) -> NoiseLoss:
    """Compare (..., n_features) tensors by squared error and by angle."""
    mse = functional.mse_loss(predicted, noise)
    cosine = 1 - functional.cosine_similarity(predicted, noise, dim=-1).mean()
    return NoiseLoss(MSE_WEIGHT * mse + COSINE_WEIGHT * cosine, mse, cosine)


@dataclass(frozen=True, slots=True, eq=False)
class StepDraws:
    """What chance decides for one modality: `timesteps` (n,) int64, `noise` (n, n_features)."""

    timesteps: Tensor
    noise: Tensor


def diffusion_loss(
    prior: DiffusionPriorUNet,
    scheduler: DDPMScheduler,
    target: Tensor,
    condition: Tensor,
    draws: StepDraws,
    *,
    pair_all_conditions: bool = False,
) -> NoiseLoss:
    """Loss of one prior on targets (n, embed_dim) and conditions (n, cond_dim).

    `pair_all_conditions` repeats the original's broadcast: its targets have a token axis that its
    conditions lack, so every sample is paired with every condition of the batch.
    """
    if not pair_all_conditions:
        noisy = scheduler.add_noise(target, draws.noise, draws.timesteps)
        return combined_loss(prior(noisy, draws.timesteps, condition), draws.noise)
    noise = draws.noise.unsqueeze(1)
    noisy = scheduler.add_noise(target.unsqueeze(1), noise, draws.timesteps)
    predicted = prior(noisy, draws.timesteps, gathered(condition))
    return combined_loss(predicted, noise.expand_as(predicted))


def multimodal_loss(
    priors: Mapping[Modality, DiffusionPriorUNet],
    scheduler: DDPMScheduler,
    targets: Mapping[Modality, Tensor],
    condition: Tensor,
    draws: Mapping[Modality, StepDraws],
    *,
    pair_all_conditions: bool = False,
) -> tuple[Tensor, dict[Modality, NoiseLoss]]:
    """Weighted total over the five priors (a scalar), and each one's loss."""
    losses = {
        modality: diffusion_loss(
            prior,
            scheduler,
            targets[modality],
            condition,
            draws[modality],
            pair_all_conditions=pair_all_conditions,
        )
        for modality, prior in priors.items()
    }
    total = torch.stack([LOSS_WEIGHTS[m] * loss.total for m, loss in losses.items()]).sum()
    return total, losses


def named_priors(priors: nn.ModuleDict) -> dict[Modality, DiffusionPriorUNet]:
    """Look at a module dict of priors by modality."""
    found: dict[Modality, DiffusionPriorUNet] = {}
    for name, prior in priors.items():
        if isinstance(prior, DiffusionPriorUNet):
            found[Modality(name)] = prior
    return found
