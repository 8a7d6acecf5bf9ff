"""Steps from noise to a clean sample, one function a paper.

Each is a generator: it yields x after every step, so that whoever draws may look on, and the last
one is the sample (`last`). `levels` are of `schedules`; noise, where a solver adds any, comes from
an iterator. Letters are the cited papers'. Each is held against its diffusers scheduler to the
bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from models.sampling.denoisers import Denoiser, Level
from models.sampling.watching import steps

Levels = Sequence[Level]
LCM_SIGMA_DATA, LCM_TIME_SCALE = 0.5, 10.0


def last(states: Iterator[Tensor]) -> Tensor:
    """Run a solver to its end."""
    for x in states:
        sample = x
    return sample


def euler(denoise: Denoiser, x: Tensor, levels: Levels) -> Iterator[Tensor]:
    """Karras et al. (arXiv 2206.00364), algorithm 1 without its second half; alpha = 1.

    d = (x - x0) / sigma,  x' = x + d (sigma' - sigma)
    """
    for here, there in steps(levels):
        d = (x - denoise(x, here).clean) / here.sigma
        x = x + d * (there.sigma - here.sigma)
        yield x


def euler_ancestral(
    denoise: Denoiser, x: Tensor, levels: Levels, noise: Iterator[Tensor]
) -> Iterator[Tensor]:
    """Euler down to sigma_down, then as much new noise as leads to sigma'; alpha = 1.

    sigma_up^2 = sigma'^2 (sigma^2 - sigma'^2) / sigma^2,  sigma_down^2 = sigma'^2 - sigma_up^2
    (Karras et al., algorithm 2, as k-diffusion has it).
    """
    for here, there in steps(levels):
        s, t = here.sigma, there.sigma
        up = (t**2 * (s**2 - t**2) / s**2) ** 0.5
        down = (t**2 - up**2) ** 0.5
        d = (x - denoise(x, here).clean) / s
        x = x + d * (down - s)
        if t > 0:
            x = x + next(noise) * up
        yield x


def euler_flow(denoise: Denoiser, x: Tensor, levels: Levels) -> Iterator[Tensor]:
    """Euler along the straight line of a rectified flow: x' = x0 + (sigma' / sigma) (x - x0).

    The last step, to 0, lands on x0 itself (Liu et al., arXiv 2209.03003).
    """
    for here, there in steps(levels):
        clean = denoise(x, here).clean
        x = clean + (there.sigma / here.sigma) * (x - clean)
        yield x


def consistency(
    denoise: Denoiser, x: Tensor, levels: Levels, noise: Iterator[Tensor]
) -> Iterator[Tensor]:
    """Song et al. (arXiv 2303.01469), algorithm 1: x' = alpha' x0 + sigma' new noise, x0 at last.

    With TrigFlow's levels it is what SANA-Sprint's scheduler does.
    """
    for i, (here, there) in enumerate(steps(levels)):
        x = denoise(x, here).clean
        if i + 2 < len(levels):
            x = there.alpha * x + there.sigma * next(noise)
        yield x


def ddim(denoise: Denoiser, x: Tensor, levels: Levels) -> Iterator[Tensor]:
    """Song et al. (arXiv 2010.02502), eq. 12 with eta 0: x' = alpha' x0 + sigma' eps."""
    for here, there in steps(levels):
        estimate = denoise(x, here)
        x = there.alpha * estimate.clean + there.sigma * estimate.noise
        yield x


def ddpm(denoise: Denoiser, x: Tensor, levels: Levels, noise: Iterator[Tensor]) -> Iterator[Tensor]:
    """Ho et al. (arXiv 2006.11239), eq. 7; the last step adds no noise.

    mean = sqrt(a') (1 - a/a') / (1 - a) x0 + sqrt(a/a') (1 - a') / (1 - a) x,
    variance = (1 - a') / (1 - a) (1 - a/a'), with a for alpha_bar.
    """
    for i, (here, there) in enumerate(steps(levels)):
        a, after = here.alpha_bar, there.alpha_bar
        step = a / after
        clean = denoise(x, here).clean
        to_clean = after**0.5 * (1 - step) / (1 - a)
        to_x = step**0.5 * (1 - after) / (1 - a)
        x = to_clean * clean + to_x * x
        if i + 2 < len(levels):
            variance = ((1 - after) / (1 - a) * (1 - step)).clamp(min=1e-20)
            x = x + variance.sqrt() * next(noise)
        yield x


