"""The one sampling module: against diffusers' schedulers, against what is known, on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)
from torch import Tensor

from models.api import SamplerSpec
from models.atm.errors import AtmError
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.prior_sampling import prior_states
from models.dreamdiffusion.toy import CONDITION, SIDE, make_toy
from models.latent_diffusion.live import ContextSampler, SolverName
from models.sampling import denoisers, schedules, solvers
from models.sampling.denoisers import Denoiser, Estimate, Level, Network
from models.sampling.noise import seeded_noise
from models.sampling.pictures import to_pixels
from pipeline.errors import ConfigurationError

SHAPE = (4, 6, 6)
SCALED: dict[str, Any] = {"beta_schedule": "scaled_linear", **schedules.SD15}
COMPVIS: dict[str, Any] = {**SCALED, "set_alpha_to_one": False, "steps_offset": 1}
TABLE = schedules.alphas_cumprod(**schedules.SD15, scaled=True)
PLAIN = schedules.alphas_cumprod()
CPU = torch.device("cpu")
HERE = torch.empty(0)
ADAPTERS = {
    "epsilon": denoisers.epsilon,
    "v_prediction": denoisers.velocity,
    "sample": denoisers.clean,
}
Solve = Callable[[Denoiser, Tensor, list[Level], Iterator[Tensor]], Iterator[Tensor]]


def network(x: Tensor, time: Tensor) -> Tensor:
    """What no diffusion model predicts, but every scheduler has to step along."""
    mixed = torch.einsum("ij,njhw->nihw", torch.linspace(-1, 1, 16).view(4, 4).to(x), x)
    return torch.tanh(mixed + (time.to(x.dtype) / 1000 - 0.3))


def without_noise(solve: Callable[..., Iterator[Tensor]]) -> Solve:
    return lambda denoise, x, levels, noise: solve(denoise, x, levels)


def compvis(n: int, device: torch.device = CPU) -> list[Level]:
    return schedules.vp_levels(TABLE, schedules.compvis_times(n), last=TABLE[0], device=device)


def of_lcm(n: int, device: torch.device = CPU) -> list[Level]:
    return schedules.vp_levels(TABLE, schedules.lcm_times(n), last=1.0, device=device)


def of_ddpm(n: int, device: torch.device = CPU) -> list[Level]:
    return schedules.vp_levels(PLAIN, schedules.leading_times(n), last=1.0, device=device)


def of_dpm(n: int, device: torch.device = CPU) -> list[Level]:
    return schedules.snr_levels(TABLE, schedules.trailing_times(n), device=device)


def of_flow(n: int, device: torch.device = CPU) -> list[Level]:
    return schedules.flow_levels(n, device=device)


def of_euler(n: int, device: torch.device = CPU, **more: Any) -> list[Level]:
    scheduler = EulerDiscreteScheduler(**SCALED, timestep_spacing="trailing", **more)
    scheduler.set_timesteps(n)
    return schedules.ve_levels(scheduler.sigmas, scheduler.timesteps, device=device)


LEVELS = {
    "plms": (without_noise(solvers.plms), compvis),
    "ddim": (without_noise(solvers.ddim), compvis),
    "lcm": (solvers.lcm, of_lcm),
    "ddpm": (solvers.ddpm, of_ddpm),
    "dpmpp_2m": (without_noise(solvers.dpmpp_2m), of_dpm),
    "euler_flow": (without_noise(solvers.euler_flow), of_flow),
    "euler": (without_noise(solvers.euler), of_euler),
    "euler_ancestral": (solvers.euler_ancestral, of_euler),
}
REFERENCES: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "plms": (PNDMScheduler, {**COMPVIS, "skip_prk_steps": True}, ("epsilon",)),
    "ddim": (DDIMScheduler, {**COMPVIS, "clip_sample": False}, tuple(ADAPTERS)),
    "lcm": (LCMScheduler, COMPVIS, tuple(ADAPTERS)),
    "ddpm": (DDPMScheduler, {"clip_sample": False}, tuple(ADAPTERS)),
    "dpmpp_2m": (
        DPMSolverMultistepScheduler,
        {**SCALED, "timestep_spacing": "trailing"},
        tuple(ADAPTERS),
    ),
    "euler": (EulerDiscreteScheduler, {**SCALED, "timestep_spacing": "trailing"}, tuple(ADAPTERS)),
    "euler_ancestral": (
        EulerAncestralDiscreteScheduler,
        {**SCALED, "timestep_spacing": "trailing"},
        ("epsilon", "v_prediction"),
    ),
}


@pytest.mark.parametrize("n", [1, 2, 4, 10, 25])
@pytest.mark.parametrize(
    ("name", "prediction"), [(name, p) for name, (_, _, ps) in REFERENCES.items() for p in ps]
)
def test_every_step_is_that_of_diffusers(name: str, prediction: str, n: int) -> None:
    """To the bit where nothing but the noise or the sample is predicted, as our systems do."""
    solve, levels_of = LEVELS[name]
    cls, options, _ = REFERENCES[name]
    theirs, start = _their_steps(cls(**options, prediction_type=prediction), n)
    noise = seeded_noise((7,), SHAPE, like=HERE)
    next(noise)
    ours = list(solve(ADAPTERS[prediction](network), start, levels_of(n), noise))
    assert len(ours) == len(theirs) == n
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if prediction == "epsilon":
            assert torch.equal(a, b), f"step {i}: {(a - b).abs().max():.2g}"
        torch.testing.assert_close(a, b, atol=2e-5, rtol=2e-5)


def _their_steps(scheduler: Any, n: int) -> tuple[list[Tensor], Tensor]:
    scheduler.set_timesteps(n)
    generator = torch.Generator().manual_seed(7)
    x = start = torch.randn(1, *SHAPE, generator=generator) * scheduler.init_noise_sigma
    draws = isinstance(scheduler, LCMScheduler | DDPMScheduler | EulerAncestralDiscreteScheduler)
    extra = {"generator": generator} if draws else {}
    states = []
    for t in scheduler.timesteps:
        predicted = network(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(predicted, t, x, return_dict=False, **extra)[0]
        states.append(x)
    # PNDM takes its first step twice: the second time counts.
    return states[len(states) - n :], start


@pytest.mark.parametrize("n", [1, 4, 7])
def test_flow_is_that_of_diffusers_on_our_levels(n: int) -> None:
    levels = of_flow(n)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[float(level.sigma) for level in levels[:-1]])
    x = start = next(seeded_noise((3,), SHAPE, like=HERE))
    for level, t in zip(levels[:-1], scheduler.timesteps, strict=True):
        assert level.time == t
        x = scheduler.step(network(x, t), t, x).prev_sample
    ours = solvers.last(solvers.euler_flow(denoisers.flow(network), start, levels))
    torch.testing.assert_close(ours, x, atol=1e-5, rtol=1e-5)


def test_flow_ends_at_zero_and_wastes_no_step() -> None:
    assert [float(level.sigma) for level in of_flow(4)] == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_tables_and_times_are_those_of_diffusers() -> None:
    assert torch.equal(PLAIN, DDPMScheduler().alphas_cumprod)
    assert torch.equal(TABLE, DDPMScheduler(**SCALED).alphas_cumprod)
    for n in (1, 2, 7, 10, 50):
        _same_times(schedules.leading_times(n), DDPMScheduler(), n)
        _same_times(schedules.lcm_times(n), LCMScheduler(), n)
        dpm = DPMSolverMultistepScheduler(timestep_spacing="trailing")
        _same_times(schedules.trailing_times(n), dpm, n)
    for n in (10, 250):
        _same_times(schedules.compvis_times(n), DDIMScheduler(steps_offset=1), n)
    # CompVis takes more where the count does not divide.
    assert len(schedules.compvis_times(15)) == 16
    for wrong in (0, 1001):
        with pytest.raises(ConfigurationError, match=f"is {wrong}, expected 1 to 1000"):
            schedules.trailing_times(wrong)
    with pytest.raises(ConfigurationError, match="outside the schedule"):
        schedules.compvis_times(3)
    with pytest.raises(ConfigurationError, match="expected 1 to 50"):
        schedules.lcm_times(51)


def _same_times(ours: np.ndarray, scheduler: Any, n: int) -> None:
    scheduler.set_timesteps(n)
    assert ours.tolist() == scheduler.timesteps.tolist()


@pytest.mark.parametrize("levels_of", [compvis, of_dpm, of_flow, of_euler])
def test_every_parametrisation_finds_both_ends(levels_of: Callable[..., list[Level]]) -> None:
    clean, noise = (next(seeded_noise((seed,), SHAPE, like=HERE.double())) for seed in (1, 2))
    for here, _ in pairwise(levels_of(5)):
        a, s = here.alpha.double(), here.sigma.double()
        x = a * clean + s * noise
        spread = 1.0 if here.spread is None else here.spread.double()
        truths = {
            "epsilon": (denoisers.epsilon, noise),
            "v_prediction": (denoisers.velocity, (a * noise - s * clean) / spread),
            "sample": (denoisers.clean, clean),
        }
        if levels_of is of_flow:
            truths = {"flow": (denoisers.flow, noise - clean), "sample": truths["sample"]}
        for name, (adapter, truth) in truths.items():
            estimate = adapter(_fixed(truth))(x, here)
            found = (estimate.clean, estimate.noise)
            for made, end in zip(found, (clean, noise), strict=True):
                torch.testing.assert_close(made, end, atol=2e-4, rtol=2e-4, msg=name)


def _fixed(value: Tensor) -> Network:
    return lambda x, time: value


def _gaussian(deviation: float) -> Denoiser:
    """The best estimate there is for data of mean 0 and this deviation."""

    def denoise(x: Tensor, level: Level) -> Estimate:
        a, s, d = level.alpha, level.sigma, deviation
        total = a**2 * d**2 + s**2
        return Estimate(x * a * d**2 / total, lambda: x * s / total)

    return denoise


@pytest.mark.parametrize("name", LEVELS)
def test_what_is_known_of_a_gaussian_is_found(name: str) -> None:
    """Steps without noise end at `deviation x start`; with noise, at the data's deviation."""
    solve, levels_of = LEVELS[name]
    n, deviation = (50 if name == "lcm" else 250), 0.5
    levels = levels_of(n)
    seeds = tuple(range(400))
    noise = seeded_noise(seeds, (16,), like=HERE)
    start = next(noise)
    scale = (levels[0].alpha ** 2 * deviation**2 + levels[0].sigma ** 2) ** 0.5
    made = solvers.last(solve(_gaussian(deviation), start * scale, levels, noise))
    if name in ("ddpm", "euler_ancestral"):
        assert float(made.std()) == pytest.approx(deviation, rel=0.05)
        assert float(made.mean()) == pytest.approx(0, abs=0.02)
    elif name != "lcm":  # which goes to the mean of a model that was not distilled
        torch.testing.assert_close(made, deviation * start, atol=0.03, rtol=0.03)


