"""From CLIP tokens to latents of a picture, and which of several pictures is kept.

Owns MindEye's way of drawing (arXiv 2305.18274, section 2.5): UniPC steps of Versatile Diffusion's
image network with guidance, begun from a blurry picture, and second-order selection. Networks are
given. The published network reads 77 empty text tokens beside the image tokens and gives them no
weight (`text_to_image_strength` 0): what is left is diffusers' `UNet2DConditionModel` of its folder
`image_unet`, so no second stream of transformers is built, loaded or computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.mindeye.errors import MindEyeError
from models.sampling import denoisers, schedules
from models.sampling.denoisers import Level
from models.sampling.unipc import unipc

SCALING_FACTOR = 0.18215
"""Between the autoencoder's latents and the diffusion model's."""
Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(latents, time, context) to predicted noise."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How latents are drawn.

    Attributes
    ----------
    num_inference_steps : int
        Of the whole way.
    guidance_scale : float
        The empty condition is zeros.
    strength : float
        Part of the way that is gone where a picture is given to begin from: 1 ignores it.
    """

    num_inference_steps: int = 20
    guidance_scale: float = 3.5
    strength: float = 0.85

    def __post_init__(self) -> None:
        """Refuse a part that is none."""
        if not 0 < self.strength <= 1:
            raise MindEyeError(f"strength is {self.strength}, expected above 0 and at most 1.")

    def times(self, *, begins: bool) -> NDArray[np.int64]:
        """Timesteps, evenly from 999 down; from the middle on where a picture `begins`."""
        n = self.num_inference_steps
        times = np.linspace(0, schedules.N_TRAIN - 1, n + 1).round()[:0:-1].astype(np.int64)
        return times[n - max(1, int(n * self.strength)) :] if begins else times

    def levels(self, *, begins: bool, device: torch.device | str = "cpu") -> list[Level]:
        """Levels of those timesteps; the last step goes to the first of the table."""
        table = schedules.alphas_cumprod(**schedules.SD15, scaled=True)
        times = self.times(begins=begins).copy()
        return schedules.vp_levels(table, times, last=table[0], device=device)

    def begin(self, start: Tensor, noise: Tensor) -> Tensor:
        """Latents (n, ...) of a picture with as much noise as the first level has."""
        first = self.levels(begins=True)[0]
        return first.alpha * start + first.sigma * noise

    def states(
        self, network: Network, tokens: Tensor, *, noise: Tensor, start: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Draw latents, step by step (`solvers.last` takes the last).

        Parameters
        ----------
        network : callable
        tokens : Tensor, shape (n, n_tokens, width)
        noise : Tensor, shape (n, channels, height, width)
        start : Tensor, shape (n or 1, channels, height, width), optional
            Latents of a picture to begin from, on the diffusion model's scale.

        Yields
        ------
        Tensor, shape (n, channels, height, width)
        """
        begins = start is not None and self.strength < 1
        x = self.begin(start, noise) if start is not None and begins else noise
        context = torch.cat([torch.zeros_like(tokens), tokens])
        bound: denoisers.Network = lambda x, time: network(x, time, context)  # noqa: E731
        if self.guidance_scale == 1.0:
            bound = lambda x, time: network(x, time, tokens)  # noqa: E731
        else:
            bound = denoisers.guided(denoisers.together(bound), self.guidance_scale)
        denoise = denoisers.epsilon(denoisers.in_dtype(bound, tokens.dtype))
        yield from unipc(denoise, x, self.levels(begins=begins, device=tokens.device))


def best_of(seen: Tensor, wanted: Tensor) -> int:
    """Second-order selection: which picture's tokens lie nearest to the projector's.

    Parameters
    ----------
    seen : Tensor, shape (n, ...)
        CLIP tokens of the pictures that were drawn.
    wanted : Tensor, shape (1, ...)
        Of the brain.
    """
    cosines = functional.cosine_similarity(seen.flatten(1), wanted.flatten(1))
    return int(cosines.argmax())
