"""The diffusion prior's network: brain tokens and noisy CLIP tokens in, clean CLIP tokens out.

Owns the transformer that MindEye took from DALL-E 2's open re-implementation: keys and values of
one head for all, compared by their cosine, with rotary positions and a learnt bias by distance.
Knows nothing of schedules, steps or files.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.mindeye import TokenPriorConfig

COSINE_SCALE = 16.0
ROTARY_WIDTH, ROTARY_BASE = 32, 10_000.0
N_BUCKETS, MAX_DISTANCE = 32, 128
FF_RATIO = 4


class Norm(nn.Module):
    """Layer norm without a bias; its room for rounding follows the precision, as published."""

    def __init__(self, width: int, *, is_scaled: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._is_scaled = is_scaled

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis; `is_scaled` divides by its (signed) largest value first."""
        if self._is_scaled:
            x = x / x.amax(dim=-1, keepdim=True).detach()
        eps = 1e-5 if x.dtype == torch.float32 else 1e-3
        return functional.layer_norm(x, x.shape[-1:], self.weight.to(x.dtype), None, eps)


class Attention(nn.Module):
    """Attention of many heads to one head of keys and values, and to a learnt null token."""

    def __init__(self, config: TokenPriorConfig) -> None:
        super().__init__()
        width, inner = config.width, config.num_heads * config.head_dim
        self._heads = config.num_heads
        self.norm = Norm(width)
        self.null_kv = nn.Parameter(torch.randn(2, config.head_dim))
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * config.head_dim, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)
        self.norm_out = Norm(width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Attend within x (n, length, width); `bias` is (heads, length, length + 1)."""
        x = self.norm(x)
        q = self.to_q(x).unflatten(-1, (self._heads, -1)).transpose(1, 2)
        k, v = self.to_kv(x)[:, None].chunk(2, dim=-1)
        q, k = rotate(q), rotate(k)
        null_k, null_v = (each.to(k.dtype).expand(len(x), 1, 1, -1) for each in self.null_kv)
        k, v = torch.cat([null_k, k], dim=2), torch.cat([null_v, v], dim=2)
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        shape = (-1, self._heads, -1, -1)
        out = functional.scaled_dot_product_attention(
            q, k.expand(shape), v.expand(shape), attn_mask=bias.to(q.dtype), scale=COSINE_SCALE
        )
        made: Tensor = self.norm_out(self.to_out(out.transpose(1, 2).flatten(2)))
        return made


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, arXiv 2002.05202)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.proj_in = nn.Linear(width, 2 * FF_RATIO * width, bias=False)
        self.proj_out = nn.Linear(FF_RATIO * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token of x (n, length, width)."""
        value, gate = self.proj_in(self.norm(x)).chunk(2, dim=-1)
        made: Tensor = self.proj_out(value * functional.silu(gate))
        return made


class Layer(nn.Module):
    """Attention, then feed-forward, each added to its input."""

    def __init__(self, config: TokenPriorConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feedforward = FeedForward(config.width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Transform x (n, length, width)."""
        x = self.attention(x, bias) + x
        made: Tensor = self.feedforward(x) + x
        return made


class TokenPrior(nn.Module):
    """The network: predicts the clean tokens, scaled by sqrt(width)."""

    def __init__(self, config: TokenPriorConfig) -> None:
        super().__init__()
        self.config = config
        width, n = config.width, config.n_tokens
        self.positions = nn.Parameter(torch.randn(n, width) * width**-0.5)
        self.null_brain = nn.Parameter(torch.randn(n, width) * width**-0.5)
        self.null_image = nn.Parameter(torch.randn(n, width) * width**-0.5)
        self.time_mlp = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
        )
        self.relative_bias = nn.Embedding(N_BUCKETS, config.num_heads)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm_out = Norm(width, is_scaled=True)
        self.proj_out = nn.Linear(width, width, bias=False)

    @property
    def scale(self) -> float:
        """What CLIP tokens are multiplied by before they are noised."""
        return math.sqrt(self.config.width)

    def forward(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        brain: Tensor,
        *,
        keeps_brain: Tensor | None = None,
        keeps_image: Tensor | None = None,
    ) -> Tensor:
        """Clean tokens (n, n_tokens, width).

        Parameters
        ----------
        noisy, brain : Tensor, shape (n, n_tokens, width)
        timesteps : Tensor, shape (n,) or ()
        keeps_brain, keeps_image : Tensor, shape (n,), bool, optional
            False where learnt tokens stand for the given ones.
        """
        tokens = self.tokens(
            noisy, timesteps, brain, keeps_brain=keeps_brain, keeps_image=keeps_image
        )
        bias = self.bias(tokens.shape[1])
        for layer in self.layers:
            tokens = layer(tokens, bias)
        made: Tensor = self.proj_out(self.norm_out(tokens))
        return made[:, -self.config.n_tokens :]

    def tokens(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        brain: Tensor,
        *,
        keeps_brain: Tensor | None = None,
        keeps_image: Tensor | None = None,
    ) -> Tensor:
        """What the layers read: brain, time and noisy tokens (n, 2 n_tokens + 1, width)."""
        if keeps_brain is not None:
            brain = torch.where(keeps_brain[:, None, None], brain, self.null_brain.to(brain.dtype))
        if keeps_image is not None:
            noisy = torch.where(keeps_image[:, None, None], noisy, self.null_image.to(noisy.dtype))
        time = self.time_token(timesteps.expand(len(noisy)))
        return torch.cat([brain, time.to(noisy.dtype), noisy + self.positions], dim=1)

    def time_token(self, timesteps: Tensor) -> Tensor:
        """Token (n, 1, width) of timesteps (n,)."""
        half = self.config.width // 2
        rate = math.log(10_000) / (half - 1)
        # The code is made in single precision whatever the network's: 99 times a rate in bfloat16
        # is another time.
        angles = timesteps.float()[:, None] * torch.exp(
            -rate * torch.arange(half, device=timesteps.device)
        )
        code = torch.cat([angles.sin(), angles.cos()], dim=-1)
        made: Tensor = self.time_mlp(code.to(self.positions.dtype))
        return made[:, None]

    def bias(self, length: int) -> Tensor:
        """Bias (heads, length, length + 1) by how far a key lies before its query."""
        made: Tensor = self.relative_bias(buckets(length, device=self.positions.device))
        return made.permute(2, 0, 1)


def buckets(length: int, *, device: torch.device) -> Tensor:
    """Bucket (length, length + 1) of each distance: exact up to 15, then ever wider (T5's)."""
    back = torch.arange(length, device=device)[:, None] - torch.arange(length + 1, device=device)
    back = back.clamp(min=0)
    exact = N_BUCKETS // 2
    part = torch.log(back.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact)
    far = exact + (part * (N_BUCKETS - exact)).long()
    return torch.where(back < exact, back, far.clamp(max=N_BUCKETS - 1))


def rotate(x: Tensor) -> Tensor:
    """Turn pairs of the first 32 numbers of x (..., length, width) by their place.

    Su et al., arXiv 2104.09864, eq. 34.
    """
    width = min(ROTARY_WIDTH, x.shape[-1])
    rates = ROTARY_BASE ** (-torch.arange(0, width, 2, device=x.device) / width)
    places = torch.arange(x.shape[-2], device=x.device)
    angles = (places[:, None] * rates).repeat_interleave(2, dim=-1)
    turned, rest = x[..., :width], x[..., width:]
    even, odd = turned[..., ::2], turned[..., 1::2]
    crossed = torch.stack([-odd, even], dim=-1).flatten(-2)
    turned = turned * angles.cos() + crossed * angles.sin()
    return torch.cat([turned.to(x.dtype), rest], dim=-1)
