"""The embedded model's networks as ONNX Runtime computes them fastest: same weights, same sums.

Owns what differs from `models.embedded`: the noise level's scales and shifts of all blocks are one
product, queries, keys and values of an attention another, 1 x 1 convolutions around attention act
on tokens, a mean over channels is a product with a row, and what is repeated is added before it is
shuffled. What results differs from the networks' own by rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.embedded import networks, unet


def lean(module: nn.Module) -> nn.Module:
    """Copy a network so that it computes in this module's way, by the names of its own weights."""
    made = copy.deepcopy(module)
    for each in made.modules():
        each.__class__ = _TWINS.get(type(each), type(each))
    return made


class _UNet(unet.UNet):
    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        class_labels: Tensor,
        return_dict: bool = False,  # noqa: ARG002 - as the network itself is called
    ) -> tuple[Tensor]:
        time = unet._sinusoids(timestep.reshape(-1).expand(len(sample)), self.conv_in.out_channels)
        emb = self.time_embedding(time) + self.class_embedding(class_labels)
        changes = self._changes(emb)
        x = self.conv_in(sample)
        skips: list[Tensor] = [x]
        for down in self.down_blocks:
            x = down(x, changes, encoder_hidden_states, skips)
        x = self.mid_block(x, changes, encoder_hidden_states)
        for up in self.up_blocks:
            x = up(x, changes, encoder_hidden_states, skips)
        return (self.conv_out(functional.silu(_group_norm(self.conv_norm_out, x))),)

    def _changes(self, emb: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What each residual block's second norm is multiplied by, and what is added, in turn."""
        stages = (*self.down_blocks, self.mid_block, *self.up_blocks)
        resnets = [cast("unet._Resnet", each) for stage in stages for each in stage.resnets]
        widths = [each.conv1.out_channels for each in resnets]
        layers = [each.time_emb_proj for each in resnets]
        weights = [each.weight.chunk(2) for each in layers]
        biases = [each.bias.chunk(2) for each in layers]
        weight = torch.cat([part[k] for k in (0, 1) for part in weights])
        bias = torch.cat([part[k] for k in (0, 1) for part in biases])
        scale, shift = functional.linear(functional.silu(emb), weight, bias).chunk(2, dim=-1)
        scale = 1 + scale
        shift = torch.cat([each.norm2.bias for each in resnets]) * scale + shift
        scale = torch.cat([each.norm2.weight for each in resnets]) * scale
        split = [torch.split(each[:, :, None, None], widths, dim=1) for each in (scale, shift)]
        return iter(list(zip(*split, strict=True)))


class _Resnet(unet._Resnet):
    def forward(self, x: Tensor, changes: Iterator[tuple[Tensor, Tensor]]) -> Tensor:  # type: ignore[override]
        h = self.conv1(functional.silu(_group_norm(self.norm1, x)))
        scale, shift = next(changes)
        h = self.conv2(functional.silu(_normed(self.norm2, h) * scale + shift))
        return cast("Tensor", (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h)


class _Attention(unet._Attention):
    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        weights = [each.weight for each in (self.to_q, self.to_k, self.to_v)]
        if context is x:
            q, k, v = functional.linear(x, torch.cat(weights)).chunk(3, dim=-1)
        else:
            q = self.to_q(x)
            k, v = functional.linear(context, torch.cat(weights[1:])).chunk(2, dim=-1)
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
    def forward(self, x: Tensor, context: Tensor) -> Tensor:
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
    networks.Decoder: _Decoder,
    networks._ResBlock: _ResBlock,
    networks._Upsample: _Upsample,
    unet.UNet: _UNet,
    unet._Attention: _Attention,
    unet._Resnet: _Resnet,
    unet._Transformer: _Transformer,
}
