"""Draws CLIP vectors from the prior: DDPM steps with classifier-free guidance.

Owns the loop; the schedule is diffusers' `DDPMScheduler`. The noise is an argument or comes from
a generator. A batch is drawn at once and equals its items drawn one by one (the original's loop
only runs with one item).
"""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from models.atm.errors import AtmError
from models.atm.prior import DiffusionPriorUNet


def make_scheduler(num_inference_steps: int, *, clip_sample: bool = True) -> DDPMScheduler:
    """Build the published schedule: diffusers' defaults, timesteps from the top, the last one 0."""
    scheduler = DDPMScheduler(clip_sample=clip_sample)
    scheduler.set_timesteps(num_inference_steps)
    return scheduler


@torch.inference_mode()
def sample_prior(
    prior: DiffusionPriorUNet,
    condition: Tensor | None,
    *,
    num_inference_steps: int = 50,
    guidance_scale: float | None = 5.0,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
    clip_sample: bool = True,
    trajectory: list[Tensor] | None = None,
) -> Tensor:
    """Draw one vector a condition.

    Parameters
    ----------
    prior : DiffusionPriorUNet
    condition : Tensor, shape (n, cond_dim), or None
        EEG vectors; None draws one vector without a condition.
    num_inference_steps : int
        50 as published; 10 with guidance 2 in another of its notebooks.
    guidance_scale : float or None
        `eps_u + g (eps_c - eps_u)`; 0 ignores the condition, as published. None: the conditional
        prediction alone, one call a step (seed 002).
    noise : Tensor, shape (n, num_inference_steps, embed_dim), or None
        Start, then one a step but the last; None draws it from `generator`.
    clip_sample : bool
        As published, the predicted vector is clipped to [-1, 1] at every step, which cuts the few
        dimensions of an un-normalised ViT-H vector that lie outside.
    trajectory : list or None
        Gets the sample after each step.

    Returns
    -------
    Tensor, shape (n, embed_dim), float32

    Raises
    ------
    AtmError
        `noise` has another shape.
    """
    n = 1 if condition is None else len(condition)
    shape = (n, num_inference_steps, prior.config.embed_dim)
    noise = torch.randn(shape, generator=generator) if noise is None else noise
    if tuple(noise.shape) != shape:
        raise AtmError(f"noise has shape {tuple(noise.shape)}, expected {shape}: one a step.")
    scheduler = make_scheduler(num_inference_steps, clip_sample=clip_sample)
    device = prior.output_layer.weight.device
    noise = noise.to(device)
    sample = noise[:, 0]
    for i, timestep in enumerate(scheduler.timesteps):
        eps = _predict(prior, sample, timestep.to(device), condition, guidance_scale)
        step_noise = noise[:, i + 1] if i + 1 < num_inference_steps else None
        sample = _ancestral_step(scheduler, eps, int(timestep), sample, step_noise)
        if trajectory is not None:
            trajectory.append(sample)
    return sample


def _predict(
    prior: DiffusionPriorUNet,
    sample: Tensor,
    timestep: Tensor,
    condition: Tensor | None,
    guidance_scale: float | None,
) -> Tensor:
    if condition is None or guidance_scale is None:
        return torch.as_tensor(prior(sample, timestep, condition))
    empty: Tensor = prior(sample, timestep)
    if guidance_scale == 0:
        return empty
    guided: Tensor = prior(sample, timestep, condition)
    return empty + guidance_scale * (guided - empty)


def _ancestral_step(
    scheduler: DDPMScheduler, eps: Tensor, timestep: int, sample: Tensor, noise: Tensor | None
) -> Tensor:
    """Ho et al., arXiv 2006.11239, equations 7 and 15; variance `fixed_small`.

    Written out because `DDPMScheduler.step` draws its own noise.
    """
    alphas = scheduler.alphas_cumprod
    before = scheduler.previous_timestep(timestep)
    alpha = alphas[timestep]
    alpha_before = alphas[before] if before >= 0 else scheduler.one
    step_alpha = alpha / alpha_before
    clean = (sample - (1 - alpha) ** 0.5 * eps) / alpha**0.5
    if scheduler.config.clip_sample:
        clean = clean.clamp(-1, 1)
    weight_clean = alpha_before**0.5 * (1 - step_alpha) / (1 - alpha)
    weight_sample = step_alpha**0.5 * (1 - alpha_before) / (1 - alpha)
    mean: Tensor = weight_clean * clean + weight_sample * sample
    if noise is None:
        return mean
    variance: Tensor = ((1 - alpha_before) / (1 - alpha) * (1 - step_alpha)).clamp(min=1e-20)
    return mean + variance.sqrt() * noise
