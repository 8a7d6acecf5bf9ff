"""Noise schedules and samplers in the CompVis convention, on diffusers' schedulers.

Owns the one difference: CompVis steps by `1000 // S` from 1 for as long as there is room, so a
count that does not divide 1000 gives more steps than were asked for; where it divides, diffusers'
own timesteps are the same. Knows nothing of networks.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    PNDMScheduler,
)
from torch import Tensor

from pipeline.errors import ConfigurationError

SD15 = {"beta_start": 0.00085, "beta_end": 0.0120}
"""Stable Diffusion 1.5."""
MINDVIS = {"beta_start": 0.0015, "beta_end": 0.0195}
"""The class-conditional ImageNet model of MinD-Vis."""
_COMMON: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
SamplerName = Literal["plms", "ddim", "lcm", "dpm"]


def _ascending(num_train_timesteps: int, num_inference_steps: int) -> np.ndarray[Any, Any]:
    if not 1 <= num_inference_steps <= num_train_timesteps:
        raise ConfigurationError(
            f"num_inference_steps is {num_inference_steps}, expected 1 to {num_train_timesteps}."
        )
    times = np.arange(0, num_train_timesteps, num_train_timesteps // num_inference_steps) + 1
    if times[-1] >= num_train_timesteps:
        raise ConfigurationError(
            f"num_inference_steps = {num_inference_steps} would step outside the schedule of "
            f"{num_train_timesteps}: use 250, 100, 50, 25 or 10."
        )
    return times


class PlmsScheduler(PNDMScheduler):  # type: ignore[misc]
    """PNDM's multistep part with CompVis's timesteps (Liu et al., arXiv 2202.09778)."""

    def set_timesteps(
        self, num_inference_steps: int, device: str | torch.device | None = None
    ) -> None:
        """Set the timesteps of one picture; the second is run twice, as Heun's first step."""
        super().set_timesteps(num_inference_steps, device=device)
        times = _ascending(self.config.num_train_timesteps, num_inference_steps)
        twice = np.concatenate([times[:-1], times[-2:-1], times[-1:]])[::-1].astype(np.int64)
        self._timesteps = times
        self.plms_timesteps = twice
        self.timesteps = torch.from_numpy(twice.copy()).to(device)


class CompVisDdimScheduler(DDIMScheduler):  # type: ignore[misc]
    """DDIM with CompVis's timesteps (Song et al., arXiv 2010.02502)."""

    def set_timesteps(
        self, num_inference_steps: int, device: str | torch.device | None = None
    ) -> None:
        """Set the timesteps of one picture."""
        super().set_timesteps(num_inference_steps, device=device)
        times = _ascending(self.config.num_train_timesteps, num_inference_steps)
        self.timesteps = torch.from_numpy(times[::-1].astype(np.int64)).to(device)


def make_scheduler(
    name: SamplerName = "plms", *, beta_start: float = 0.00085, beta_end: float = 0.0120
) -> PlmsScheduler | CompVisDdimScheduler | LCMScheduler | DPMSolverMultistepScheduler:
    """Build a sampler over a schedule that is linear in the square root of beta.

    `plms` is the published one (250 steps, eta 0); `lcm` draws in 1 to 8 steps with a distilled
    U-Net or an LCM-LoRA, and is wrong with any other; `dpm` is DPM-Solver++ of second order (Lu et
    al., arXiv 2211.01095), for few steps with weights that were not distilled.
    """
    betas = {"beta_start": beta_start, "beta_end": beta_end}
    if name == "plms":
        return PlmsScheduler(**_COMMON, **betas, skip_prk_steps=True)
    if name == "ddim":
        return CompVisDdimScheduler(**_COMMON, **betas, clip_sample=False)
    if name == "dpm":
        # Trailing: the first step begins at pure noise, which matters where there are few.
        return DPMSolverMultistepScheduler(
            num_train_timesteps=_COMMON["num_train_timesteps"],
            beta_schedule=_COMMON["beta_schedule"],
            **betas,
            timestep_spacing="trailing",
        )
    return LCMScheduler(**_COMMON, **betas)


def variational_weights(alphas_cumprod: Tensor) -> Tensor:
    """Weight of each timestep's squared error in the variational bound (for reports only).

    beta^2 / (2 posterior_variance alpha (1 - alpha_cumprod)), the first taken from the second,
    in float64 (Ho et al., arXiv 2006.11239, eq. 12).
    """
    products = alphas_cumprod.double()
    before = torch.cat([torch.ones(1, dtype=torch.float64), products[:-1]])
    alphas = products / before
    betas = 1 - alphas
    posterior = betas * (1 - before) / (1 - products)
    weights = betas**2 / (2 * posterior * alphas * (1 - products))
    weights[0] = weights[1]
    return weights.float()
