"""The generator's U-Net in plain torch: the part of diffusers' `UNet2DConditionModel` it needs.

Owns the layers, named and computed as diffusers does, so that its files load and every bit is the
same (`tests/models/test_embedded_networks.py` holds both side by side). Why a second time:
importing diffusers' class costs more than three times as long as importing torch, at every start
of a decoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_CROSS = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D")
_BLOCKS = (*_CROSS, "DownBlock2D", "UpBlock2D")
_FIXED: Mapping[str, Any] = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "center_input_sample": False,
    "class_embed_type": "simple_projection",
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_attention_heads": None,
    "only_cross_attention": False,
    "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional",
    "transformer_layers_per_block": 1,
    "use_linear_projection": False,
}
"""What a file of settings may say beside `UNetConfig`'s fields, and only so."""
_TRANSFORMER_EPS = 1e-6
Pair = tuple[Tensor, Tensor]
"""Keys and values of an attention, each (n, n_tokens, width)."""


def require(table: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuse a table of settings that has something else than `fixed` where it names it.

    Raises
    ------
    ValueError
        It has.
    """
    for name, value in fixed.items():
        if table.get(name, value) != value:
            raise ValueError(f"{name} is {table[name]!r}, expected {value!r}")


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Sizes, by diffusers' names; `attention_head_dim` counts heads, as it does there."""

    sample_size: int
    in_channels: int
    out_channels: int
    down_block_types: tuple[str, ...]
    up_block_types: tuple[str, ...]
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    cross_attention_dim: int
    attention_head_dim: int
    norm_num_groups: int
    projection_class_embeddings_input_dim: int
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> UNetConfig:
        """Read diffusers' table of settings.

        Raises
        ------
        ValueError
            It asks for what this network has not.
        """
        require(table, _FIXED)
        for name in ("down_block_types", "up_block_types"):
            unknown = set(table[name]) - set(_BLOCKS)
            if unknown:
                raise ValueError(f"{name} has {sorted(unknown)}, expected {', '.join(_BLOCKS)}")
        named = {each.name: table[each.name] for each in fields(cls) if each.name in table}
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in named.items()
        }
        return cls(**given)