def dpmpp_2m(denoise: Denoiser, x: Tensor, levels: Levels) -> Iterator[Tensor]:
    """DPM-Solver++(2M) (Lu et al., arXiv 2211.01095), algorithm 2, first order at both ends.

    lambda = log(alpha / sigma), h = lambda' - lambda, r = h_before / h,
    x' = sigma'/sigma x - alpha' (e^-h - 1) (x0 + (x0 - x0_before) / (2 r))
    """
    before: tuple[Tensor, Tensor] | None = None
    for here, there in steps(levels):
        clean = denoise(x, here).clean
        h = _lambda(there) - _lambda(here)
        weight = there.alpha * (torch.exp(-h) - 1.0)
        x = (there.sigma / here.sigma) * x - weight * clean
        if before is not None and there.sigma > 0:
            clean_before, h_before = before
            x = x - 0.5 * weight * ((1.0 / (h_before / h)) * (clean - clean_before))
        before = clean, h
        yield x


def _lambda(level: Level) -> Tensor:
    return torch.log(level.alpha) - torch.log(level.sigma)


def lcm(denoise: Denoiser, x: Tensor, levels: Levels, noise: Iterator[Tensor]) -> Iterator[Tensor]:
    """Luo et al. (arXiv 2310.04378), algorithm 1: jump to the end, then back up with new noise.

    f = c_skip x + c_out x0,  x' = alpha' f + sigma' z, with c_skip = s^2 / (t^2 + s^2) and
    c_out = t / sqrt(t^2 + s^2) for s = 0.5 and ten times the timestep t.
    """
    for i, (here, there) in enumerate(steps(levels)):
        t = here.time * LCM_TIME_SCALE
        c_skip = LCM_SIGMA_DATA**2 / (t**2 + LCM_SIGMA_DATA**2)
        c_out = t / (t**2 + LCM_SIGMA_DATA**2) ** 0.5
        x = c_out * denoise(x, here).clean + c_skip * x
        if i + 2 < len(levels):
            x = there.alpha * x + there.sigma * next(noise)
        yield x


def plms(denoise: Denoiser, x: Tensor, levels: Levels) -> Iterator[Tensor]:
    """Pseudo linear multistep (Liu et al., arXiv 2202.09778), eq. 9 and 12, as CompVis runs it.

    The noise of up to four steps, weighted as Adams and Bashforth do; the first step is taken
    twice, with the mean of the noise at both of its ends.
    """
    history: list[Tensor] = []
    for i, (here, there) in enumerate(steps(levels)):
        history = [*history[-3:], denoise(x, here).noise]
        eps = _adams_bashforth(history)
        if i == 0 and len(levels) > 2:
            ahead = denoise(_transfer(x, eps, here, there), there).noise
            eps = (ahead + eps) / 2
        x = _transfer(x, eps, here, there)
        yield x


def _adams_bashforth(e: Sequence[Tensor]) -> Tensor:
    if len(e) == 1:
        return e[-1]
    if len(e) == 2:
        return (3 * e[-1] - e[-2]) / 2
    if len(e) == 3:
        return (23 * e[-1] - 16 * e[-2] + 5 * e[-3]) / 12
    return (1 / 24) * (55 * e[-1] - 59 * e[-2] + 37 * e[-3] - 9 * e[-4])


def _transfer(x: Tensor, eps: Tensor, here: Level, there: Level) -> Tensor:
    """Equation 9: along `eps` from one level to another; DDIM's step, rearranged."""
    a, after = here.alpha_bar, there.alpha_bar
    divisor = a * (1 - after) ** 0.5 + (a * (1 - a) * after) ** 0.5
    return (after / a) ** 0.5 * x - (after - a) * eps / divisor
