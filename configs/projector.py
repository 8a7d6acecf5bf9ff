"""Settings of the training of a projector: brain vectors to the tokens of a transformer."""

from __future__ import annotations

from pydantic import Field

from configs.published import PublishedConfig


class ProjectorSizes(PublishedConfig):
    """How large it is; our own choice."""

    n_tokens: int = Field(default=16, ge=1, le=512)
    """Tokens that it makes of a vector."""
    rank: int = Field(default=256, ge=1, le=8192)
    """Features of a token before it is widened."""
    n_hidden: int = Field(default=1024, ge=1, le=65536)
    """Features of its hidden layer."""


class ProjectorTrainingConfig(PublishedConfig):
    """How it is trained: the diffusion loss of the frozen transformer, as IP-Adapter's is."""

    passes: int = Field(default=200, ge=1)
    """Passes over the pictures."""
    batch_size: int = Field(default=16, ge=1)
    """Pictures in one batch of one process."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Batches before each step of the optimiser."""
    lr: float = Field(default=1e-4, gt=0)
    """Rate, constant."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Clip of the gradients' norm."""
    condition_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Part of the vectors that are replaced by zeros: what fog is drawn from."""
    size: int = Field(default=512, ge=32, le=2048)
    """Side of the pictures, pixels."""
    one_in: int = Field(default=10, ge=2)
    """Every so many-th picture is held out, to see the loss on."""
