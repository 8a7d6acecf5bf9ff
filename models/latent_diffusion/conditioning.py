"""From a brain encoder's tokens to the two inputs of the U-Net.

Owns the mappers, the time condition and the alignment with CLIP; knows nothing of the encoder's
inside. Names of parameters are the published ones. Chen et al., arXiv 2211.06956.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.published import ConditionConfig


class TokenHead(nn.Module):
    """One vector of a row of tokens: their weighted mean, then a linear layer.

    The published name of the weighting (a convolution over the token axis) is `maxpool`.
    """

    def __init__(self, n_tokens: int, dim: int, n_out: int) -> None:
        super().__init__()
        self.maxpool = nn.Conv1d(n_tokens, 1, kernel_size=1)
        self.fc = nn.Linear(dim, n_out)

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors (n, n_out) of tokens (n, n_tokens, dim)."""
        return torch.as_tensor(self.fc(self.maxpool(tokens).squeeze(1)))


class TimeCondition(nn.Sequential):
    """The context as one vector beside the time embedding (linear throughout, as published)."""

    def __init__(self, context_tokens: int, context_dim: int, time_embed_dim: int) -> None:
        half = context_tokens // 2
        super().__init__(
            nn.Conv1d(context_tokens, half, kernel_size=1),
            nn.Conv1d(half, 1, kernel_size=1),
            nn.Linear(context_dim, time_embed_dim),
        )

    def forward(self, context: Tensor) -> Tensor:
        """Vectors (n, time_embed_dim) of a context (n, context_tokens, context_dim)."""
        return torch.as_tensor(self[2](self[1](self[0](context))).squeeze(1))


class ConditionStage(nn.Module):
    """A brain encoder, its mappers to the context, and the optional heads.

    Parameters
    ----------
    encoder : nn.Module
        Gives tokens (n, n_tokens, embed_dim).
    n_tokens, embed_dim : int
        Of the encoder.
    config : ConditionConfig
    head_tokens, head_dim : int, optional
        Input of the heads where it is not the encoder's.
    n_classes : int
        Outputs of the optional classification head; 0: none.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        n_tokens: int,
        embed_dim: int,
        config: ConditionConfig,
        head_tokens: int | None = None,
        head_dim: int | None = None,
        n_classes: int = 0,
    ) -> None:
        super().__init__()
        self.mae = encoder
        half = n_tokens // 2
        # Over the token axis, without a non-linearity between: one low-rank linear map.
        self.channel_mapper = nn.Sequential(
            nn.Conv1d(n_tokens, half, kernel_size=1),
            nn.Conv1d(half, config.context_tokens, kernel_size=1),
        )
        self.dim_mapper = nn.Linear(embed_dim, config.context_dim)
        head = (head_tokens or n_tokens, head_dim or embed_dim)
        self.mapping = TokenHead(*head, config.image_embed_dim) if config.image_embed_dim else None
        self.cls_net = TokenHead(*head, n_classes) if n_classes else None

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Encode signals.

        Returns
        -------
        context : Tensor, shape (n, context_tokens, context_dim)
        tokens : Tensor, shape (n, n_tokens, embed_dim)
            What the heads read: the encoder's, before the mappers.
        """
        tokens = self.mae(signal)
        return self.dim_mapper(self.channel_mapper(tokens)), tokens


def alignment_loss(vectors: Tensor, image_embeds: Tensor) -> Tensor:
    """One minus the mean cosine between vectors and CLIP image embeddings (n, image_embed_dim)."""
    return 1 - functional.cosine_similarity(vectors, image_embeds, dim=-1).mean()
