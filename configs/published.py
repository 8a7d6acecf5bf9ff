"""Sizes and training settings of the published systems, as frozen models.

Owns their defaults, which are the published values (`docs/` says where papers, READMEs and code
disagree); knows nothing of tensors or files. A smaller model is the same class with other numbers.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class PublishedConfig(BaseModel):
    """Base: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class MaskedAutoencoderConfig(PublishedConfig):
    """Sizes of the one-dimensional masked autoencoder; defaults: DreamDiffusion's EEG one."""

    n_channels: int = Field(default=128, ge=1)
    """Channels of the signal (1: a voxel vector)."""
    n_times: int = Field(default=512, ge=1)
    """Samples of the signal; a multiple of `patch_size`."""
    patch_size: int = Field(default=4, ge=1)
    """Samples in one token."""
    embed_dim: int = Field(default=1024, ge=4)
    """Width of the encoder."""
    depth: int = Field(default=24, ge=1)
    """Blocks of the encoder."""
    num_heads: int = Field(default=16, ge=1)
    """Attention heads of the encoder."""
    decoder_embed_dim: int = Field(default=512, ge=4)
    """Width of the decoder."""
    decoder_depth: int = Field(default=8, ge=1)
    """Blocks of the decoder."""
    decoder_num_heads: int = Field(default=16, ge=1)
    """Attention heads of the decoder."""
    mlp_ratio: float = Field(default=1.0, gt=0)
    """Hidden width of each block's MLP over its width, encoder and decoder."""

    @model_validator(mode="after")
    def _divisible(self) -> MaskedAutoencoderConfig:
        for name, whole, part in (
            ("n_times", self.n_times, self.patch_size),
            ("embed_dim", self.embed_dim, self.num_heads),
            ("decoder_embed_dim", self.decoder_embed_dim, self.decoder_num_heads),
        ):
            if whole % part:
                raise ValueError(f"{name} ({whole}) must be a multiple of {part}")
        return self

    @property
    def n_tokens(self) -> int:
        """Tokens of one signal, CLS not counted."""
        return self.n_times // self.patch_size


class MaskedTrainingConfig(PublishedConfig):
    """Stage A: masked signal modelling; defaults: the paper's."""

    mask_ratio: float = Field(default=0.75, ge=0, lt=1)
    """Part of the tokens that is hidden."""
    passes: int = Field(default=500, ge=1)
    """Passes over the data."""
    warmup_passes: float = Field(default=40, ge=0)
    """Passes of linear warm-up."""
    batch_size: int = Field(default=100, ge=1)
    """Signals in one batch of one process."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Batches before each step of the optimiser."""
    lr: float = Field(default=2.5e-4, gt=0)
    """Peak rate; taken as given, not scaled by the batch size."""
    min_lr: float = Field(default=0.0, ge=0)
    """Rate at the end of the half cosine."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Decay of all but biases and one-dimensional parameters."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's moments."""
    max_grad_norm: float = Field(default=0.8, gt=0)
    """Clip of the gradients' norm."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an average of the weights, which is then what is kept; published: none (0)."""


class ConditionConfig(PublishedConfig):
    """From encoder tokens to the U-Net's context; defaults: DreamDiffusion's."""

    context_tokens: int = Field(default=77, ge=1)
    """Tokens of the context."""
    context_dim: int = Field(default=768, ge=1)
    """Width of the context: the U-Net's `cross_attention_dim`."""
    time_embed_dim: int = Field(default=1280, ge=1)
    """Width of the time embedding that the context is added to."""
    image_embed_dim: int = Field(default=768, ge=0)
    """Width of the CLIP image embedding that tokens are aligned with; 0: no alignment head."""


class DiffusionTrainingConfig(PublishedConfig):
    """Stage B: conditioned latent diffusion; defaults: DreamDiffusion's paper and configuration."""

    passes: int = Field(default=300, ge=1)
    """Passes over the data."""
    batch_size: int = Field(default=25, ge=1)
    """Trials in one batch of one process."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Batches before each step of the optimiser."""
    lr: float = Field(default=5.3e-5, gt=0)
    """Rate, constant."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay, on every trained parameter."""
    max_grad_norm: float = Field(default=0.5, gt=0)
    """Clip of the gradients' norm."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an average of the weights, which is then what is kept; published: none (0)."""
    alignment_weight: float = Field(default=1.0, ge=0)
    """Weight of the CLIP alignment beside the noise prediction's loss."""
    condition_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Part of the trials whose context is replaced by zeros (published: none), without which
    classifier-free guidance is impossible."""


class ContrastConfig(PublishedConfig):
    """Phase 1 of Contrast, Attend and Diffuse: the terms and their weights; defaults: its README's.

    The published code does not wire two of its options: the weight of the contrast stays 0.5, and
    the reconstruction is off unless asked for, so that the README's command trains on contrast
    alone. `contrast_only` and `contrast_weight = 0.5` are that run.
    """

    reconstruction_weight: float = Field(default=1.0, ge=0)
    """Weight of the masked autoencoder's own loss."""
    contrast_weight: float = Field(default=1.0, ge=0)
    """Weight of both contrasts together."""
    self_weight: float = Field(default=1.0, ge=0)
    """Weight of the contrast between a reconstruction and its own signal; 0: none."""
    cross_weight: float = Field(default=0.5, ge=0)
    """Weight of the contrast between the reconstructions under two masks; 0: none, and no second
    mask is drawn."""
    contrast_only: bool = False
    """Leave the reconstruction out, as the README's command does unasked."""
    negatives: Literal["signals", "predictions"] = "signals"
    """What a reconstruction is told from: the batch's other signals, or its other
    reconstructions."""
    both_masks: bool = False
    """Contrast the second mask's reconstruction with the signal as well."""


class CrossTuningConfig(PublishedConfig):
    """Phase 2 of Contrast, Attend and Diffuse; defaults: its README's."""

    fmri_weight: float = Field(default=0.25, ge=0)
    """Weight of the reconstruction of fMRI beside a picture."""
    image_weight: float = Field(default=1.5, ge=0)
    """Weight of the reconstruction of pictures beside fMRI."""
    image_mask_ratio: float = Field(default=0.5, ge=0, lt=1)
    """Part of a picture's patches that is hidden."""
    fmri_decoder_layers: int = Field(default=6, ge=1)
    """Blocks of the fMRI decoder that are kept."""
    image_decoder_layers: int = Field(default=6, ge=1)
    """Layers of the image decoder that are kept."""
