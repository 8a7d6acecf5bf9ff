"""ATM-S: an epoch becomes a vector in CLIP's space (Li et al., arXiv 2403.07721).

Owns the network and its two switches. Its state has the published names, so that a published
checkpoint loads strictly, and one of ours can be read by the original. Knows nothing of losses,
files or live epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.atm.errors import AtmError
from models.atm.layers import (
    N_FILTERS,
    TemporalSpatialConvolution,
    n_positions,
    projector,
    sinusoids,
)

LOGIT_SCALE = log(1 / 0.07)
MAX_CHANNELS = 5000


@dataclass(frozen=True, slots=True)
class AtmsConfig:
    """Sizes of ATM-S, and what it does where the original does something odd.

    Attributes
    ----------
    n_channels, n_times : int
        Shape of one epoch; 63 x 250 as published.
    n_features : int
        Width of the target space; OpenCLIP ViT-H-14 has 1024.
    n_subjects : int
        Rows of the subject table; an id outside it gets the shared token.
    n_heads, feedforward : int
        Of the one transformer layer.
    drop_last_channel : bool
        As published: the subject token stands in front and only the first `n_channels` tokens
        are kept, so the last EEG channel never reaches the convolution. False keeps the channels.
    shared_subject_takes_batch : bool
        As published: one unknown id gives the whole batch the shared token.
    unused_parameters : bool
        Keep the mask tokens and the time-feature map, which the forward pass never reads.
    n_subject_layers : int
        Linear layers a subject, never read either; 2 in the published checkpoints.
    """

    n_channels: int = 63
    n_times: int = 250
    n_features: int = 1024
    n_subjects: int = 10
    n_heads: int = 4
    feedforward: int = 256
    drop_last_channel: bool = False
    shared_subject_takes_batch: bool = False
    unused_parameters: bool = False
    n_subject_layers: int = 0

    @classmethod
    def published(cls, *, n_subject_layers: int = 2) -> AtmsConfig:
        """Return the network as its authors train and save it."""
        return cls(
            drop_last_channel=True,
            shared_subject_takes_batch=True,
            unused_parameters=True,
            n_subject_layers=n_subject_layers,
        )


class _SubjectTokens(nn.Module):
    """One learned token a subject, and one for everybody else."""

    def __init__(self, config: AtmsConfig) -> None:
        super().__init__()
        width = config.n_times
        self._takes_batch = config.shared_subject_takes_batch
        self.subject_embedding = nn.Embedding(config.n_subjects, width)
        self.shared_embedding = nn.Parameter(torch.randn(1, width))
        if config.unused_parameters:
            self.mask_embedding = nn.Parameter(torch.randn(1, width))

    def forward(self, subject_ids: Tensor) -> Tensor:
        """Token (n, 1, n_times) of each id (n,)."""
        count = self.subject_embedding.num_embeddings
        unknown = (subject_ids < 0) | (subject_ids >= count)
        if self._takes_batch:
            unknown = unknown.any().expand_as(unknown)
        own = self.subject_embedding(subject_ids.clamp(0, count - 1))
        return torch.where(unknown[:, None], self.shared_embedding, own).unsqueeze(1)


class _Positions(nn.Module):
    """Fixed sine-cosine code over the channel's index; a buffer, because the state has it."""

    pe: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoids(MAX_CHANNELS, width).unsqueeze(0))


