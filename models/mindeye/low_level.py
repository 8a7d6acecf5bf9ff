"""From voxels to a Stable Diffusion latent: the blurry picture that generation begins from.

Owns the network of MindEye's low-level pipeline (arXiv 2305.18274, section 2.4) around diffusers'
decoder. Knows nothing of losses or files.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from diffusers.models.autoencoders.vae import Decoder
from torch import Tensor, nn

from configs.mindeye import LowLevelConfig

FIRST_DROPOUT, DROPOUT = 0.5, 0.25
LATENT_CHANNELS = 4


class LowLevel(NamedTuple):
    """What voxels become.

    Attributes
    ----------
    latents : Tensor, shape (n, 4, 4 side, 4 side)
        On the scale of the diffusion model.
    maps : Tensor, shape (n, side ** 2, n_maps)
        Compared with an image network's.
    """

    latents: Tensor
    maps: Tensor


class LowLevelNetwork(nn.Module):
    """Voxels (n, n_voxels) to a latent."""

    def __init__(self, config: LowLevelConfig) -> None:
        super().__init__()
        self.config = config
        first, hidden = config.widths[0], config.hidden
        self.lin0 = _layer(config.n_voxels, hidden, dropout=FIRST_DROPOUT)
        self.mlp = nn.ModuleList(
            _layer(hidden, hidden, dropout=DROPOUT) for _ in range(config.n_blocks)
        )
        self.lin1 = nn.Linear(hidden, first * config.side**2, bias=False)
        self.norm = nn.GroupNorm(1, first)
        self.upsampler: Any = Decoder(
            in_channels=first,
            out_channels=LATENT_CHANNELS,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=config.widths,
            layers_per_block=1,
        )
        self.maps_projector = _projector(first, config.maps) if config.maps else None

    def forward(self, voxels: Tensor) -> LowLevel:
        """Return latents, and maps to compare."""
        x = self.lin0(voxels)
        for block in self.mlp:
            x = block(x) + x
        side = self.config.side
        x = self.norm(self.lin1(x).unflatten(1, (self.config.widths[0], side, side)))
        maps = x if self.maps_projector is None else self.maps_projector(x)
        return LowLevel(self.upsampler(x), maps.flatten(2).transpose(1, 2))


def _layer(n_features: int, hidden: int, *, dropout: float) -> nn.Sequential:
    linear = nn.Linear(n_features, hidden, bias=False)
    return nn.Sequential(linear, nn.LayerNorm(hidden), nn.SiLU(), nn.Dropout(dropout))


def _projector(n_channels: int, n_maps: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for given in (n_channels, n_maps):
        parts += [nn.Conv2d(given, n_maps, 1, bias=False), nn.GroupNorm(1, n_maps), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(n_maps, n_maps, 1))
