"""Draws CLIP vectors from the prior: DDPM steps with classifier-free guidance.

A batch is drawn at once and equals its items drawn one by one (the original's loop only runs with
one item).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from models.atm.errors import AtmError
from models.atm.prior import DiffusionPriorUNet
from models.sampling import denoisers, schedules, solvers


@torch.inference_mode()
def prior_states(
    prior: DiffusionPriorUNet,
    condition: Tensor | None,
    *,
    num_inference_steps: int = 50,
    guidance_scale: float | None = 5.0,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
    clip_sample: bool = True,
) -> Iterator[Tensor]:
    """Draw one vector a condition, step by step (`solvers.last` takes the last).

    Parameters
    ----------
    prior : DiffusionPriorUNet
        Where it is and in its precision, so it draws.
    condition : Tensor, shape (n, cond_dim), or None
        EEG vectors; None draws one vector without a condition.
    num_inference_steps : int
        50 as published; 10 with guidance 2 in another of its notebooks.
    guidance_scale : float or None
        0 ignores the condition, as published. None: the conditional prediction alone, one call a
        step (seed 002).
    noise : Tensor, shape (n, num_inference_steps, embed_dim), or None
        Start, then one a step but the last; None draws it from `generator`.
    clip_sample : bool
        As published, the predicted vector is clipped to [-1, 1] at every step, which cuts the few
        dimensions of an un-normalised ViT-H vector that lie outside.

    Yields
    ------
    Tensor, shape (n, embed_dim)

    Raises
    ------
    AtmError
        `noise` has another shape.
    """
    weight = prior.output_layer.weight
    shape = (1 if condition is None else len(condition), num_inference_steps, weight.shape[0])
    noise = torch.randn(shape, generator=generator) if noise is None else noise
    if tuple(noise.shape) != shape:
        raise AtmError(f"noise has shape {tuple(noise.shape)}, expected {shape}: one a step.")
    network: denoisers.Network = prior
    if condition is not None:
        given = condition.to(weight, non_blocking=True)
        network = lambda x, time: prior(x, time, given)  # noqa: E731
        if guidance_scale is not None:
            network = denoisers.guided(denoisers.apart(prior, network), guidance_scale)
    denoise = denoisers.epsilon(denoisers.in_dtype(network, weight.dtype))
    if clip_sample:
        denoise = denoisers.clipped(denoise)
    table, times = schedules.alphas_cumprod(), schedules.leading_times(num_inference_steps)
    levels = schedules.vp_levels(table, times, last=1.0, device=weight.device)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    each = iter(noise.to(weight.device, dtype, non_blocking=True).unbind(1))
    yield from solvers.ddpm(denoise, next(each), levels, each)
