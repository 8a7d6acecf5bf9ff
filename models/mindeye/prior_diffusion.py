"""Noising and denoising of CLIP tokens: the prior's schedule, its loss, and how it draws.

Owns the schedule and the scale; knows nothing of data or files. Ramesh et al., arXiv 2204.06125,
with the clean sample predicted; steps are `models.sampling`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.mindeye.errors import MindEyeError
from models.mindeye.prior import TokenPrior
from models.sampling import denoisers, schedules, solvers
from models.sampling.denoisers import Level


def levels(n_steps: int, *, device: torch.device | str = "cpu") -> list[Level]:
    """Levels from the last timestep to no noise."""
    times = np.arange(n_steps)[::-1].copy()
    table = schedules.cosine_alphas_cumprod(n_steps)
    return schedules.vp_levels(table, times, last=1.0, device=device)


def noised(clean: Tensor, noise: Tensor, timesteps: Tensor, n_steps: int) -> Tensor:
    """Clean tokens (n, n_tokens, width) with as much noise as `timesteps` (n,) say."""
    a = schedules.cosine_alphas_cumprod(n_steps).to(clean)[timesteps][:, None, None]
    return a.sqrt() * clean + (1 - a).sqrt() * noise


def prior_loss(
    prior: TokenPrior,
    *,
    brain: Tensor,
    target: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    keeps_brain: Tensor,
    keeps_image: Tensor,
) -> tuple[Tensor, Tensor]:
    """Squared error of the clean tokens, and the tokens, on the scale of `target`.

    Parameters
    ----------
    brain, target, noise : Tensor, shape (n, n_tokens, width)
    timesteps : Tensor, shape (n,), int64
    keeps_brain, keeps_image : Tensor, shape (n,), bool
    """
    scaled = target * prior.scale
    predicted = prior(
        noised(scaled, noise, timesteps, prior.config.n_steps),
        timesteps,
        brain,
        keeps_brain=keeps_brain,
        keeps_image=keeps_image,
    )
    return functional.mse_loss(predicted, scaled), predicted / prior.scale


@torch.inference_mode()
def prior_states(
    prior: TokenPrior,
    brain: Tensor,
    *,
    noise: Iterator[Tensor],
    guidance_scale: float = 1.0,
) -> Iterator[Tensor]:
    """Draw CLIP tokens, step by step (`solvers.last` takes the last).

    Parameters
    ----------
    prior : TokenPrior
        Where it is and in its precision, so it draws.
    brain : Tensor, shape (n, n_tokens, width)
    noise : iterator of Tensor, shape (n, n_tokens, width)
        For the start, then for each step but the last.
    guidance_scale : float
        1, as published, is none; else both conditions are dropped in the other prediction.

    Yields
    ------
    Tensor, shape (n, n_tokens, width)

    Raises
    ------
    MindEyeError
        `brain` has another shape.
    """
    config, weight = prior.config, prior.proj_out.weight
    if brain.shape[1:] != (config.n_tokens, config.width):
        raise MindEyeError(
            f"the brain tokens have shape {tuple(brain.shape[1:])}, expected "
            f"{(config.n_tokens, config.width)}: use the backbone that the prior was trained with."
        )
    given = brain.to(weight)

    def full(x: Tensor, time: Tensor) -> Tensor:
        made: Tensor = prior(x, time, given)
        return made

    def empty(x: Tensor, time: Tensor) -> Tensor:
        none = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        made: Tensor = prior(x, time, given, keeps_brain=none, keeps_image=none)
        return made

    network: denoisers.Network = full
    if guidance_scale != 1.0:
        network = denoisers.guided(denoisers.apart(empty, full), guidance_scale)
    denoise = denoisers.clean(denoisers.in_dtype(network, weight.dtype))
    rows = levels(config.n_steps, device=weight.device)
    for state in solvers.ddpm(denoise, next(noise), rows, noise):
        yield state / prior.scale


def by_cls_norm(tokens: Tensor, *, eps: float = 0.0) -> Tensor:
    """Divide tokens (n, n_tokens, width) by the norm of each sample's first one."""
    norms: Tensor = tokens[:, :1].norm(dim=-1, keepdim=True)
    return tokens / (norms + eps)