class UNet(nn.Module):
    """(sample, time, tokens, class labels) to a prediction of the sample's shape."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.block_out_channels
        n_time = 4 * widths[0]
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = _TimeEmbedding(widths[0], n_time)
        self.class_embedding = nn.Linear(config.projection_class_embeddings_input_dim, n_time)
        skips, width = [widths[0]], widths[0]
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for i, out in enumerate(widths):
            sizes = [(width if j == 0 else out, out) for j in range(config.layers_per_block)]
            is_last = i == len(widths) - 1
            has_attention = config.down_block_types[i] in _CROSS
            below = None if is_last else _Downsample(out)
            self.down_blocks.append(_Down(config, sizes, has_attention, sampler=below))
            skips += [out] * (len(sizes) + (not is_last))
            width = out
        self.mid_block = _Middle(config, width)
        for i, out in enumerate(reversed(widths)):
            sizes = []
            for _ in range(config.layers_per_block + 1):
                sizes.append((width + skips.pop(), out))
                width = out
            has_attention = config.up_block_types[i] in _CROSS
            above = None if i == len(widths) - 1 else _Upsample(out)
            self.up_blocks.append(_Up(config, sizes, has_attention, sampler=above))
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, width, config.norm_eps)
        self.conv_out = nn.Conv2d(width, config.out_channels, 3, padding=1)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        class_labels: Tensor,
        return_dict: bool = False,  # noqa: ARG002 - as diffusers' class is called
    ) -> tuple[Tensor]:
        """Predict; signature and result are diffusers' with `return_dict=False`.

        Parameters
        ----------
        sample : Tensor, shape (n, in_channels, height, width)
        timestep : Tensor, shape () or (n,)
        encoder_hidden_states : Tensor, shape (n, n_tokens, cross_attention_dim)
        class_labels : Tensor, shape (n, projection_class_embeddings_input_dim)
        """
        changes = self.changes(timestep, class_labels)
        return (self.predict(sample, changes, self.contexts(encoder_hidden_states)),)

    @property
    def resnets(self) -> list[_Resnet]:
        """The residual blocks, in the order in which they work."""
        return [cast("_Resnet", each) for stage in self._stages for each in stage.resnets]

    @property
    def attentions(self) -> list[_Transformer]:
        """What looks at tokens, in the order in which it works."""
        return [cast("_Transformer", each) for stage in self._stages for each in stage.attentions]

    @property
    def _stages(self) -> tuple[_Stage | _Middle, ...]:
        stages = (*self.down_blocks, self.mid_block, *self.up_blocks)
        return cast("tuple[_Stage | _Middle, ...]", stages)

    def embedded(self, times: Tensor, class_labels: Tensor) -> Tensor:
        """What changes all residual blocks, of noise levels (n,) and labels (n or 1, n_labels)."""
        time = _sinusoids(times, self.conv_in.out_channels).to(class_labels.dtype)
        time = self.time_embedding(time)
        return functional.silu(time + self.class_embedding(class_labels))

    def changes(self, timestep: Tensor, class_labels: Tensor) -> list[Tensor]:
        """What a noise level () or (n,) and labels change in each residual block, each (n, ...)."""
        emb = self.embedded(timestep.reshape(-1).expand(len(class_labels)), class_labels)
        return [each.time_emb_proj(emb) for each in self.resnets]

    @property
    def mixes(self) -> list[_Attention]:
        """What mixes tokens in, in the order in which it works."""
        blocks = [cast("_TransformerBlock", each.transformer_blocks[0]) for each in self.attentions]
        return [each.attn2 for each in blocks]

    def contexts(self, tokens: Tensor) -> list[Pair]:
        """Keys and values of tokens (n, n_tokens, width) in each attention, shaped alike."""
        return [(each.to_k(tokens), each.to_v(tokens)) for each in self.mixes]

    def predict(self, sample: Tensor, changes: Sequence[Any], contexts: Sequence[Pair]) -> Tensor:
        """Predict from what `changes` and `contexts` gave."""
        times, tokens = iter(changes), iter(contexts)
        x = self.conv_in(sample)
        skips: list[Tensor] = [x]
        for down in self.down_blocks:
            x = down(x, times, tokens, skips)
        x = self.mid_block(x, times, tokens)
        for up in self.up_blocks:
            x = up(x, times, tokens, skips)
        return cast("Tensor", self.conv_out(functional.silu(self.conv_norm_out(x))))


def _sinusoids(times: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of `times` (n,) at `width / 2` frequencies from 1 to 1/10000."""
    half = width // 2
    exponent = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=times.device)
    angles = times[:, None].float() * torch.exp(exponent / half)[None]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class _TimeEmbedding(nn.Module):
    def __init__(self, width: int, n_time: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(width, n_time), nn.Linear(n_time, n_time)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.linear_2(functional.silu(self.linear_1(x))))


