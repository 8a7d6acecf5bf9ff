"""The embedded model's networks as ONNX Runtime computes them fastest: same weights, same sums.

Owns what differs from `models.embedded`: the noise level's scales and shifts of all blocks are one
product, queries, keys and values of an attention another, 1 x 1 convolutions around attention act
on tokens, a mean over channels is a product with a row, and what is repeated is added before it is
shuffled. What results differs from the networks' own by rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.embedded import networks, repeats, unet


def lean(module: nn.Module) -> nn.Module:
    """Copy a network so that it computes in this module's way, by the names of its own weights."""
    made = copy.deepcopy(module)
    for each in made.modules():
        each.__class__ = _TWINS.get(type(each), type(each))
    return made


class _Step(repeats.Step):
    def forward(self, x: Tensor, shared: Tensor, row: Tensor) -> Tensor:
        guess = self.layout.guess(shared)
        norms = [each.norm2 for each in self.unet.resnets]
        scale, shift = row.chunk(2, dim=1)
        scale = 1 + scale
        shift = torch.cat([each.bias for each in norms]) * scale + shift
        scale = torch.cat([each.weight for each in norms]) * scale
        split = [
            torch.split(each[:, :, None, None], self.layout.widths, dim=1)
            for each in (scale, shift)
        ]
        changes = list(zip(*split, strict=True))
        x = torch.cat([x, guess], dim=1)
        correction = self.unet.predict(x, changes, self.layout.contexts(shared))
        return guess + self.correction_scale * correction


class _UNet(unet.UNet):
    def predict(
        self, sample: Tensor, changes: Sequence[Any], contexts: Sequence[unet.Pair]
    ) -> Tensor:
        times, tokens = iter(changes), iter(contexts)
        x = self.conv_in(sample)
        skips: list[Tensor] = [x]
        for down in self.down_blocks:
            x = down(x, times, tokens, skips)
        x = self.mid_block(x, times, tokens)
        for up in self.up_blocks:
            x = up(x, times, tokens, skips)
        return cast("Tensor", self.conv_out(functional.silu(_group_norm(self.conv_norm_out, x))))


class _Resnet(unet._Resnet):
    def forward(self, x: Tensor, change: tuple[Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        h = self.conv1(functional.silu(_group_norm(self.norm1, x)))
        scale, shift = change
        h = self.conv2(functional.silu(_normed(self.norm2, h) * scale + shift))
        return cast("Tensor", (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h)


class _Attention(unet._Attention):
    def forward(self, x: Tensor, context: unet.Pair | None = None) -> Tensor:
        if context is None:
            weights = [each.weight for each in (self.to_q, self.to_k, self.to_v)]
            q, k, v = functional.linear(x, torch.cat(weights)).chunk(3, dim=-1)
        else:
            q, (k, v) = self.to_q(x), context
        mixed = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (q, k, v),
            {"num_heads": self._n_heads},
            dtype=x.dtype,
            shape=x.shape,
            version=1,
        )
        return cast("Tensor", self.to_out[0](mixed))


class _Transformer(unet._Transformer):
    def forward(self, x: Tensor, context: unet.Pair) -> Tensor:
        n, width, height, breadth = x.shape
        h = _group_norm(self.norm, x).reshape(n, width, height * breadth).transpose(1, 2)
        h = self.transformer_blocks[0](_on_tokens(self.proj_in, h), context)
        h = _on_tokens(self.proj_out, h).transpose(1, 2).reshape(n, width, height, breadth)
        return h + x


class _Decoder(networks.Decoder):
    def forward(self, hidden_states: Tensor) -> Tensor:
        x = self.conv_in(hidden_states)
        for block in reversed(self.up_blocks):
            x = block(x)
        return cast("Tensor", self.conv_out(functional.relu(_rms_norm(self.norm_out, x))))


class _ResBlock(networks._ResBlock):
    def forward(self, x: Tensor) -> Tensor:
        return _rms_norm(self.norm, self.conv2(functional.silu(self.conv1(x)))) + x


class _Upsample(networks._Upsample):
    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        if self._repeats:
            n, width, height, breadth = x.shape
            made = made.reshape(n, width, self._repeats, height, breadth) + x[:, :, None]
            made = made.reshape(n, width * self._repeats, height, breadth)
        return functional.pixel_shuffle(made, 2)


def _normed(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """A group norm without its weights, by the operator that ONNX Runtime has for one."""
    n, width, height, breadth = x.shape
    shape = (n, norm.num_groups, width // norm.num_groups * height * breadth)
    made = torch.onnx.ops.symbolic(
        "InstanceNormalization",
        (x.reshape(shape), torch.ones(norm.num_groups), torch.zeros(norm.num_groups)),
        {"epsilon": norm.eps},
        dtype=x.dtype,
        shape=shape,
    )
    return made.reshape(x.shape)


def _group_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    return _normed(norm, x) * norm.weight[:, None, None] + norm.bias[:, None, None]


def _rms_norm(norm: networks._RMSNorm, x: Tensor) -> Tensor:
    n, width, height, breadth = x.shape
    row = torch.full((1, width), 1 / width)
    mean = (row @ (x * x).reshape(n, width, height * breadth)).reshape(n, 1, height, breadth)
    return x * torch.rsqrt(mean + 1e-5) * norm.weight[:, None, None] + norm.bias[:, None, None]


def _on_tokens(conv: nn.Conv2d, tokens: Tensor) -> Tensor:
    """A 1 x 1 convolution of tokens (n, n_tokens, width)."""
    weight = conv.weight.reshape(conv.out_channels, conv.in_channels)
    return functional.linear(tokens, weight, conv.bias)


_TWINS: dict[type, type] = {
    repeats.Step: _Step,
    networks.Decoder: _Decoder,
    networks._ResBlock: _ResBlock,
    networks._Upsample: _Upsample,
    unet.UNet: _UNet,
    unet._Attention: _Attention,
    unet._Resnet: _Resnet,
    unet._Transformer: _Transformer,
}