def test_guidance_goes_from_the_empty_prediction() -> None:
    x, time = next(seeded_noise((1,), SHAPE, like=HERE)), torch.tensor(500)
    shifts = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1)
    pair = denoisers.together(lambda x, time: network(x, time) + shifts)
    one_by_one = denoisers.apart(network, lambda x, time: network(x, time) + 2.0)
    for scale in (0.0, 1.0, 3.0):
        for both in (pair, one_by_one):
            made = denoisers.guided(both, scale)(x, time)
            torch.testing.assert_close(made, network(x, time) + 2.0 * scale)


def test_clipping_bounds_the_clean_end_alone() -> None:
    x = 9 * next(seeded_noise((1,), SHAPE, like=HERE))
    level = compvis(10)[0]
    free = denoisers.epsilon(network)(x, level)
    bound = denoisers.clipped(denoisers.epsilon(network))(x, level)
    assert bound.clean.abs().max() == 1 < free.clean.abs().max()
    assert torch.equal(bound.noise, free.noise)


def test_noise_is_each_seeds_own() -> None:
    three = seeded_noise((5, 6, 5), (3, 2), like=HERE)
    alone = seeded_noise((6,), (3, 2), like=HERE)
    for _ in range(3):
        drawn = next(three)
        assert torch.equal(drawn[1:2], next(alone))
        assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(next(three), drawn)
    single, double = (next(seeded_noise((5,), (9,), like=d)) for d in (HERE, HERE.double()))
    assert torch.equal(single.double(), double)
    for seed in (-1, 2**64):
        with pytest.raises(ConfigurationError, match=f"seed is {seed}"):
            next(seeded_noise((seed,), (1,), like=HERE))


