"""A diffusers scheduler's settings become levels and a solver of `models.sampling`.

Owns which schedulers are known and which of their settings are. A scheduler is asked for its own
timesteps and tables, so that every spacing is diffusers' own; the steps are ours. What would draw
another picture than diffusers' is refused by name, never approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.sampling import denoisers, schedules, solvers
from models.sampling.denoisers import Denoiser, Level, Network
from models.stable_diffusion.errors import StableDiffusionError

Solve = Callable[[Denoiser, Tensor, Sequence[Level], Iterator[Tensor]], Iterator[Tensor]]
PREDICTIONS: Mapping[str, Callable[[Network], Denoiser]] = {
    "epsilon": denoisers.epsilon,
    "v_prediction": denoisers.velocity,
    "sample": denoisers.clean,
}
"""Adapters by a scheduler's `prediction_type`."""
UNKNOWN_SWITCHES = ("thresholding", "clip_sample", "use_lu_lambdas", "use_flow_sigmas")
"""Settings that no generator of pictures here is published with."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How a picture's steps are taken.

    Attributes
    ----------
    levels : list of Level
    solve : callable
        One of `models.sampling.solvers`, given the noise of each step.
    adapt : callable
        Makes a denoiser of the network.
    scale : float
        Of the first noise.
    """

    levels: list[Level]
    solve: Solve
    adapt: Callable[[Network], Denoiser]
    scale: float

    def run(self, network: Network, noise: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield the latents after each step, from noise (n, channels, height, width) on."""
        start = next(noise) * self.scale
        return self.solve(self.adapt(network), start, self.levels, noise)


def plan_of(scheduler: Any, *, steps: int, device: torch.device, where: str = "") -> Plan:
    """Take the levels, the solver and the prediction of a diffusers scheduler.

    Parameters
    ----------
    scheduler : SchedulerMixin
        Of diffusers; its timesteps are set.
    steps : int
    device : torch.device
        Of the network.
    where : str
        What an error names: the scheduler's folder.

    Raises
    ------
    StableDiffusionError
        Its class, or one of its settings, is not known here.
    """
    config, name = scheduler.config, type(scheduler).__name__
    place = where or "the scheduler"
    if name not in PLANS:
        raise StableDiffusionError(
            f"{place} is of {name}, expected {', '.join(PLANS)}: take scheduler_config.json from "
            "a pipeline with one of them."
        )
    for switch in UNKNOWN_SWITCHES:
        if config.get(switch):
            raise StableDiffusionError(
                f"{place} sets {switch}, which is not drawn here: set it to false."
            )
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise StableDiffusionError(
            f"{place} has prediction_type {prediction!r}, expected {', '.join(PREDICTIONS)}."
        )
    try:
        scheduler.set_timesteps(steps)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise StableDiffusionError(f"{place} takes no {steps} steps ({reason}).") from None
    levels, solve = PLANS[name](_Asked(scheduler, steps, device, place))
    return Plan(levels, solve, PREDICTIONS[prediction], float(scheduler.init_noise_sigma))


def _without_noise(solve: Callable[..., Iterator[Tensor]]) -> Solve:
    return lambda denoise, x, levels, _: solve(denoise, x, levels)


Made = tuple[list[Level], Solve]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A scheduler whose timesteps are set, and what its levels need."""

    scheduler: Any
    steps: int
    device: torch.device
    place: str


def _euler(asked: _Asked) -> Made:
    levels = schedules.ve_levels(
        asked.scheduler.sigmas, asked.scheduler.timesteps, device=asked.device
    )
    return levels, _without_noise(solvers.euler)


def _euler_ancestral(asked: _Asked) -> Made:
    levels = schedules.ve_levels(
        asked.scheduler.sigmas, asked.scheduler.timesteps, device=asked.device
    )
    return levels, solvers.euler_ancestral


def _lcm(asked: _Asked) -> Made:
    scaling = asked.scheduler.config.timestep_scaling
    if scaling != solvers.LCM_TIME_SCALE:
        raise StableDiffusionError(
            f"{asked.place} has timestep_scaling {scaling}, expected {solvers.LCM_TIME_SCALE:g}."
        )
    times = asked.scheduler.timesteps.numpy()
    return _vp(asked, times, asked.scheduler.final_alpha_cumprod), solvers.lcm


def _ddim(asked: _Asked) -> Made:
    times = _evenly(asked, asked.scheduler.timesteps.numpy())
    levels = _vp(asked, times, asked.scheduler.final_alpha_cumprod)
    return levels, _without_noise(solvers.ddim)


def _ddpm(asked: _Asked) -> Made:
    variance = asked.scheduler.config.variance_type
    if variance != "fixed_small":
        raise StableDiffusionError(
            f"{asked.place} has variance_type {variance!r}, expected 'fixed_small'."
        )
    times = _evenly(asked, asked.scheduler.timesteps.numpy())
    return _vp(asked, times, 1.0), solvers.ddpm


def _pndm(asked: _Asked) -> Made:
    if (
        not asked.scheduler.config.skip_prk_steps
        or asked.scheduler.config.prediction_type != "epsilon"
    ):
        raise StableDiffusionError(
            f"{asked.place} is a PNDMScheduler that runs Runge-Kutta steps or predicts no noise, "
            "expected skip_prk_steps and prediction_type 'epsilon' (or a DDIMScheduler)."
        )
    times = np.asarray(asked.scheduler._timesteps, dtype=np.int64)[::-1].copy()  # noqa: SLF001 - without the repeated first step
    times = _evenly(asked, times)
    levels = _vp(asked, times, asked.scheduler.final_alpha_cumprod)
    return levels, _without_noise(solvers.plms)


def _dpm(asked: _Asked) -> Made:
    config = asked.scheduler.config
    known = {
        "algorithm_type": "dpmsolver++",
        "solver_order": 2,
        "solver_type": "midpoint",
        "final_sigmas_type": "zero",
        "lower_order_final": True,
        "euler_at_final": False,
    }
    wrong = [name for name, value in known.items() if config.get(name, value) != value]
    if wrong:
        raise StableDiffusionError(
            f"{asked.place} has {wrong[0]} {config[wrong[0]]!r}, expected {known[wrong[0]]!r}."
        )
    levels = schedules.ratio_levels(
        asked.scheduler.sigmas, asked.scheduler.timesteps, device=asked.device
    )
    return levels, _without_noise(solvers.dpmpp_2m)


PLANS: Mapping[str, Callable[[_Asked], Made]] = {
    "EulerDiscreteScheduler": _euler,
    "EulerAncestralDiscreteScheduler": _euler_ancestral,
    "LCMScheduler": _lcm,
    "DDIMScheduler": _ddim,
    "DDPMScheduler": _ddpm,
    "PNDMScheduler": _pndm,
    "DPMSolverMultistepScheduler": _dpm,
}
"""By class of diffusers."""


def _vp(asked: _Asked, times: Any, last: Any) -> list[Level]:
    table = asked.scheduler.alphas_cumprod
    return schedules.vp_levels(table, times, last=last, device=asked.device)


def _evenly(asked: _Asked, times: Any) -> Any:
    """Refuse timesteps that diffusers' step leaves: it goes down by a whole number each time."""
    config = asked.scheduler.config
    stride = config.num_train_timesteps // asked.steps
    if np.any(np.diff(times) != -stride) or times[-1] >= stride:
        raise StableDiffusionError(
            f"{asked.place} takes no {asked.steps} steps with timestep_spacing "
            f"{config.timestep_spacing!r}: choose a number that divides "
            f"{config.num_train_timesteps}."
        )
    return times
