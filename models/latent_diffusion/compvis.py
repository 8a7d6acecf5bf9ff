"""The CompVis layout of latent diffusion checkpoints and diffusers' layout, name by name.

Owns both directions of the renaming (the reverse writes checkpoints that the importer can be
tested on) and the reading of a network's sizes from its state. Knows nothing of conditions or
files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.checkpoints import CheckpointError, shape_of

_RESNET = (
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("emb_layers.1", "time_emb_proj"),
    ("skip_connection", "conv_shortcut"),
)
_VAE_ATTENTION = (
    ("norm", "group_norm"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
)
CODES = "quantize.embedding.weight"
"""The codes of a VQ autoencoder, (n_codes, embed_dim)."""
Names = list[tuple[str, str]]
"""Pairs of prefixes: CompVis, diffusers; each ends with a dot."""


@dataclass(frozen=True, slots=True)
class UNetLayout:
    """Which blocks a U-Net has; `attention` says for each level whether it attends."""

    layers_per_block: int
    attention: tuple[bool, ...]

    @property
    def n_levels(self) -> int:
        """Resolutions, from the finest."""
        return len(self.attention)


def _resnet(theirs: str, ours: str) -> Names:
    return [(f"{theirs}{a}.", f"{ours}{b}.") for a, b in _RESNET]


def unet_names(layout: UNetLayout) -> Names:
    """Prefix pairs of a whole U-Net (without the time condition, which diffusers has not)."""
    names: Names = [
        ("time_embed.0.", "time_embedding.linear_1."),
        ("time_embed.2.", "time_embedding.linear_2."),
        # SDXL: size and pooled text beside the time.
        ("label_emb.0.0.", "add_embedding.linear_1."),
        ("label_emb.0.2.", "add_embedding.linear_2."),
        ("input_blocks.0.0.", "conv_in."),
        ("out.0.", "conv_norm_out."),
        ("out.2.", "conv_out."),
        ("middle_block.1.", "mid_block.attentions.0."),
        *_resnet("middle_block.0.", "mid_block.resnets.0."),
        *_resnet("middle_block.2.", "mid_block.resnets.1."),
    ]
    return names + _down_names(layout) + _up_names(layout)


def _down_names(layout: UNetLayout) -> Names:
    names: Names = []
    block = 1
    for level, attends in enumerate(layout.attention):
        for layer in range(layout.layers_per_block):
            theirs, ours = f"input_blocks.{block}.", f"down_blocks.{level}."
            names += _resnet(f"{theirs}0.", f"{ours}resnets.{layer}.")
            if attends:
                names.append((f"{theirs}1.", f"{ours}attentions.{layer}."))
            block += 1
        if level < layout.n_levels - 1:
            names.append((f"input_blocks.{block}.0.op.", f"{ours}downsamplers.0.conv."))
            block += 1
    return names


def _up_names(layout: UNetLayout) -> Names:
    names: Names = []
    block = 0
    for level, attends in enumerate(reversed(layout.attention)):
        for layer in range(layout.layers_per_block + 1):
            theirs, ours = f"output_blocks.{block}.", f"up_blocks.{level}."
            names += _resnet(f"{theirs}0.", f"{ours}resnets.{layer}.")
            if attends:
                names.append((f"{theirs}1.", f"{ours}attentions.{layer}."))
            if layer == layout.layers_per_block and level < layout.n_levels - 1:
                place = 2 if attends else 1
                names.append((f"{theirs}{place}.conv.", f"{ours}upsamplers.0.conv."))
            block += 1
    return names


def vae_names(n_levels: int, layers_per_block: int) -> Names:
    """Prefix pairs of an autoencoder, KL or VQ, with attention in every level if it is there."""
    names: Names = []
    for side in ("encoder", "decoder"):
        names += [
            (f"{side}.conv_in.", f"{side}.conv_in."),
            (f"{side}.norm_out.", f"{side}.conv_norm_out."),
            (f"{side}.conv_out.", f"{side}.conv_out."),
            *_vae_resnet(f"{side}.mid.block_1.", f"{side}.mid_block.resnets.0."),
            *_vae_resnet(f"{side}.mid.block_2.", f"{side}.mid_block.resnets.1."),
            *_vae_attention(f"{side}.mid.attn_1.", f"{side}.mid_block.attentions.0."),
        ]
    for level in range(n_levels):
        down = (f"encoder.down.{level}.", f"encoder.down_blocks.{level}.")
        # CompVis counts the decoder's levels from the finest, diffusers in the order they run.
        up = (f"decoder.up.{level}.", f"decoder.up_blocks.{n_levels - 1 - level}.")
        for layer in range(layers_per_block):
            names += _vae_resnet(f"{down[0]}block.{layer}.", f"{down[1]}resnets.{layer}.")
            names += _vae_attention(f"{down[0]}attn.{layer}.", f"{down[1]}attentions.{layer}.")
        for layer in range(layers_per_block + 1):
            names += _vae_resnet(f"{up[0]}block.{layer}.", f"{up[1]}resnets.{layer}.")
            names += _vae_attention(f"{up[0]}attn.{layer}.", f"{up[1]}attentions.{layer}.")
        names.append((f"{down[0]}downsample.conv.", f"{down[1]}downsamplers.0.conv."))
        names.append((f"{up[0]}upsample.conv.", f"{up[1]}upsamplers.0.conv."))
    kept = ("quant_conv.", "post_quant_conv.", "quantize.")
    return names + [(name, name) for name in kept]


def _vae_resnet(theirs: str, ours: str) -> Names:
    pairs = (("norm1", "norm1"), ("conv1", "conv1"), ("norm2", "norm2"), ("conv2", "conv2"))
    return [
        (f"{theirs}{a}.", f"{ours}{b}.") for a, b in (*pairs, ("nin_shortcut", "conv_shortcut"))
    ]


def _vae_attention(theirs: str, ours: str) -> Names:
    return [(f"{theirs}{a}.", f"{ours}{b}.") for a, b in _VAE_ATTENTION]


def rename(state: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Rename every tensor by its prefix; a name without a rule is refused.

    Raises
    ------
    CheckpointError
        A tensor belongs to no part of the network.
    """
    # Longest first, so that `norm_out.` is not taken for `norm.`.
    rules = sorted(names, key=lambda pair: len(pair[0]), reverse=True)
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        rule = next((pair for pair in rules if name.startswith(pair[0])), None)
        if rule is None:
            raise CheckpointError(
                f"the checkpoint's {name!r} belongs to no block of the network: "
                "it is of another architecture than Stable Diffusion 1.x."
            )
        renamed[rule[1] + name[len(rule[0]) :]] = value
    return renamed


