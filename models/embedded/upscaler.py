"""Twice the pixels of a picture that the generator drew: a small network that adds to bicubic.

Owns the network alone; `sampler` says when it runs, `research.embedded.train_upscaler` trained it
on what the shipped decoder gives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

FACTOR = 2
_FOLD = 2
"""Pixels on a side that become channels: half the width costs a quarter of the convolutions."""


@dataclass(frozen=True, slots=True)
class UpscalerConfig:
    """Sizes of the network."""

    width: int = 48
    n_blocks: int = 4


class Upscaler(nn.Module):
    """Pictures (n, 3, height, width), about -1..1, to (n, 3, 2 height, 2 width).

    Parameters
    ----------
    config : UpscalerConfig
    """

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config = config
        self.conv_in = nn.Conv2d(3 * _FOLD**2, config.width, 3, padding=1)
        self.blocks = nn.Sequential(*(_ResBlock(config.width) for _ in range(config.n_blocks)))
        self.conv_out = nn.Conv2d(config.width, 3 * (_FOLD * FACTOR) ** 2, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Upscale."""
        x = self.conv_in(functional.pixel_unshuffle(pictures, _FOLD))
        fine = functional.pixel_shuffle(self.conv_out(self.blocks(x)), _FOLD * FACTOR)
        return fine + bicubic(pictures)

    def settings(self) -> dict[str, int]:
        """What `UpscalerConfig` takes."""
        return asdict(self.config)


class _ResBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(x + self.conv2(functional.silu(self.conv1(x))))


def bicubic(pictures: Tensor) -> Tensor:
    """Pictures (n, 3, height, width) with twice the pixels, by bicubic interpolation."""
    return functional.interpolate(pictures, scale_factor=FACTOR, mode="bicubic")