def _adapter(name: str) -> Callable[[Network], Denoiser]:
    """At its first level, pure noise, a flow's clean end cannot be found from the noise."""
    return denoisers.flow if name == "euler_flow" else denoisers.epsilon


@pytest.mark.parametrize("name", LEVELS)
def test_precision_is_an_argument(name: str) -> None:
    """A network in bfloat16 gives about the same; x never falls below float32."""
    made = {}
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        asked: list[torch.dtype] = []

        def spied(x: Tensor, time: Tensor, asked: list[torch.dtype] = asked) -> Tensor:
            asked.append(x.dtype)
            return network(x, time)

        solve, levels_of = LEVELS[name]
        noise = seeded_noise((1, 2), SHAPE, like=HERE.to(dtype))
        denoise = _adapter(name)(denoisers.in_dtype(spied, dtype))
        made[dtype] = solvers.last(solve(denoise, next(noise), levels_of(10), noise))
        assert set(asked) == {dtype}
        assert made[dtype].dtype == torch.promote_types(dtype, torch.float32)
    scale = float(made[torch.float64].abs().max())
    double = made[torch.float64]
    torch.testing.assert_close(
        made[torch.float32].double() / scale, double / scale, atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        made[torch.bfloat16].double() / scale, double / scale, atol=0.1, rtol=0
    )


