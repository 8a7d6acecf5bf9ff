"""One convention for every diffusion model: a noise level in, the estimate of both ends out.

A noisy sample lies on the line `x = alpha * clean + sigma * noise`. A `Denoiser` looks at x and
says where the line ends; what its network was trained to predict (noise, v, the clean sample, the
flow) is the adapter's business alone. Both ends come back because solvers are written in one or
the other, and to compute one from the other would lose bits near the end of the line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A noise level: `x = alpha * clean + sigma * noise`.

    Attributes
    ----------
    time : Tensor, shape ()
        What the network is told, on its device.
    alpha, sigma : Tensor, shape (), float32, CPU
        Scalars on the CPU act on tensors of any device and precision, and no step waits for them.
    alpha_bar : Tensor, shape (), float32, CPU
        alpha^2, as the tables of Ho et al. hold it: its root would not square back to the bit.
    spread : Tensor or None
        What the network's input is divided by, where it was trained on unit variance and x has
        more (a variance-exploding schedule).
    """

    time: Tensor
    alpha: Tensor
    sigma: Tensor
    alpha_bar: Tensor
    spread: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Both ends of the line through x, shaped as x; the noise is computed where it is asked for."""

    clean: Tensor
    find_noise: Callable[[], Tensor]

    @property
    def noise(self) -> Tensor:
        """The end that is noise."""
        return self.find_noise()


class Denoiser(Protocol):
    """A diffusion model with its condition bound."""

    def __call__(self, x: Tensor, level: Level, /) -> Estimate:
        """Estimate the clean sample and the noise in `x` (n, ...)."""
        ...


Network = Callable[[Tensor, Tensor], Tensor]
"""(x, time) to whatever was trained, condition bound: a module, or what a back-end made of it."""
Pair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x, time) to two predictions: for the empty condition, for the given one."""


def epsilon(network: Network) -> Denoiser:
    """Adapt a network that predicts the noise: x0 = (x - sigma eps) / alpha (Ho et al., eq. 15)."""

    def denoise(x: Tensor, level: Level) -> Estimate:
        noise = _ask(network, x, level)
        return Estimate((x - level.sigma * noise) / level.alpha, lambda: noise)

    return denoise


def velocity(network: Network) -> Denoiser:
    """Adapt a network that predicts v = a eps - s x0, where z = a x0 + s eps has unit variance.

    x0 = a z - s v, eps = a v + s z (Salimans and Ho, arXiv 2202.00512, app. D).
    """

    def denoise(x: Tensor, level: Level) -> Estimate:
        v = _ask(network, x, level)
        c = 1.0 if level.spread is None else level.spread
        a, s, z = level.alpha / c, level.sigma / c, x / c
        return Estimate(a * z - s * v, lambda: a * v + s * z)

    return denoise


def clean(network: Network) -> Denoiser:
    """Adapt a network that predicts the clean sample: eps = (x - alpha x0) / sigma."""

    def denoise(x: Tensor, level: Level) -> Estimate:
        x0 = _ask(network, x, level)
        return Estimate(x0, lambda: (x - level.alpha * x0) / level.sigma)

    return denoise


def flow(network: Network) -> Denoiser:
    """Adapt a network that predicts u = eps - x0 of a rectified flow, where alpha = 1 - sigma.

    x0 = x - sigma u, eps = x + alpha u (Liu et al., arXiv 2209.03003).
    """

    def denoise(x: Tensor, level: Level) -> Estimate:
        u = _ask(network, x, level)
        return Estimate(x - level.sigma * u, lambda: x + level.alpha * u)

    return denoise


def clipped(denoise: Denoiser, bound: float = 1.0) -> Denoiser:
    """Keep the clean estimate within +-bound."""

    def within(x: Tensor, level: Level) -> Estimate:
        estimate = denoise(x, level)
        return replace(estimate, clean=estimate.clean.clamp(-bound, bound))

    return within


def guided(both: Pair, scale: float) -> Network:
    """Classifier-free guidance: `empty + scale (full - empty)`; 1 is none, 0 no condition.

    Ho and Salimans, arXiv 2207.12598, eq. 6, whose w is `scale - 1`.
    """

    def predict(x: Tensor, time: Tensor) -> Tensor:
        empty, full = both(x, time)
        return empty + scale * (full - empty)

    return predict


def apart(empty: Network, full: Network) -> Pair:
    """Ask for both predictions one after the other."""
    return lambda x, time: (empty(x, time), full(x, time))


def together(network: Network) -> Pair:
    """Ask for both in one batch; the network's conditions hold the empty ones first."""

    def both(x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        empty, full = network(torch.cat([x, x]), time).chunk(2)
        return empty, full

    return both


def in_dtype(network: Network, dtype: torch.dtype) -> Network:
    """Run a network in its own precision, whatever that of x."""
    return lambda x, time: network(x.to(dtype), time).to(x.dtype)


def _ask(network: Network, x: Tensor, level: Level) -> Tensor:
    return network(x if level.spread is None else x / level.spread, level.time)