class _TimeFeatures(nn.Module):
    """The unused map of four calendar features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(4, width, bias=False)


class _ChannelTokens(nn.Module):
    """Each channel is one token (Liu et al., iTransformer, arXiv 2310.06625); subject in front."""

    def __init__(self, config: AtmsConfig) -> None:
        super().__init__()
        width = config.n_times
        self.value_embedding = nn.Linear(width, width)
        self.position_embedding = _Positions(width)
        self.subject_embedding = _SubjectTokens(config)
        self.dropout = nn.Dropout(0.25)
        if config.unused_parameters:
            self.temporal_embedding = _TimeFeatures(width)
            self.mask_token = nn.Parameter(torch.randn(1, width))

    def forward(self, eeg: Tensor, subject_ids: Tensor) -> Tensor:
        """Map (n, n_channels, n_times) to (n, 1 + n_channels, n_times)."""
        tokens = self.value_embedding(eeg) + self.position_embedding.pe[:, : eeg.shape[1]]
        return self.dropout(torch.cat([self.subject_embedding(subject_ids), tokens], dim=1))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Full attention; a head is `width // n_heads` wide, so the inside may be narrower."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        inner = width // n_heads * n_heads
        self._n_heads = n_heads
        self.query_projection = nn.Linear(width, inner)
        self.key_projection = nn.Linear(width, inner)
        self.value_projection = nn.Linear(width, inner)
        self.out_projection = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_tokens, width) to the same shape."""
        maps = (self.query_projection, self.key_projection, self.value_projection)
        q, k, v = (m(x).unflatten(-1, (self._n_heads, -1)).transpose(1, 2) for m in maps)
        rate = 0.25 if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        return self.out_projection(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class _TransformerLayer(nn.Module):
    """One post-norm layer; its feed-forward is two convolutions of width 1."""

    def __init__(self, config: AtmsConfig) -> None:
        super().__init__()
        width = config.n_times
        self.attention = _Attention(width, config.n_heads)
        self.conv1 = nn.Conv1d(width, config.feedforward, 1)
        self.conv2 = nn.Conv1d(config.feedforward, width, 1)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_tokens, width) to the same shape."""
        x = self.norm1(x + self.dropout(self.attention(x)))
        # A convolution of width 1 is a matrix product: as such it needs no transposed copies.
        inner = self.dropout(functional.gelu(_pointwise(self.conv1, x)))
        return self.norm2(x + self.dropout(_pointwise(self.conv2, inner)))  # type: ignore[no-any-return]


def _pointwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    return functional.linear(x, conv.weight.squeeze(-1), conv.bias)


class _Transformer(nn.Module):
    def __init__(self, config: AtmsConfig) -> None:
        super().__init__()
        self.attn_layers = nn.ModuleList([_TransformerLayer(config)])
        self.norm = nn.LayerNorm(config.n_times)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.attn_layers:
            x = layer(x)
        return self.norm(x)  # type: ignore[no-any-return]


class _TokenEncoder(nn.Module):
    """Tokens through the transformer, cut back to `n_channels` of them."""

    def __init__(self, config: AtmsConfig) -> None:
        super().__init__()
        self._first = 0 if config.drop_last_channel else 1
        self._count = config.n_channels
        self.enc_embedding = _ChannelTokens(config)
        self.encoder = _Transformer(config)

    def forward(self, eeg: Tensor, subject_ids: Tensor) -> Tensor:
        tokens: Tensor = self.encoder(self.enc_embedding(eeg, subject_ids))
        return tokens[:, self._first : self._first + self._count]


class AtmsEncoder(nn.Module):
    """The ATM-S network.

    `logit_scale` belongs to the loss but lives in the published state.
    """

    def __init__(self, config: AtmsConfig | None = None) -> None:
        super().__init__()
        config = AtmsConfig() if config is None else config
        self.config = config
        self.encoder = _TokenEncoder(config)
        self.enc_eeg = nn.Sequential(TemporalSpatialConvolution(config.n_channels))
        n_inputs = n_positions(config.n_times) * N_FILTERS
        self.proj_eeg = projector(n_inputs, config.n_features)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE))
        if config.n_subject_layers:
            width = config.n_times
            layers = [nn.Linear(width, width) for _ in range(config.n_subject_layers)]
            self.subject_wise_linear = nn.ModuleList(layers)

    def forward(self, eeg: Tensor, subject_ids: Tensor) -> Tensor:
        """Embed epochs.

        Parameters
        ----------
        eeg : Tensor, shape (n, n_channels, n_times), float32
            Noise-normalised, from onset on.
        subject_ids : Tensor, shape (n,), int64

        Returns
        -------
        Tensor, shape (n, n_features), float32

        Raises
        ------
        AtmError
            `eeg` has another shape than the network was built for.
        """
        expected = (self.config.n_channels, self.config.n_times)
        if eeg.ndim != 3 or tuple(eeg.shape[1:]) != expected:
            raise AtmError(
                f"eeg has shape {tuple(eeg.shape)}, expected (n, {expected[0]}, {expected[1]}): "
                "map the montage and resample first."
            )
        return self.project(self.convolve(self.tokens(eeg, subject_ids)))

    def tokens(self, eeg: Tensor, subject_ids: Tensor) -> Tensor:
        """Channel tokens after the transformer, (n, n_channels, n_times)."""
        return self.encoder(eeg, subject_ids)  # type: ignore[no-any-return]

    def convolve(self, tokens: Tensor) -> Tensor:
        """Features of the convolution, (n, n_positions * 40); 1440 of 250 samples."""
        return self.enc_eeg(tokens)  # type: ignore[no-any-return]

    def project(self, features: Tensor) -> Tensor:
        """Vectors in the target space, (n, n_features)."""
        return self.proj_eeg(features)  # type: ignore[no-any-return]
