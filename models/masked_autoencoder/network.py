"""The one-dimensional masked autoencoder of the MinD-Vis family, and its encoder alone.

Owns the two networks and the layout of patches. Parameters carry the published names, so that a
checkpoint's state is the module's state. Knows nothing of where signals come from or how the
tokens are used. Shared by DreamDiffusion (128 channels, patch 4) and MinD-Vis (1 channel, patch
16). Chen et al., arXiv 2211.06956; Bai et al., arXiv 2306.16934.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.published import MaskedAutoencoderConfig
from models.masked_autoencoder.positions import sinusoidal_positions


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        n, length, dim = x.shape
        qkv = self.qkv(x).view(n, length, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = _attend(query, key, value)
        return torch.as_tensor(self.proj(mixed.transpose(1, 2).reshape(n, length, dim)))


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # The CPU's fused kernel emulates bfloat16: three times slower at these lengths.
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        return torch.as_tensor(weights.softmax(dim=-1) @ value)
    return functional.scaled_dot_product_attention(query, key, value)


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fc2(functional.gelu(self.fc1(x))))


class Block(nn.Module):
    """Pre-norm transformer block (attention with bias, exact GELU)."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = _Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = _Mlp(dim, int(dim * mlp_ratio + 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens (n, length, dim)."""
        x = x + self.attn(self.norm1(x))
        return torch.as_tensor(x + self.mlp(self.norm2(x)))


