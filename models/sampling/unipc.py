"""UniPC: a predictor whose step is corrected by what the next call says (arXiv 2302.04867).

One solver in the manner of `solvers`: held against diffusers' `UniPCMultistepScheduler`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from models.sampling.denoisers import Denoiser, Level
from models.sampling.solvers import Levels
from models.sampling.watching import steps


def unipc(denoise: Denoiser, x: Tensor, levels: Levels) -> Iterator[Tensor]:
    """UniPC-2 with B(h) = e^h - 1, first order at both ends (algorithms 5 to 8, clean samples).

    With h = lambda' - lambda, r = (lambda_before - lambda) / h and phi = e^-h - 1:
    predictor x' = sigma'/sigma x - alpha' phi (x0 + (x0_before - x0) / (2 r)),
    corrector, one call later, with rho solved from the two order conditions:
    x = sigma'/sigma x - alpha' phi (x0 + rho_1 (x0_before - x0) / r + rho_2 (x0' - x0)).
    """
    n = len(levels) - 1
    before: list[tuple[Level, Tensor]] = []
    start, order = x, 1
    for i, (here, there) in enumerate(steps(levels)):
        clean = denoise(x, here).clean
        if before:
            x = _corrected(start, before, here, clean, order)
        before = [*before[-1:], (here, clean)]
        order = min(2, i + 1, n - i)
        start = x
        x = _predicted(x, before[-order:], there)
        yield x


def _predicted(x: Tensor, past: list[tuple[Level, Tensor]], there: Level) -> Tensor:
    here, clean = past[-1]
    phi = torch.expm1(_lambda(here) - _lambda(there))
    made = (there.sigma / here.sigma) * x - there.alpha * phi * clean
    if len(past) > 1:
        made = made - there.alpha * phi * 0.5 * _slope(past, there)
    return made


def _corrected(
    x: Tensor, before: list[tuple[Level, Tensor]], there: Level, found: Tensor, order: int
) -> Tensor:
    here, clean = before[-1]
    phi = torch.expm1(_lambda(here) - _lambda(there))
    made = (there.sigma / here.sigma) * x - there.alpha * phi * clean
    if order == 1:
        return made - there.alpha * phi * 0.5 * (found - clean)
    r = _ratio(before, there)
    h = _lambda(there) - _lambda(here)
    first = -phi / h - 1  # phi_2 of -h, over e^-h - 1 each
    g1, g2 = first / phi, 2 * (first / -h - 0.5) / phi
    to_slope = (g2 - g1) / (r - 1)
    change = to_slope * _slope(before, there) + (g1 - to_slope) * (found - clean)
    return made - there.alpha * phi * change


def _slope(past: list[tuple[Level, Tensor]], there: Level) -> Tensor:
    return (past[-2][1] - past[-1][1]) / _ratio(past, there)


def _ratio(past: list[tuple[Level, Tensor]], there: Level) -> Tensor:
    here = _lambda(past[-1][0])
    return (_lambda(past[-2][0]) - here) / (_lambda(there) - here)


def _lambda(level: Level) -> Tensor:
    return torch.log(level.alpha) - torch.log(level.sigma)
