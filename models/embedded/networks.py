"""The generator's other networks in plain torch: the autoencoder's two, projection, prior.

Owns the layers, named and computed as diffusers' `AutoencoderDC`, `ImageProjection` and
`PixArtAlphaTextProjection`, of which they are the parts that draw; `unet` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.embedded.unet import require

_FACTOR = 2
_FIXED: Mapping[str, Any] = {
    "decoder_act_fns": "silu",
    "decoder_block_types": "ResBlock",
    "decoder_conv_act_fn": "relu",
    "decoder_in_shortcut": False,
    "decoder_norm_types": "rms_norm",
    "in_channels": 3,
    "upsample_block_type": "pixel_shuffle",
}
"""What a file of settings may say beside `AutoencoderConfig`'s fields, and only so."""
_FIXED_ENCODER: Mapping[str, Any] = {
    "downsample_block_type": "pixel_unshuffle",
    "encoder_block_types": "ResBlock",
    "encoder_out_shortcut": False,
}
"""The same of what encodes."""


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Sizes of what decodes and encodes, by diffusers' names."""

    latent_channels: int
    decoder_block_out_channels: tuple[int, ...]
    decoder_layers_per_block: tuple[int, ...]
    encoder_block_out_channels: tuple[int, ...] = ()
    encoder_layers_per_block: tuple[int, ...] = ()
    scaling_factor: float = 1.0

    @classmethod
    def of(cls, table: Mapping[str, Any], *, encodes: bool = False) -> AutoencoderConfig:
        """Read diffusers' table of settings, of what decodes, or of what encodes as well.

        Raises
        ------
        ValueError
            It asks for what this network has not.
        """
        require(table, {**_FIXED, **(_FIXED_ENCODER if encodes else {})})
        layers = tuple(table["decoder_layers_per_block"])
        if layers[0] != 0 or 0 in layers[1:]:
            raise ValueError(f"decoder_layers_per_block is {layers}, expected 0 and then none of 0")
        return cls(
            latent_channels=table["latent_channels"],
            decoder_block_out_channels=tuple(table["decoder_block_out_channels"]),
            decoder_layers_per_block=layers,
            encoder_block_out_channels=tuple(table.get("encoder_block_out_channels", ())),
            encoder_layers_per_block=tuple(table.get("encoder_layers_per_block", ())),
            scaling_factor=table.get("scaling_factor", 1.0),
        )


class Autoencoder(nn.Module):
    """What decodes of a deep-compression autoencoder (arXiv 2410.10733)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.spatial_compression_ratio = _FACTOR ** (len(config.decoder_block_out_channels) - 1)
        self.decoder = Decoder(config)


class Decoder(nn.Module):
    """Latents (n, latent_channels, height, width) to images (n, 3, ...), about -1..1."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths, layers = config.decoder_block_out_channels, config.decoder_layers_per_block
        self.conv_in = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
        self.up_blocks = nn.ModuleList()
        for i, (width, n_layers) in enumerate(zip(widths, layers, strict=True)):
            blocks: list[nn.Module] = [_ResBlock(width) for _ in range(n_layers)]
            if n_layers and i < len(widths) - 1:
                blocks.insert(0, _Upsample(widths[i + 1], width, shortcut=True))
            self.up_blocks.append(nn.Sequential(*blocks))
        self.norm_out = _RMSNorm(widths[1])
        self.conv_out = _Upsample(widths[1], 3, shortcut=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Decode."""
        x = self.conv_in(hidden_states)
        for block in reversed(self.up_blocks):
            x = block(x)
        x = self.norm_out(x.movedim(1, -1)).movedim(-1, 1)
        return cast("Tensor", self.conv_out(functional.relu(x)))


class Encoder(nn.Module):
    """Images (n, 3, height, width) in -1..1 to latents, not scaled."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths, layers = config.encoder_block_out_channels, config.encoder_layers_per_block
        self.conv_in = _Downsample(3, widths[1], shortcut=False)
        self.down_blocks = nn.ModuleList()
        for i, (width, n_layers) in enumerate(zip(widths, layers, strict=True)):
            blocks: list[nn.Module] = [_ResBlock(width) for _ in range(n_layers)]
            if n_layers and i < len(widths) - 1:
                blocks.append(_Downsample(width, widths[i + 1], shortcut=True))
            self.down_blocks.append(nn.Sequential(*blocks))
        self.conv_out = nn.Conv2d(widths[-1], config.latent_channels, 3, padding=1)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Encode."""
        x = self.conv_in(hidden_states)
        for block in self.down_blocks:
            x = block(x)
        return cast("Tensor", self.conv_out(x))


class _RMSNorm(nn.Module):
    """Over the last axis; its mean in float32 whatever the precision."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + 1e-5)
        if self.weight.dtype in (torch.float16, torch.bfloat16):
            x = x.to(self.weight.dtype)
        return x * self.weight + self.bias


class _ResBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = _RMSNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(functional.silu(self.conv1(x)))
        return cast("Tensor", self.norm(h.movedim(1, -1)).movedim(-1, 1) + x)


class _Upsample(nn.Module):
    def __init__(self, n_in: int, n_out: int, *, shortcut: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out * _FACTOR**2, 3, padding=1)
        self._repeats = n_out * _FACTOR**2 // n_in if shortcut else 0

    def forward(self, x: Tensor) -> Tensor:
        made = functional.pixel_shuffle(self.conv(x), _FACTOR)
        if not self._repeats:
            return made
        size = x.shape[1] * self._repeats
        repeated = x.repeat_interleave(self._repeats, dim=1, output_size=size)
        return made + functional.pixel_shuffle(repeated, _FACTOR)


class _Downsample(nn.Module):
    def __init__(self, n_in: int, n_out: int, *, shortcut: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out // _FACTOR**2, 3, padding=1)
        self._group = n_in * _FACTOR**2 // n_out if shortcut else 0

    def forward(self, x: Tensor) -> Tensor:
        made = functional.pixel_unshuffle(self.conv(x), _FACTOR)
        if not self._group:
            return made
        folded = functional.pixel_unshuffle(x, _FACTOR)
        n, width, *size = folded.shape
        grouped = folded.reshape(n, width // self._group, self._group, *size)
        return made + grouped.mean(dim=2)


class Projection(nn.Module):
    """Embedding (n, n_features) to tokens (n, n_tokens, cross_attention_dim)."""

    def __init__(
        self, *, image_embed_dim: int, cross_attention_dim: int, num_image_text_embeds: int
    ) -> None:
        super().__init__()
        self.n_tokens = num_image_text_embeds
        self.image_embeds = nn.Linear(image_embed_dim, num_image_text_embeds * cross_attention_dim)
        self.norm = nn.LayerNorm(cross_attention_dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project."""
        tokens = self.image_embeds(vectors.to(self.image_embeds.weight.dtype))
        return cast("Tensor", self.norm(tokens.reshape(len(vectors), self.n_tokens, -1)))


class Prior(nn.Module):
    """Embedding (n, n_features) to a guess of its latents, flat: what it may mean, averaged."""

    def __init__(self, *, in_features: int, hidden_size: int, out_features: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_features, hidden_size)
        self.linear_2 = nn.Linear(hidden_size, out_features)

    def forward(self, vectors: Tensor) -> Tensor:
        """Guess."""
        hidden = functional.gelu(self.linear_1(vectors), approximate="tanh")
        return cast("Tensor", self.linear_2(hidden))
