"""FLUX.2-klein-4B (Black Forest Labs, Apache-2.0): four steps, distilled guidance.

It reads three hidden layers of Qwen3-4B side by side, 7680 wide. Latents are patches of 2 x 2,
normalised by the autoencoder's own batch statistics, and enter as a row of places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.diffusion_transformers.family import Flow, shifted_levels, usable_steps
from models.sampling.decoding import Decoding
from models.sampling.denoisers import Level

_SWITCH = 4300
"""Places above which the shift no longer depends on the number of steps."""


class _Network(nn.Module):
    def __init__(self, transformer: Any, guidance: float) -> None:
        super().__init__()
        self.transformer, self._guidance = transformer, guidance

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        n, _, height, width = x.shape
        told = (time / 1000).to(x.dtype).expand(n)
        takes = self.transformer.config.guidance_embeds
        answer = self.transformer(
            hidden_states=x.flatten(2).transpose(1, 2),
            timestep=told,
            guidance=torch.full_like(told, self._guidance) if takes else None,
            encoder_hidden_states=tokens,
            txt_ids=_row(tokens),
            img_ids=_places(x),
            return_dict=False,
        )[0]
        return torch.as_tensor(answer).transpose(1, 2).reshape(n, -1, height, width)


def _row(tokens: Tensor) -> Tensor:
    """Coordinates (n, n_tokens, 4) of text: the last one counts."""
    ids = torch.zeros(*tokens.shape[:2], 4, device=tokens.device, dtype=torch.int64)
    ids[..., 3] = torch.arange(tokens.shape[1], device=tokens.device)
    return ids


def _places(x: Tensor) -> Tensor:
    """Coordinates (n, height * width, 4) of a picture: row and column are the middle ones."""
    n, _, height, width = x.shape
    rows = torch.arange(height, device=x.device).repeat_interleave(width)
    columns = torch.arange(width, device=x.device).repeat(height)
    zero = torch.zeros_like(rows)
    return torch.stack([zero, rows, columns, zero], dim=-1).expand(n, -1, -1)


class _Decoding(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.decoding = Decoding(vae)
        mean, std = _statistics(vae)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, latents: Tensor) -> Tensor:
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return torch.as_tensor(self.decoding(unpatched(latents * std + mean)))


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    mean = vae.bn.running_mean.view(1, -1, 1, 1)
    std = (vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).sqrt()
    return mean, std


def patched(latents: Tensor) -> Tensor:
    """2 x 2 neighbours become channels: (n, c, h, w) to (n, 4 c, h / 2, w / 2)."""
    return nn.functional.pixel_unshuffle(latents, 2)


def unpatched(latents: Tensor) -> Tensor:
    """Turn `patched` back."""
    return nn.functional.pixel_shuffle(latents, 2)


@dataclass(frozen=True, slots=True)
class Flux2Klein(Flow):
    """The family of FLUX.2-klein."""

    name: str = "flux2-klein"
    pipeline: str = "Flux2KleinPipeline"
    classes: tuple[str, str, str] = (
        "Flux2Transformer2DModel",
        "AutoencoderKLFlux2",
        "FlowMatchEulerDiscreteScheduler",
    )
    n_steps: int = 4
    guidance: float = 1.0
    multiple: int = 16

    def width(self, transformer: Any) -> int:
        """Features of a token."""
        return int(transformer.config.joint_attention_dim)

    def latent_shape(self, transformer: Any, vae: Any, size: int) -> tuple[int, ...]:
        """A sixteenth of the picture's side, after 2 x 2 became channels."""
        side = size // 2 ** len(vae.config.block_out_channels)
        return int(transformer.config.in_channels), side, side

    def network(self, transformer: Any, *, guidance: float) -> nn.Module:
        """Told the guidance where it was made to be."""
        return _Network(transformer, guidance)

    def levels(self, scheduler: Any, *, steps: int, n_places: int, device: Any) -> list[Level]:
        """Shifted by the picture's size and the number of steps, as its authors fitted it."""
        large = 0.00016927 * n_places + 0.45666666  # of 200 steps
        small = 8.73809524e-05 * n_places + 1.89833333  # of 10
        slope = (large - small) / 190.0
        mu = large if n_places > _SWITCH else slope * steps + large - 200.0 * slope
        return shifted_levels(scheduler, steps=usable_steps(steps), mu=mu, device=device)

    def decoding(self, vae: Any) -> nn.Module:
        """Un-normalises and un-patches first."""
        return _Decoding(vae)

    def encode(self, vae: Any, images: Tensor) -> Tensor:
        """Mean of the autoencoder's posterior, patched and normalised."""
        mean, std = _statistics(vae)
        return (patched(vae.encode(images).latent_dist.mode()) - mean) / std