def reverse(names: Names) -> Names:
    """Pairs for the way back."""
    return [(ours, theirs) for theirs, ours in names]


def unet_layout(state: Mapping[str, Tensor]) -> UNetLayout:
    """Read the blocks of a CompVis U-Net from its state's names.

    Raises
    ------
    CheckpointError
        The state has no U-Net.
    """
    count = _count(state, r"input_blocks\.(\d+)\.")
    if count == 0:
        raise CheckpointError(
            "the checkpoint has no U-Net (input_blocks.*), expected CompVis naming: "
            "give v1-5-pruned.ckpt or a generation checkpoint.pth."
        )
    levels: list[list[bool]] = [[]]
    for block in range(1, count):
        if f"input_blocks.{block}.0.op.weight" in state:
            levels.append([])
        else:
            levels[-1].append(f"input_blocks.{block}.1.norm.weight" in state)
    return UNetLayout(len(levels[0]), tuple(all(level) for level in levels))


def transformer_depths(state: Mapping[str, Tensor], layout: UNetLayout) -> list[int]:
    """Transformer layers of each level's attentions; 1 where a level has none."""
    step = layout.layers_per_block + 1
    return [
        max(1, _count(state, rf"input_blocks\.{1 + level * step}\.1\.transformer_blocks\.(\d+)\."))
        for level in range(layout.n_levels)
    ]


