"""Tokens become pictures: a few-step transformer with its steps.

Owns binding the tokens; the steps are `models.sampling`'s. A picture is that of diffusers' own
pipeline for the same weights, tokens and seed (in the tests, before rounding).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.diffusion_transformers.parts import Parts
from models.sampling import denoisers, solvers
from models.sampling.noise import seeded_noise
from models.sampling.parts import Part
from models.sampling.pictures import to_pixels


class TokenGenerator:
    """A transformer, an autoencoder and a scheduler that belong together.

    Parameters
    ----------
    parts : Parts
    steps : int
    size : int
        Side of a picture, pixels.
    guidance : float
        Where the model is told one.
    device, dtype
        Where and in which precision it draws.

    Raises
    ------
    StableDiffusionError
        The scheduler is set to other steps than are drawn here.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        steps: int,
        size: int,
        guidance: float,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._device = torch.device("cpu") if device is None else device
        family = self._family = parts.family
        for module in (parts.transformer, parts.vae):
            module.to(self._device, dtype)
        self._dtype = dtype
        self._shape = family.latent_shape(parts.transformer, parts.vae, size)
        network = family.network(parts.transformer, guidance=guidance).eval()
        self._transformer = Part(network, "transformer", state=f"guidance {guidance:g}")
        self._decoder = Part(family.decoding(parts.vae).to(self._device).eval(), "decoder")
        n_places = self._shape[1] * self._shape[2]
        self._levels = family.levels(
            parts.scheduler, steps=steps, n_places=n_places, device=self._device
        )
        self._options = {"steps": steps, "guidance": guidance, "size": size}

    @property
    def options(self) -> Mapping[str, int | float]:
        """What acts on its pictures."""
        return self._options

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of."""
        return (self._transformer, self._decoder)

    def draw(self, tokens: Tensor, *, seed: int) -> NDArray[np.uint8]:
        """Draw one picture (height, width, 3) of tokens (n_tokens, width)."""
        return np.asarray(to_pixels(self.images(tokens, seed=seed))[0])

    @torch.inference_mode()
    def images(self, tokens: Tensor, *, seed: int) -> Tensor:
        """Draw one picture as it leaves the decoder: (1, 3, height, width), about -1..1."""
        like = torch.empty(0, device=self._device, dtype=self._dtype)
        given = tokens[None].to(like, non_blocking=True)

        def predict(x: Tensor, time: Tensor) -> Tensor:
            return torch.as_tensor(self._transformer(x, time, given))

        denoise = self._family.adapt(denoisers.in_dtype(predict, self._dtype))
        noise = seeded_noise((seed,), self._shape, like=like)
        latents = solvers.last(self._family.solve(denoise, next(noise), self._levels, noise))
        return torch.as_tensor(self._decoder(latents.to(self._dtype)))
