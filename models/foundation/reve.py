"""REVE (El Ouahidi et al., NeurIPS 2025): any electrodes, told by where they are on the head.

Read in the layout of braindecode's class, which its authors wrote and load their own checkpoints
with (huggingface.co/brain-bzh/reve-base, after agreeing to their terms). Where electrodes are is
its authors' table (huggingface.co/brain-bzh/reve-positions, `positions.json`), kept with the
weights: names, and three numbers each in the units that it was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoints import shape_of
from models.foundation.network import EegNetwork, n_layers, renamed

POSITIONS, SITE_NAMES = "positions", "site_names"
"""Tensors of the table: where (n, 3), and the names, UTF-8 lines as bytes."""
_RULES = {
    POSITIONS: POSITIONS,
    SITE_NAMES: SITE_NAMES,
    r"to_patch_embedding\.0\.(\w+)": r"to_patch_embedding.\1",
    r"mlp4d\.0\.weight": "mlp4d.0.weight",
    r"mlp4d\.2\.(\w+)": r"mlp4d.2.\1",
    r"ln\.(\w+)": r"ln.\1",
    r"transformer\.layers\.(\d+)\.0\.(norm|to_qkv|to_out)\.weight": r"blocks.\1.\2.weight",
    r"transformer\.layers\.(\d+)\.1\.net\.0\.weight": r"blocks.\1.norm2.weight",
    r"transformer\.layers\.(\d+)\.1\.net\.1\.weight": r"blocks.\1.inner.weight",
    r"transformer\.layers\.(\d+)\.1\.net\.3\.weight": r"blocks.\1.outer.weight",
}
HEAD = 64
"""Numbers a head."""
OVERLAP = 20
"""Samples that a patch shares with the next."""
MARGIN, MOMENT = 0.4, 0.1
"""What is added to a position, and how far apart two patches are in time, in its units."""
LIMIT = 15.0
"""Standard deviations at which data are cut off."""


class _Layer(nn.Module):
    """Attention and a gated layer, each behind a root mean square."""

    def __init__(self, width: int, inner: int, hidden: int) -> None:
        super().__init__()
        self.n_heads = max(1, inner // HEAD)
        self.norm, self.norm2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.to_qkv = nn.Linear(width, 3 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)
        self.inner = nn.Linear(width, 2 * hidden, bias=False)
        self.outer = nn.Linear(hidden, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (n, n_tokens, width)."""
        n, n_tokens, _ = tokens.shape
        query, key, value = (
            each.reshape(n, n_tokens, self.n_heads, -1).transpose(1, 2)
            for each in self.to_qkv(self.norm(tokens)).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.to_out(mixed.transpose(1, 2).reshape(n, n_tokens, -1))
        values, gates = self.inner(self.norm2(tokens)).chunk(2, dim=-1)
        found: Tensor = tokens + self.outer(functional.gelu(gates) * values)
        return found


class Reve(EegNetwork):
    """The encoder, without its head and without what pools for one."""

    title: ClassVar[str] = "REVE"
    sfreq: ClassVar[float] = 200.0
    positions: Tensor
    site_names: Tensor

    def __init__(
        self, *, patch: int, width: int, n_blocks: int, inner: int, hidden: int, names: Tensor
    ) -> None:
        super().__init__()
        self.patch, self.step, self.width = patch, patch - OVERLAP, width
        self.register_buffer(SITE_NAMES, names)
        self.sites = tuple(bytes(names.tolist()).decode().split("\n"))
        self.register_buffer(POSITIONS, torch.zeros(len(self.sites), 3))
        self.to_patch_embedding = nn.Linear(patch, width)
        self.mlp4d = nn.Sequential(nn.Linear(4, width, bias=False), nn.GELU(), nn.LayerNorm(width))
        self.ln = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_Layer(width, inner, hidden) for _ in range(n_blocks))

    @classmethod
    def build(cls, state: Mapping[str, Tensor]) -> Self:
        """See the base class."""
        width, patch = shape_of(state, "to_patch_embedding.weight", "width, patch")
        if state[SITE_NAMES].dtype != torch.uint8 or patch <= OVERLAP or width % 2:
            raise ValueError(f"patches of {patch} in width {width}, names {SITE_NAMES}")
        return cls(
            patch=patch,
            width=width,
            n_blocks=n_layers(state, "blocks."),
            inner=state["blocks.0.to_out.weight"].shape[1],
            hidden=state["blocks.0.outer.weight"].shape[1],
            names=state[SITE_NAMES],
        )

    @classmethod
    def rename(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the base class."""
        return renamed(state, _RULES, wanted="to_patch_embedding.weight")

    def scaled(self, data: Tensor) -> Tensor:
        """Standardised over the window's channels together, and cut off far out."""
        size = data.std(dim=(1, 2), keepdim=True, correction=0).clamp_min(1e-6)
        return (data / size).clamp(-LIMIT, LIMIT)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """See the base class."""
        n, n_channels, n_patches, _ = patches.shape
        where = self.positions[places].repeat_interleave(n_patches, dim=0)
        moment = torch.arange(n_patches).to(patches).repeat(n_channels)[:, None]
        place = self.ln(
            _fourier(torch.cat([where, MOMENT * moment], dim=1), self.width)
            + self.mlp4d(torch.cat([where, moment], dim=1))
        )
        found: Tensor = self.to_patch_embedding(patches).reshape(n, -1, self.width) + place
        for block in self.blocks:
            found = block(found)
        return found


def _fourier(positions: Tensor, width: int) -> Tensor:
    """Cosines and sines of positions (n, 4) over all whole frequencies, (n, width)."""
    half = width // 2
    n = math.ceil(half**0.25 - 1e-9)
    rates = 2 * math.pi / (1 + 2 * MARGIN) * torch.arange(n).to(positions)
    grid = torch.cartesian_prod(rates, rates, rates, rates).reshape(-1, 4)
    angles = ((positions + MARGIN) @ grid.T)[:, :half]
    return torch.cat([angles.cos(), angles.sin()], dim=1)
