"""Sizes and training settings of MindEye, as frozen models.

Owns their defaults, which are the published values; knows nothing of tensors or files. A smaller
model is the same class with other numbers.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from configs.published import PublishedConfig


class BackboneConfig(PublishedConfig):
    """Sizes of the network from voxels to CLIP tokens; defaults: subject 1 of NSD."""

    n_voxels: int = Field(default=15724, ge=1)
    """Voxels of one sample."""
    hidden: int = Field(default=4096, ge=1)
    """Width of the residual blocks."""
    n_blocks: int = Field(default=4, ge=1)
    """Residual blocks."""
    n_tokens: int = Field(default=257, ge=1)
    """Tokens that it predicts, CLS first; 1: the final image vector alone."""
    width: int = Field(default=768, ge=1)
    """Width of a token."""
    projector: int = Field(default=2048, ge=0)
    """Hidden width of the head for retrieval; 0: none."""
    norm: Literal["layer", "batch"] = "layer"
    """Norm of the blocks; `batch` comes with ReLU instead of GELU."""
    act_first: bool = False
    """Whether the activation comes before the norm."""
    adapter_width: int = Field(default=0, ge=0)
    """Width that a linear layer for each person maps voxels to, before a backbone that all share
    (MindEye2, arXiv 2403.11207); 0: the backbone reads voxels itself, as published."""


class TokenPriorConfig(PublishedConfig):
    """Sizes of the diffusion prior over CLIP tokens; defaults: the paper's."""

    n_tokens: int = Field(default=257, ge=1)
    """Tokens, CLS first."""
    width: int = Field(default=768, ge=2)
    """Width of a token."""
    depth: int = Field(default=6, ge=1)
    """Layers."""
    num_heads: int = Field(default=12, ge=1)
    """Heads that ask; keys and values are one head's."""
    head_dim: int = Field(default=64, ge=2)
    """Width of a head."""
    n_steps: int = Field(default=100, ge=2)
    """Steps of the diffusion that it is trained on."""


class LowLevelConfig(PublishedConfig):
    """Sizes of the network from voxels to a Stable Diffusion latent; defaults: subject 1's."""

    n_voxels: int = Field(default=15724, ge=1)
    """Voxels of one sample."""
    hidden: int = Field(default=4096, ge=1)
    """Width of the residual blocks."""
    n_blocks: int = Field(default=4, ge=1)
    """Residual blocks."""
    side: int = Field(default=16, ge=1)
    """Side of the map that is decoded, a quarter of the latent's."""
    widths: tuple[int, int, int] = (64, 128, 256)
    """Channels of the decoder's blocks, the last one first; the map has the first one's."""
    maps: int = Field(default=512, ge=0)
    """Channels of the head that is compared with an image network's maps; 0: none."""


class MindEyeTrainingConfig(PublishedConfig):
    """Backbone, projector and prior, trained together; defaults: as published."""

    passes: int = Field(default=240, ge=1)
    """Passes over the pictures."""
    batch_size: int = Field(default=32, ge=2)
    """Pictures in one batch."""
    lr: float = Field(default=3e-4, gt=0)
    """Highest rate of the one-cycle schedule."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay, on everything but biases."""
    mixup_fraction: float = Field(default=0.33, ge=0, le=1)
    """First part of the passes with BiMixCo; SoftCLIP follows."""
    prior_weight: float = Field(default=30.0, ge=0)
    """Weight of the prior's loss beside the contrast; 0: no prior. The single-vector variant has
    0.03."""
    condition_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Chance that brain tokens, and apart from them noisy tokens, are replaced."""
    augment: bool = True
    """Whether pictures are cropped, turned and coloured before CLIP reads them."""
    mix_targets: bool = True
    """Whether the prior's targets are mixed as its input is under BiMixCo. Published: not
    (`mindeye_untransformed_mixco_targets`), so that it learns the unmixed picture of mixed
    voxels."""


class PersonTrainingConfig(MindEyeTrainingConfig):
    """A new person's linear layer in front of a trained backbone; defaults: for one hour."""

    passes: int = Field(default=160, ge=1)
    """Passes over the pictures; about 750 of them were seen in an hour."""
    trains_all: bool = False
    """Train the shared networks too (MindEye2 fine-tunes them all); off: the linear layer alone,
    so that other people's stay as they are."""
    ridge: float = Field(default=1e-3, ge=0)
    """Decay of the linear layer alone, instead of `weight_decay`."""


class LowLevelTrainingConfig(PublishedConfig):
    """The low-level pipeline; defaults: as published."""

    passes: int = Field(default=120, ge=1)
    """Passes over the pictures."""
    batch_size: int = Field(default=8, ge=1)
    """Pictures in one batch."""
    lr: float = Field(default=5e-4, gt=0)
    """Highest rate of the one-cycle schedule."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay, on everything but biases."""
    contrast_weight: float = Field(default=0.1, ge=0)
    """Weight of the soft contrast with an image network's maps; 0: none."""
