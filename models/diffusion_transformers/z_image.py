"""Z-Image-Turbo (Tongyi-MAI, arXiv 2511.22699, Apache-2.0): 6 B parameters, eight steps.

It reads the last hidden layer but one of Qwen3-4B, 2560 wide, any number of tokens, and predicts
clean minus noise at the time 1 - sigma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.diffusion_transformers.family import Flow, shifted_levels, usable_steps
from models.sampling.decoding import Decoding
from models.sampling.denoisers import Level


class _Network(nn.Module):
    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        told = ((1000 - time) / 1000).expand(len(x))
        pictures = list(x.unsqueeze(2).unbind(0))
        answers = self.transformer(pictures, told, list(tokens), return_dict=False)[0]
        return -torch.stack(list(answers)).squeeze(2)


class _Decoding(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.decoding = Decoding(vae)
        self._scale, self._shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0

    def forward(self, latents: Tensor) -> Tensor:
        return torch.as_tensor(self.decoding(latents / self._scale + self._shift))


@dataclass(frozen=True, slots=True)
class ZImage(Flow):
    """The family of Z-Image."""

    name: str = "z-image-turbo"
    pipeline: str = "ZImagePipeline"
    classes: tuple[str, str, str] = (
        "ZImageTransformer2DModel",
        "AutoencoderKL",
        "FlowMatchEulerDiscreteScheduler",
    )
    n_steps: int = 8
    guidance: float = 1.0
    multiple: int = 16

    def width(self, transformer: Any) -> int:
        """Features of a token."""
        return int(transformer.config.cap_feat_dim)

    def latent_shape(self, transformer: Any, vae: Any, size: int) -> tuple[int, ...]:
        """An eighth of the picture's side."""
        side = size // 2 ** (len(vae.config.block_out_channels) - 1)
        return int(transformer.config.in_channels), side, side

    def network(self, transformer: Any, *, guidance: float) -> nn.Module:
        """Guided by distillation: it is told no number."""
        del guidance
        return _Network(transformer)

    def levels(self, scheduler: Any, *, steps: int, n_places: int, device: Any) -> list[Level]:
        """Shifted by a constant, or by the picture's size where its scheduler says so."""
        config = scheduler.config
        least, most = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
        # Of 2 x 2 latents a place.
        mu = low + (high - low) / (most - least) * (n_places // 4 - least)
        return shifted_levels(scheduler, steps=usable_steps(steps), mu=mu, device=device)

    def decoding(self, vae: Any) -> nn.Module:
        """Latents have a scale and a shift."""
        return _Decoding(vae)

    def encode(self, vae: Any, images: Tensor) -> Tensor:
        """Mean of the autoencoder's posterior."""
        mean = vae.encode(images).latent_dist.mode()
        return torch.as_tensor(
            (mean - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor
        )
