"""EfficientNet-Lite0 with its normalisation folded in (Tan and Le, arXiv 1905.11946).

Owns the network's shape: pooled features of a picture, and the logits of ImageNet's classes.
Padding is TensorFlow's, more below and to the right than above and to the left where a stride
halves the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

N_CLASSES = 1000
N_POOLED = 1280
_STAGES = (
    # repeats, kernel, stride, expansion, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Convolution(nn.Conv2d):
    """A convolution that keeps the size, or halves it."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, groups: int = 1):
        super().__init__(n_in, n_out, kernel, stride=stride, groups=groups)
        total = kernel - stride
        before = total // 2
        self._pad = (before, total - before) * 2
        if 2 * before == total:  # the convolution pads without a copy, to the same bits
            self.padding, self._pad = (before, before), (0, 0, 0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, height, width)."""
        return super().forward(functional.pad(x, self._pad) if any(self._pad) else x)


class Block(nn.Module):
    """Widen, filter each channel, narrow (an inverted residual without squeeze-and-excitation)."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        width = n_in * expansion
        self.expand = None if expansion == 1 else Convolution(n_in, width, 1)
        self.filter = Convolution(width, width, kernel, stride=stride, groups=width)
        self.project = Convolution(width, n_out, 1)
        self._is_residual = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, height, width)."""
        y: Tensor = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.filter(y)))
        return x + y if self._is_residual else y


class PictureNetwork(nn.Module):
    """Features of a picture that was normalised as ImageNet's, and its classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 32, 3, stride=2)
        blocks, n_in = [], 32
        for repeats, kernel, stride, expansion, n_out in _STAGES:
            for k in range(repeats):
                blocks.append(
                    Block(n_in, n_out, kernel, stride=stride if k == 0 else 1, expansion=expansion)
                )
                n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.head = Convolution(n_in, N_POOLED, 1)
        self.classes = nn.Linear(N_POOLED, N_CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (n, 1280) and logits (n, 1000) of pictures (n, 3, height, width)."""
        x = self.blocks(functional.relu6(self.stem(x)))
        pooled: Tensor = torch.mean(functional.relu6(self.head(x)), dim=(2, 3))
        return pooled, self.classes(pooled)