def unet_config(state: Mapping[str, Tensor], *, num_heads: int) -> dict[str, Any]:
    """Sizes for `UNet2DConditionModel`; the condition enters its class embedding as it is."""
    layout = unet_layout(state)
    widths = _unet_widths(state, layout)
    context = next(v.shape[1] for k, v in state.items() if k.endswith("attn2.to_k.weight"))
    return {
        "in_channels": int(state["input_blocks.0.0.weight"].shape[1]),
        "out_channels": int(state["out.2.weight"].shape[0]),
        "block_out_channels": widths,
        "layers_per_block": layout.layers_per_block,
        "cross_attention_dim": int(context),
        # diffusers' name of the count of heads (its width is channels / heads).
        "attention_head_dim": num_heads,
        "down_block_types": tuple(
            "CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in layout.attention
        ),
        "up_block_types": tuple(
            "CrossAttnUpBlock2D" if attends else "UpBlock2D"
            for attends in reversed(layout.attention)
        ),
        "transformer_layers_per_block": _count(
            state, r"middle_block\.1\.transformer_blocks\.(\d+)\."
        ),
        "class_embed_type": "identity",
    }


def _unet_widths(state: Mapping[str, Tensor], layout: UNetLayout) -> tuple[int, ...]:
    step = layout.layers_per_block + 1
    return tuple(
        int(state[f"input_blocks.{1 + level * step}.0.out_layers.3.weight"].shape[0])
        for level in range(layout.n_levels)
    )


def vae_config(state: Mapping[str, Tensor], *, scaling_factor: float) -> dict[str, Any]:
    """Sizes for `AutoencoderKL`, or for `VQModel` where the state has codes.

    Raises
    ------
    CheckpointError
        The state has no autoencoder.
    """
    n_levels = _count(state, r"encoder\.down\.(\d+)\.")
    if n_levels == 0 or "quant_conv.weight" not in state:
        raise CheckpointError(
            "the checkpoint has no autoencoder (first_stage_model.*), expected CompVis naming."
        )
    codes: dict[str, int] = {}
    if CODES in state:
        codes = dict(
            zip(
                ("num_vq_embeddings", "vq_embed_dim"),
                shape_of(state, CODES, "n_codes, embed_dim"),
                strict=True,
            )
        )
    return codes | {
        "in_channels": int(state["encoder.conv_in.weight"].shape[1]),
        "out_channels": int(state["decoder.conv_out.weight"].shape[0]),
        "latent_channels": int(state["post_quant_conv.weight"].shape[0]),
        "block_out_channels": tuple(
            int(state[f"encoder.down.{level}.block.0.conv1.weight"].shape[0])
            for level in range(n_levels)
        ),
        "layers_per_block": _count(state, r"encoder\.down\.0\.block\.(\d+)\."),
        "down_block_types": tuple(
            f"{_attends(state, f'encoder.down.{level}')}DownEncoderBlock2D"
            for level in range(n_levels)
        ),
        "up_block_types": tuple(
            f"{_attends(state, f'decoder.up.{level}')}UpDecoderBlock2D"
            for level in reversed(range(n_levels))
        ),
        "scaling_factor": scaling_factor,
    }


def _attends(state: Mapping[str, Tensor], level: str) -> str:
    """How diffusers calls a block of a level with attention, and of one without."""
    return "Attn" if f"{level}.attn.0.q.weight" in state else ""


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    matcher = re.compile(pattern)
    found = [int(match.group(1)) for name in state if (match := matcher.match(name))]
    return 1 + max(found, default=-1)
