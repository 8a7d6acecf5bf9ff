"""The last network of a latent diffusion model: diffusers' autoencoder, from latents to a picture.

Owns its decoder as a module of its own, which back-ends can take the place of, and decoding in
tiles. Knows no back-end and no system.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_ENCODING = ("encoder", "quant_conv", "bn")
"""Parts of an autoencoder that decoding has no use for."""


class Decoding(nn.Module):
    """`autoencoder.decode` as a module, with the weights that it uses and no others."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self._autoencoder = (autoencoder,)  # in a tuple, or its encoder would be a part of this
        for name, module in autoencoder.named_children():
            if name not in _ENCODING:
                self.add_module(name, module)

    def forward(self, latents: Tensor) -> Tensor:
        """Images (n, 3, height, width), about -1..1, of latents on the autoencoder's own scale."""
        (autoencoder,) = self._autoencoder
        return torch.as_tensor(autoencoder.decode(latents, return_dict=False)[0])


def has_tiles(autoencoder: Any) -> bool:
    """Whether an autoencoder can decode in tiles."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    return isinstance(autoencoder, AutoencoderKL | AutoencoderTiny)


def use_tiles(autoencoder: Any, *, side: int = 0) -> None:
    """Decode in tiles from now on, where the autoencoder can: the memory of one, and seams.

    Parameters
    ----------
    side : int
        Of a tile, pixels; 0: as the autoencoder was made, which may be as large as the picture.
    """
    if not has_tiles(autoencoder):
        return
    if side:
        latent = autoencoder.tile_latent_min_size
        factor = autoencoder.tile_sample_min_size // max(1, latent)
        autoencoder.tile_latent_min_size = max(1, side // factor)
        autoencoder.tile_sample_min_size = factor * autoencoder.tile_latent_min_size
    autoencoder.enable_tiling()
