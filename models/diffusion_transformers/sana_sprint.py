"""SANA-Sprint (NVIDIA, arXiv 2503.09641; 0.6 B and 1.6 B parameters): one to four steps.

A continuous-time consistency model: x = cos t clean + sin t noise. It reads Gemma-2-2B's tokens,
2304 wide, and was trained as a flow, from which its answer is turned. Latents are a thirty-second
of the picture's side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.diffusion_transformers.family import usable_steps
from models.sampling import schedules, solvers
from models.sampling.decoding import Decoding
from models.sampling.denoisers import Denoiser, Level, Network, velocity
from models.stable_diffusion.errors import StableDiffusionError

LAST_TIME, MIDDLE_TIME = 1.57080, 1.3
"""Where it begins, and where the second of two steps does (its authors' choice)."""


class _Network(nn.Module):
    def __init__(self, transformer: Any, guidance: float) -> None:
        super().__init__()
        self.transformer = transformer
        self._guidance = guidance * transformer.config.guidance_embeds_scale

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        time = time.to(torch.float32).expand(len(x))
        told = torch.sin(time) / (torch.cos(time) + torch.sin(time))
        s = told.view(-1, 1, 1, 1)
        norm = torch.sqrt(s**2 + (1 - s) ** 2)
        given = x * norm
        answer = self.transformer(
            given.to(tokens.dtype),
            encoder_hidden_states=tokens,
            encoder_attention_mask=torch.ones(
                tokens.shape[:2], device=tokens.device, dtype=torch.int64
            ),
            guidance=torch.full_like(told, self._guidance).to(tokens.dtype),
            timestep=told,
            return_dict=False,
        )[0]
        return torch.as_tensor(((1 - 2 * s) * given + (1 - 2 * s + 2 * s**2) * answer) / norm)


class _Decoding(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.decoding, self._scale = Decoding(vae), vae.config.scaling_factor

    def forward(self, latents: Tensor) -> Tensor:
        return torch.as_tensor(self.decoding(latents / self._scale))


@dataclass(frozen=True, slots=True)
class SanaSprint:
    """The family of SANA-Sprint."""

    name: str = "sana-sprint"
    pipeline: str = "SanaSprintPipeline"
    classes: tuple[str, str, str] = ("SanaTransformer2DModel", "AutoencoderDC", "SCMScheduler")
    n_steps: int = 2
    guidance: float = 4.5
    multiple: int = 32

    def width(self, transformer: Any) -> int:
        """Features of a token."""
        return int(transformer.config.caption_channels)

    def latent_shape(self, transformer: Any, vae: Any, size: int) -> tuple[int, ...]:
        """A thirty-second of the picture's side."""
        side = size // 2 ** (len(vae.config.encoder_block_out_channels) - 1)
        return int(transformer.config.in_channels), side, side

    def network(self, transformer: Any, *, guidance: float) -> nn.Module:
        """Told the guidance as a number."""
        return _Network(transformer, guidance)

    def levels(self, scheduler: Any, *, steps: int, n_places: int, device: Any) -> list[Level]:
        """Evenly spaced angles; of two steps the second begins where its authors say."""
        del n_places
        usable_steps(steps)
        prediction = scheduler.config.get("prediction_type", "trigflow")
        if prediction != "trigflow":
            raise StableDiffusionError(
                f"the scheduler has prediction_type {prediction!r}, expected 'trigflow'."
            )
        middle = MIDDLE_TIME if steps == 2 else None
        scheduler.set_timesteps(steps, max_timesteps=LAST_TIME, intermediate_timesteps=middle)
        return schedules.angle_levels(scheduler.timesteps, device=device)

    def adapt(self, network: Network) -> Denoiser:
        """It predicts v of a unit variance."""
        return velocity(network)

    def solve(
        self, denoise: Denoiser, x: Tensor, levels: Sequence[Level], noise: Iterator[Tensor]
    ) -> Iterator[Tensor]:
        """A clean estimate, and new noise for the next one."""
        return solvers.consistency(denoise, x, levels, noise)

    def decoding(self, vae: Any) -> nn.Module:
        """Latents have a scale."""
        return _Decoding(vae)

    def encode(self, vae: Any, images: Tensor) -> Tensor:
        """Latents of a deterministic autoencoder."""
        return torch.as_tensor(vae.encode(images).latent * vae.config.scaling_factor)

    def noised(self, clean: Tensor, noise: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """On the circle from clean to noise; v is its tangent."""
        time = at * (math.pi / 2)
        angle = time.view(-1, *(1,) * (clean.ndim - 1))
        cos, sin = torch.cos(angle), torch.sin(angle)
        return cos * clean + sin * noise, time, cos * noise - sin * clean
