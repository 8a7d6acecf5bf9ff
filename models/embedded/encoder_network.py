"""The encoder's network: virtual electrodes over time to a vector in the gallery's space.

Owns the torch module and nothing else: no files, no epochs, no training. A montage speaks through
its `conditions` (what it covers, how loud it is): they choose the mixture of spatial filters and
scale the features, so that one network serves any montage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of the network."""

    n_virtual: int = 64
    n_times: int = 126
    n_conditions: int = 66
    n_experts: int = 6
    n_spatial: int = 64
    width: int = 96
    n_blocks: int = 3
    n_linear: int = 48
    n_features: int = 64
    dropout: float = 0.1


class _Block(nn.Module):
    """Residual temporal convolution, scaled and shifted by the montage's code."""

    def __init__(self, width: int, n_code: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.conv = nn.Conv1d(width, width, 5, padding=2)
        self.modulation = nn.Linear(n_code, 2 * width)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.modulation(code)[:, :, None].chunk(2, dim=1)
        hidden = F.gelu(self.norm(x) * (1 + scale) + shift)
        return x + self.dropout(self.conv(hidden))


class EncoderNetwork(nn.Module):
    """Maps (batch, n_virtual, n_times) and conditions to (batch, n_features)."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        c = self.config
        n_code = 64
        self.code = nn.Sequential(
            nn.Linear(c.n_conditions, n_code), nn.GELU(), nn.Linear(n_code, n_code), nn.GELU()
        )
        self.choose = nn.Linear(n_code, c.n_experts)
        self.experts = nn.Parameter(
            torch.randn(c.n_experts, c.n_spatial, c.n_virtual) / c.n_virtual**0.5
        )
        self.stem = nn.Conv1d(c.n_spatial, c.width, 7, stride=2, padding=3)
        self.blocks = nn.ModuleList(_Block(c.width, n_code, c.dropout) for _ in range(c.n_blocks))
        self.shrink = nn.Conv1d(c.width, c.n_linear, 5, stride=2, padding=2)
        n_late = (c.n_times // 2 + 1) // 2
        self.norm = nn.LayerNorm(c.n_linear * n_late)
        self.deep = nn.Sequential(
            nn.Linear(c.n_linear * n_late, 256),
            nn.GELU(),
            nn.Dropout(c.dropout),
            nn.Linear(256, c.n_features),
        )
        self.straight = nn.Linear(c.n_spatial * (c.n_times // 2), c.n_features)
        nn.init.normal_(self.straight.weight, std=0.002)
        self.gate = nn.Linear(n_code, 2 * c.n_features)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.rebuild = nn.ConvTranspose1d(c.width, c.n_virtual, 4, stride=2, padding=1)

    def spatial(self, x: Tensor, code: Tensor) -> Tensor:
        """Apply the montage's mixture of spatial filters: (batch, n_spatial, n_times)."""
        mixture = torch.softmax(self.choose(code), dim=1)
        if bool((mixture == mixture[:1]).all()):
            filters = torch.einsum("e,esv->sv", mixture[0], self.experts)
            return filters @ x
        filters = torch.einsum("be,esv->bsv", mixture, self.experts)
        return torch.bmm(filters, x)

    def trunk(self, sensors: Tensor, code: Tensor) -> Tensor:
        """Give temporal features: (batch, width, n_times / 2)."""
        hidden = self.stem(sensors)
        for block in self.blocks:
            hidden = block(hidden, code)
        return hidden

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Embed: (batch, n_virtual, n_times), (batch, n_conditions) to (batch, n_features)."""
        code = self.code(conditions)
        sensors = self.spatial(x, code)
        late = self.shrink(F.gelu(self.trunk(sensors, code)))
        scale_deep, scale_straight = self.gate(code).chunk(2, dim=1)
        deep = self.deep(self.norm(late.flatten(1)))
        straight = self.straight(F.avg_pool1d(sensors, 2).flatten(1))
        return deep * (1 + scale_deep) + straight * (1 + scale_straight)

    def reconstruct(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Rebuild the virtual electrodes from a masked input (pretraining)."""
        code = self.code(conditions)
        rebuilt: Tensor = self.rebuild(self.trunk(self.spatial(x, code), code))
        return rebuilt