@pytest.mark.parametrize("name", LEVELS)
def test_steps_run_on_any_device_and_wait_for_none(name: str) -> None:
    """On `meta` a value cannot be read: whoever waits for one, or leaves a tensor behind, fails."""
    meta = torch.device("meta")
    solve, levels_of = LEVELS[name]
    noise = seeded_noise((1, 2), SHAPE, like=HERE.to(meta))
    levels = levels_of(10, meta)
    assert {level.time.device for level in levels} == {meta}
    made = solvers.last(solve(_adapter(name)(network), next(noise), levels, noise))
    assert (made.device, made.shape) == (meta, (2, *SHAPE))


@pytest.mark.parametrize("name", LEVELS)
def test_a_batch_is_its_items(name: str) -> None:
    solve, levels_of = LEVELS[name]
    made = []
    for seeds in ((4, 5), (4,), (5,)):
        noise = seeded_noise(seeds, SHAPE, like=HERE)
        denoise = _adapter(name)(network)
        made.append(solvers.last(solve(denoise, next(noise), levels_of(10), noise)))
    torch.testing.assert_close(made[0], torch.cat(made[1:]), atol=1e-5, rtol=1e-5)


def test_pixels_are_rounded_and_bounded() -> None:
    image = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 7.0]).view(1, 1, 1, 6).expand(2, 3, 1, 6)
    pixels = to_pixels(image)
    assert pixels.shape == (2, 1, 6, 3)
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 128, 191, 255, 255]


@pytest.mark.parametrize(
    ("solver", "steps", "dtype"),
    [
        ("plms", 5, torch.bfloat16),
        ("dpm", 2, torch.bfloat16),
        ("lcm", 1, torch.bfloat16),
        ("lcm", 1, torch.float32),
    ],
)
def test_dreamdiffusion_waits_for_no_device(
    solver: SolverName, steps: int, dtype: torch.dtype
) -> None:
    like = torch.empty(0, device="meta", dtype=dtype)
    spec = SamplerSpec(name="toy", space="", size=(SIDE, SIDE), steps=steps)
    sampler = ContextSampler(make_toy().to(like), guidance_scale=2.0, solver=solver, spec=spec)
    context = like.new_empty(2, CONDITION.context_tokens, CONDITION.context_dim)
    with torch.inference_mode():
        latents = sampler._draw(context, seeds=(1, 2))
    assert latents.device == like.device
    assert latents.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_prior_waits_for_no_device(dtype: torch.dtype) -> None:
    like = torch.empty(0, device="meta", dtype=dtype)
    sizes = PriorConfig(embed_dim=8, cond_dim=6, hidden_dim=(8, 4), time_embed_dim=16)
    prior = DiffusionPriorUNet(sizes).eval().to(like)
    states = list(prior_states(prior, torch.zeros(3, 6), num_inference_steps=4))
    assert [state.shape for state in states] == [(3, 8)] * 4
    assert {state.device for state in states} == {like.device}
    assert {state.dtype for state in states} == {torch.promote_types(dtype, torch.float32)}


def test_a_prior_draws_a_batch_as_its_items() -> None:
    sizes = PriorConfig(embed_dim=8, cond_dim=6, hidden_dim=(8, 4), time_embed_dim=16)
    torch.manual_seed(0)
    prior = DiffusionPriorUNet(sizes).eval()
    condition, noise = torch.randn(3, 6), torch.randn(3, 5, 8)
    options = {"num_inference_steps": 5, "guidance_scale": 2.0}
    whole = solvers.last(prior_states(prior, condition, noise=noise, **options))
    for i in range(3):
        one = prior_states(prior, condition[i : i + 1], noise=noise[i : i + 1], **options)
        torch.testing.assert_close(whole[i : i + 1], solvers.last(one))
    with pytest.raises(AtmError, match="expected"):
        next(prior_states(prior, condition, noise=noise[:, :4], **options))
