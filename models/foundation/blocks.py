"""Transformer layers that two of the published encoders share: a vision transformer's, pre-norm.

Names of parameters are those of timm, as both checkpoints have them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6


class Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values.

    Parameters
    ----------
    width : int
    n_heads : int
    has_bias : bool
        Whether that matrix has a bias.
    has_norm : bool
        Whether queries and keys are normalised in each head.
    """

    def __init__(self, width: int, n_heads: int, *, has_bias: bool, has_norm: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width, bias=has_bias)
        size = width // n_heads
        self.q_norm: nn.Module = nn.LayerNorm(size, eps=EPS) if has_norm else nn.Identity()
        self.k_norm: nn.Module = nn.LayerNorm(size, eps=EPS) if has_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens (n, n_tokens, width)."""
        n, n_tokens, width = tokens.shape
        split = self.qkv(tokens).reshape(n, n_tokens, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = self.q_norm(split[0]), self.k_norm(split[1]), split[2]
        mixed = functional.scaled_dot_product_attention(query, key, value)
        found: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, n_tokens, width))
        return found


class Hidden(nn.Module):
    """The layer between two attentions."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token."""
        found: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return found


class Block(nn.Module):
    """One layer; with `has_scale` (LaBraM) what is added is weighted, and heads are normalised."""

    def __init__(self, width: int, n_heads: int, hidden: int, *, has_scale: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, n_heads, has_bias=not has_scale, has_norm=has_scale)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Hidden(width, hidden)
        self.has_scale = has_scale
        if has_scale:
            self.gamma_1 = nn.Parameter(torch.ones(width))
            self.gamma_2 = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (n, n_tokens, width)."""
        first, second = (self.gamma_1, self.gamma_2) if self.has_scale else (1.0, 1.0)
        tokens = tokens + first * self.attn(self.norm1(tokens))
        found: Tensor = tokens + second * self.mlp(self.norm2(tokens))
        return found