class PatchEmbedding(nn.Module):
    """Cuts a signal into tokens: one convolution whose stride is its kernel."""

    def __init__(self, n_channels: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv1d(n_channels, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, signal: Tensor) -> Tensor:
        """Tokens (n, n_tokens, embed_dim) of signals (n, n_channels, n_times)."""
        return torch.as_tensor(self.proj(signal).transpose(1, 2))


class Trunk(nn.Module):
    """What both networks share: patches, positions, blocks, the last norm."""

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.patch_embed = PatchEmbedding(config.n_channels, config.patch_size, dim)
        # A parameter that is never trained: so the published states hold it.
        self.pos_embed = nn.Parameter(
            sinusoidal_positions(config.n_tokens, dim), requires_grad=False
        )
        self.blocks = nn.ModuleList(
            Block(dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim)

    def place(self, signal: Tensor) -> Tensor:
        """Tokens with their positions, (n, n_tokens, embed_dim)."""
        return torch.as_tensor(self.patch_embed(signal) + self.pos_embed[:, 1:])

    def transform(self, tokens: Tensor) -> Tensor:
        """Run the blocks, without the last norm."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class SignalEncoder(Trunk):
    """The trunk without masking and without CLS, as generators are conditioned on it."""

    def forward(self, signal: Tensor) -> Tensor:
        """Encode signals.

        Parameters
        ----------
        signal : Tensor, shape (n, n_channels, n_times) or (n_channels, n_times), float32

        Returns
        -------
        Tensor, shape (n, n_tokens, embed_dim)
            After the last norm.
        """
        batch = signal[None] if signal.ndim == 2 else signal
        return torch.as_tensor(self.norm(self.transform(self.place(batch))))

    def pooled(self, signal: Tensor) -> Tensor:
        """Mean over tokens, then the last norm: (n, 1, embed_dim)."""
        batch = signal[None] if signal.ndim == 2 else signal
        mean = self.transform(self.place(batch)).mean(dim=1, keepdim=True)
        return torch.as_tensor(self.norm(mean))


class Masked(NamedTuple):
    """What the autoencoder made of a batch.

    `loss` scalar; `prediction` (n, n_tokens, patch_size * n_channels) in the layout of
    `patchify`; `mask` (n, n_tokens), 1 where a token was hidden.
    """

    loss: Tensor
    prediction: Tensor
    mask: Tensor


class Latent(NamedTuple):
    """Encoded visible tokens.

    `tokens` (n, 1 + n_kept, embed_dim), CLS first, in shuffled order; `mask` (n, n_tokens);
    `ids_restore` (n, n_tokens) int64, the place of each token among the shuffled ones.
    """

    tokens: Tensor
    mask: Tensor
    ids_restore: Tensor


class MaskedAutoencoder(Trunk):
    """Hides most tokens of a signal and predicts their samples."""

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        super().__init__(config)
        dim, narrow = config.embed_dim, config.decoder_embed_dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.decoder_embed = nn.Linear(dim, narrow)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, narrow))
        self.decoder_pos_embed = nn.Parameter(
            sinusoidal_positions(config.n_tokens, narrow), requires_grad=False
        )
        self.decoder_blocks = nn.ModuleList(
            Block(narrow, config.decoder_num_heads, config.mlp_ratio)
            for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(narrow)
        self.decoder_pred = nn.Linear(narrow, config.patch_size * config.n_channels)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw the published initial weights; the positions stay."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(torch.as_tensor(self.patch_embed.proj.bias))
        for weight in (self.patch_embed.proj.weight, self.cls_token, self.mask_token):
            nn.init.normal_(weight, std=0.02, generator=generator)

    def patchify(self, signal: Tensor) -> Tensor:
        """Samples of each token, (n, n_tokens, patch_size * n_channels): time-major."""
        n = signal.shape[0]
        return signal.transpose(1, 2).reshape(n, self.config.n_tokens, -1)

    def encode(
        self,
        signal: Tensor,
        mask_noise: Tensor,
        *,
        mask_ratio: float,
        attend: Callable[[Tensor], Tensor] = lambda tokens: tokens,
    ) -> Latent:
        """Encode the tokens that stay visible: those of the smallest noise.

        `attend` stands between the blocks and the last norm, for networks that look elsewhere.
        """
        tokens = self.place(signal)
        n, length, dim = tokens.shape
        n_kept = int(length * (1 - mask_ratio))
        order = mask_noise.argsort(dim=1)
        ids_restore = order.argsort(dim=1)
        kept = tokens.gather(1, order[:, :n_kept, None].expand(-1, -1, dim))
        mask = (ids_restore >= n_kept).to(tokens.dtype)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(n, -1, -1)
        encoded = self.norm(attend(self.transform(torch.cat([cls, kept], dim=1))))
        return Latent(encoded, mask, ids_restore)

    def decode(self, latent: Latent) -> Tensor:
        """Predict the samples of all tokens, (n, n_tokens, patch_size * n_channels)."""
        tokens = self.decoder_embed(latent.tokens)
        n, _, dim = tokens.shape
        n_hidden = latent.ids_restore.shape[1] + 1 - tokens.shape[1]
        filled = torch.cat([tokens[:, 1:], self.mask_token.expand(n, n_hidden, -1)], dim=1)
        filled = filled.gather(1, latent.ids_restore[..., None].expand(-1, -1, dim))
        x = torch.cat([tokens[:, :1], filled], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return torch.as_tensor(self.decoder_pred(self.decoder_norm(x))[:, 1:])

    def forward(self, signal: Tensor, mask_noise: Tensor, *, mask_ratio: float = 0.75) -> Masked:
        """Hide, encode, predict.

        Parameters
        ----------
        signal : Tensor, shape (n, n_channels, n_times), float32
        mask_noise : Tensor, shape (n, n_tokens), uniform
            The draw of the masking; given, so that a step is a pure function.
        mask_ratio : float
            Part of the tokens to hide; nothing hidden gives a loss of 0.

        Returns
        -------
        Masked
            Its loss is the squared error, meaned within each token, then over hidden tokens.
        """
        return self.reconstruct(signal, self.encode(signal, mask_noise, mask_ratio=mask_ratio))

    def reconstruct(self, signal: Tensor, latent: Latent) -> Masked:
        """Predict a signal from its encoded visible tokens; as `forward`."""
        prediction = self.decode(latent)
        error = (prediction - self.patchify(signal)).square().mean(dim=-1)
        # clamp: where nothing is hidden the sum is 0, not 0/0.
        loss = (error * latent.mask).sum() / latent.mask.sum().clamp(min=1)
        return Masked(loss, prediction, latent.mask)