class _Resnet(nn.Module):
    def __init__(self, config: UNetConfig, n_in: int, n_out: int) -> None:
        super().__init__()
        groups, eps = config.norm_num_groups, config.norm_eps
        self._shifts_scale = config.resnet_time_scale_shift == "scale_shift"
        self.norm1, self.norm2 = nn.GroupNorm(groups, n_in, eps), nn.GroupNorm(groups, n_out, eps)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        n_time = 4 * config.block_out_channels[0]
        self.time_emb_proj = nn.Linear(n_time, (1 + self._shifts_scale) * n_out)
        self.conv_shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else None

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        time = change[:, :, None, None]
        if self._shifts_scale:
            scale, shift = time.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + time)
        h = self.conv2(functional.silu(h))
        return cast("Tensor", (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h)


class _Attention(nn.Module):
    def __init__(self, width: int, n_heads: int, n_context: int) -> None:
        super().__init__()
        self._n_heads = n_heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(n_context, width, bias=False)
        self.to_v = nn.Linear(n_context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Pair | None = None) -> Tensor:
        """Mix the values of `context`, or of `x` itself."""
        n, _, width = x.shape
        keys, values = (self.to_k(x), self.to_v(x)) if context is None else context
        q, k, v = (
            each.view(n, -1, self._n_heads, width // self._n_heads).transpose(1, 2)
            for each in (self.to_q(x), keys, values)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return cast("Tensor", self.to_out[0](mixed.transpose(1, 2).reshape(n, -1, width)))


class _Gated(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * functional.gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([_Gated(width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.net[2](self.net[0](x)))


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, n_heads: int, n_context: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = _Attention(width, n_heads, width)
        self.attn2 = _Attention(width, n_heads, n_context)
        self.ff = _FeedForward(width)

    def forward(self, x: Tensor, context: Pair) -> Tensor:
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), context) + x
        return cast("Tensor", self.ff(self.norm3(x)) + x)


class _Transformer(nn.Module):
    def __init__(self, config: UNetConfig, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_num_groups, width, _TRANSFORMER_EPS)
        self.proj_in, self.proj_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        block = _TransformerBlock(width, config.attention_head_dim, config.cross_attention_dim)
        self.transformer_blocks = nn.ModuleList([block])

    def forward(self, x: Tensor, context: Pair) -> Tensor:
        n, width, height, breadth = x.shape
        h = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).reshape(n, height * breadth, width)
        h = self.transformer_blocks[0](h, context)
        h = h.reshape(n, height, breadth, width).permute(0, 3, 1, 2).contiguous()
        return cast("Tensor", self.proj_out(h) + x)


class _Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.conv(x))


class _Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.conv(functional.interpolate(x, scale_factor=2.0)))


class _Stage(nn.Module):
    """Residual blocks of one width, each with attention behind it where the level has some."""

    def __init__(
        self, config: UNetConfig, sizes: list[tuple[int, int]], has_attention: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Resnet(config, *size) for size in sizes)
        n = len(sizes) if has_attention else 0
        self.attentions = nn.ModuleList(_Transformer(config, sizes[0][1]) for _ in range(n))

    def step(self, i: int, x: Tensor, times: Iterator[Any], tokens: Iterator[Pair]) -> Tensor:
        x = self.resnets[i](x, next(times))
        return self.attentions[i](x, next(tokens)) if self.attentions else x


class _Down(_Stage):
    def __init__(self, *stage: Any, sampler: nn.Module | None) -> None:
        super().__init__(*stage)
        self.downsamplers = nn.ModuleList([] if sampler is None else [sampler])

    def forward(
        self, x: Tensor, times: Iterator[Any], tokens: Iterator[Pair], skips: list[Tensor]
    ) -> Tensor:
        for i in range(len(self.resnets)):
            x = self.step(i, x, times, tokens)
            skips.append(x)
        for sampler in self.downsamplers:
            x = sampler(x)
            skips.append(x)
        return x


class _Up(_Stage):
    def __init__(self, *stage: Any, sampler: nn.Module | None) -> None:
        super().__init__(*stage)
        self.upsamplers = nn.ModuleList([] if sampler is None else [sampler])

    def forward(
        self, x: Tensor, times: Iterator[Any], tokens: Iterator[Pair], skips: list[Tensor]
    ) -> Tensor:
        for i in range(len(self.resnets)):
            x = self.step(i, torch.cat([x, skips.pop()], dim=1), times, tokens)
        for sampler in self.upsamplers:
            x = sampler(x)
        return x


class _Middle(nn.Module):
    def __init__(self, config: UNetConfig, width: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([_Transformer(config, width)])
        self.resnets = nn.ModuleList(_Resnet(config, width, width) for _ in range(2))

    def forward(self, x: Tensor, times: Iterator[Any], tokens: Iterator[Pair]) -> Tensor:
        x = self.attentions[0](self.resnets[0](x, next(times)), next(tokens))
        return cast("Tensor", self.resnets[1](x, next(times)))
