"""Noise levels from the first to the last: tables, timesteps, and what they make.

Plain functions; the reference for each is a diffusers scheduler (in the tests, to the bit). A
row of levels has one more than there are steps: solvers go from each to the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.sampling.denoisers import Level
from pipeline.errors import ConfigurationError

SD15 = {"beta_start": 0.00085, "beta_end": 0.0120}
"""Stable Diffusion 1.5 and XL."""
MINDVIS = {"beta_start": 0.0015, "beta_end": 0.0195}
"""The class-conditional ImageNet model of MinD-Vis."""
N_TRAIN = 1000
"""Timesteps that every system here was trained with."""
N_DISTILLED = 50
"""Timesteps that a latent consistency model was distilled on."""
Times = NDArray[np.int64]


def alphas_cumprod(
    beta_start: float = 0.0001, beta_end: float = 0.02, *, scaled: bool = False
) -> Tensor:
    """Table of alpha_bar (1000,) float32: betas linear, or (`scaled`) linear in their root."""
    if not scaled:
        betas = torch.linspace(beta_start, beta_end, N_TRAIN)
    else:
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, N_TRAIN) ** 2
    return torch.cumprod(1.0 - betas, dim=0)


def cosine_alphas_cumprod(n: int) -> Tensor:
    """Table of alpha_bar (n,) float32 of Nichol and Dhariwal (arXiv 2102.09672, eq. 17)."""
    place = np.linspace(0, 1, n + 1)
    bar = np.cos((place + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.clip(1 - bar[1:] / bar[:-1], 0, 0.999)
    return torch.from_numpy(np.cumprod(1 - betas)).float()


def leading_times(n: int) -> Times:
    """Timesteps, n from the top, the last one 0, as `DDPMScheduler` takes them."""
    return (np.arange(n) * (N_TRAIN // _checked(n)))[::-1].astype(np.int64).copy()


def trailing_times(n: int) -> Times:
    """Timesteps, n from 999, pure noise, down, which matters where there are few."""
    return np.arange(N_TRAIN, 0, -N_TRAIN / _checked(n)).round().astype(np.int64) - 1


def compvis_times(n: int) -> Times:
    """Timesteps down to 1 in steps of `1000 // n`: more than n where n does not divide 1000.

    Where it divides, they are those of diffusers with `steps_offset=1`.
    """
    times = np.arange(0, N_TRAIN, N_TRAIN // _checked(n)) + 1
    if times[-1] >= N_TRAIN:
        raise ConfigurationError(
            f"num_inference_steps = {n} would step outside the schedule of {N_TRAIN}: use 250, "
            "100, 50, 25 or 10."
        )
    return times[::-1].astype(np.int64).copy()


def lcm_times(n: int) -> Times:
    """Timesteps, n of those that a latent consistency model was distilled on, from 999 down."""
    distilled = np.arange(N_DISTILLED, 0, -1) * (N_TRAIN // N_DISTILLED) - 1
    places = np.linspace(0, N_DISTILLED, num=_checked(n, N_DISTILLED), endpoint=False)
    return distilled[np.floor(places).astype(np.int64)]


def vp_levels(table: Tensor, times: Times, *, last: float | Tensor, device: Any) -> list[Level]:
    """Variance-preserving levels, alpha = sqrt(alpha_bar) and sigma = sqrt(1 - alpha_bar).

    `last` is the alpha_bar that the last step goes to: 1 is no noise, `table[0]` CompVis's choice.
    """
    products = [*table[torch.from_numpy(times)], torch.as_tensor(last)]
    told = _told([*times.tolist(), 0], device)
    return [Level(t, a**0.5, (1 - a) ** 0.5, a) for t, a in zip(told, products, strict=True)]


def snr_levels(table: Tensor, times: Times, *, device: Any) -> list[Level]:
    """The same levels from `s = sqrt((1 - alpha_bar) / alpha_bar)`, ending without noise.

    alpha = 1 / sqrt(s^2 + 1), sigma = s alpha (Lu et al., arXiv 2211.01095): another rounding.
    """
    sigmas = [*(((1 - table) / table) ** 0.5)[torch.from_numpy(times)], torch.tensor(0.0)]
    return ratio_levels(sigmas, times, device=device)


def ratio_levels(sigmas: Iterable[Tensor], times: Any, *, device: Any) -> list[Level]:
    """Levels of `s = sigma / alpha`, as `DPMSolverMultistepScheduler` holds them in `sigmas`."""
    ratios = list(sigmas)
    alphas = [1 / (s**2 + 1) ** 0.5 for s in ratios]
    told = _told([*times.tolist(), 0], device)
    return [Level(t, a, s * a, a**2) for t, a, s in zip(told, alphas, ratios, strict=True)]


def ve_levels(sigmas: Tensor, times: Tensor, *, device: Any) -> list[Level]:
    """Variance-exploding levels, alpha = 1, of a diffusers scheduler's `sigmas` and `timesteps`."""
    one = torch.tensor(1.0)
    told = _told([*times.tolist(), 0.0], device)
    return [
        Level(time, one, s, one, spread=(s**2 + 1) ** 0.5)
        for time, s in zip(told, sigmas, strict=True)
    ]


def flow_levels(n: int, *, device: Any) -> list[Level]:
    """Levels of a rectified flow: sigma evenly from 1 to 1/n, then 0; time 1000 sigma.

    diffusers' default ends at 0.001 before 0 and so wastes its last step, which matters when
    there are four.
    """
    sigmas = torch.from_numpy(np.linspace(1.0, 1.0 / n, n, dtype=np.float32))
    sigmas = torch.cat([sigmas, torch.zeros(1)])
    told = _told((N_TRAIN * sigmas).tolist(), device)
    return [Level(time, 1 - s, s, (1 - s) ** 2) for time, s in zip(told, sigmas, strict=True)]


def flow_levels_of(sigmas: Tensor, times: Tensor, *, device: Any) -> list[Level]:
    """Levels of a rectified flow, of a diffusers scheduler's `sigmas` and `timesteps`."""
    told = _told([*times.tolist(), 0.0], device)
    return [Level(time, 1 - s, s, (1 - s) ** 2) for time, s in zip(told, sigmas, strict=True)]


def angle_levels(times: Tensor, *, device: Any) -> list[Level]:
    """Levels of TrigFlow: alpha = cos t, sigma = sin t (Lu and Song, arXiv 2410.11081)."""
    told = _told(times.tolist(), device)
    return [
        Level(time, torch.cos(t), torch.sin(t), torch.cos(t) ** 2)
        for time, t in zip(told, times.cpu(), strict=True)
    ]


def _told(times: Iterable[float], device: Any) -> tuple[Tensor, ...]:
    """Times as scalars on the network's device, sent there once."""
    return torch.tensor(list(times)).to(device).unbind()


def _checked(n: int, most: int = N_TRAIN) -> int:
    if not 1 <= n <= most:
        raise ConfigurationError(f"num_inference_steps is {n}, expected 1 to {most}.")
    return n
