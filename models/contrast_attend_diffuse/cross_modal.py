"""Phase 2: an fMRI and an image autoencoder that attend to each other's tokens.

Owns the cross-modal layers and the two branches; the autoencoders are the family's and
transformers' ViT-MAE. Knows nothing of data or of files. Sun et al., arXiv 2305.17214; He et al.,
arXiv 2111.06377.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.masked_autoencoder import MaskedAutoencoder
from models.masked_autoencoder.network import Latent, Masked

N_CROSS_LAYERS = 3
_EPS = 1e-12
"""Of the norms in ViT-MAE's layers."""


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, tokens: Tensor, support: Tensor) -> Tensor:
        query, key, value = (
            layer(given).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, given in (
                (self.query, tokens),
                (self.key, support),
                (self.value, support),
            )
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return torch.as_tensor(self.out(mixed.transpose(1, 2).flatten(2)))


class CrossLayer(nn.Module):
    """A ViT layer in which self-attention is followed by attention to another modality's tokens.

    As published: one norm stands before both attentions, and no residual between them.
    """

    def __init__(self, dim: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.norm_before = nn.LayerNorm(dim, eps=_EPS)
        self.attention = _Attention(dim, num_heads)
        self.cross_attention = _Attention(dim, num_heads)
        self.norm_after = nn.LayerNorm(dim, eps=_EPS)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor, support: Tensor) -> Tensor:
        """Tokens (n, length, dim) that have attended to `support` (n, any, dim)."""
        own = self.norm_before(tokens)
        query = self.norm_before(self.attention(own, own))
        tokens = tokens + self.cross_attention(query, support)
        hidden = functional.gelu(self.fc1(self.norm_after(tokens)))
        return torch.as_tensor(tokens + self.fc2(hidden))


class CrossStack(nn.Module):
    """Cross-modal layers one after another."""

    def __init__(self, dim: int, num_heads: int, hidden: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossLayer(dim, num_heads, hidden) for _ in range(n_layers))

    def forward(self, tokens: Tensor, support: Tensor) -> Tensor:
        """Tokens (n, length, dim) that have attended to `support` layer by layer."""
        for layer in self.layers:
            tokens = layer(tokens, support)
        return tokens


class FmriBranch(nn.Module):
    """The fMRI autoencoder, whose visible tokens may attend to a picture's.

    Parameters
    ----------
    autoencoder : MaskedAutoencoder
    dim, num_heads, hidden : int
        Of the image encoder's layers.
    """

    def __init__(
        self,
        autoencoder: MaskedAutoencoder,
        *,
        dim: int,
        num_heads: int,
        hidden: int,
        n_layers: int = N_CROSS_LAYERS,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        width = autoencoder.config.embed_dim
        self.map_in, self.map_out = nn.Linear(width, dim), nn.Linear(dim, width)
        self.cross = CrossStack(dim, num_heads, hidden, n_layers)

    def encode(
        self, signal: Tensor, mask_noise: Tensor, *, mask_ratio: float, support: Tensor | None
    ) -> Latent:
        """Encode visible tokens; without `support` the cross-modal part is left out."""
        return self.autoencoder.encode(
            signal, mask_noise, mask_ratio=mask_ratio, attend=self._attending(support)
        )

    def _attending(self, support: Tensor | None) -> Callable[[Tensor], Tensor]:
        def attend(tokens: Tensor) -> Tensor:
            if support is None:
                return tokens
            mapped = self.map_in(tokens)
            # A residual over all layers, which the image branch has not.
            return torch.as_tensor(self.map_out(mapped + self.cross(mapped, support)))

        return attend

    def forward(
        self,
        signal: Tensor,
        mask_noise: Tensor,
        *,
        mask_ratio: float = 0.75,
        support: Tensor | None = None,
    ) -> Masked:
        """Hide, encode beside a picture's tokens (n, any, dim), predict; as the autoencoder."""
        latent = self.encode(signal, mask_noise, mask_ratio=mask_ratio, support=support)
        return self.autoencoder.reconstruct(signal, latent)


class Seen(NamedTuple):
    """What the image branch made of a batch.

    `loss` scalar over hidden patches; `prediction` (n, n_patches, pixels of a patch); `mask`
    (n, n_patches), 1 where a patch was hidden; `ids_restore` (n, n_patches) int64.
    """

    loss: Tensor
    prediction: Tensor
    mask: Tensor
    ids_restore: Tensor


class ImageBranch(nn.Module):
    """ViT-MAE, whose visible tokens may attend to an fMRI signal's.

    Parameters
    ----------
    mae : transformers.ViTMAEForPreTraining
        Taken in: its last norm stands behind the cross-modal layers from now on.
    fmri_dim : int
        Width of the fMRI tokens.
    """

    def __init__(self, mae: Any, *, fmri_dim: int, n_layers: int = N_CROSS_LAYERS) -> None:
        super().__init__()
        sizes = mae.config
        self.norm = mae.vit.layernorm
        mae.vit.layernorm = nn.Identity()
        # As in the published fork, where it is torch's default.
        mae.decoder.decoder_norm.eps = 1e-5
        self.mae = mae
        self.map_in = nn.Linear(fmri_dim, sizes.hidden_size)
        self.cross = CrossStack(
            sizes.hidden_size, sizes.num_attention_heads, sizes.intermediate_size, n_layers
        )

    def encode(
        self, pixels: Tensor, mask_noise: Tensor, *, mask_ratio: float, support: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of visible patches (CLS first), the mask, and the order to restore.

        Parameters
        ----------
        pixels : Tensor, shape (n, 3, height, width)
            Normalised as ViT-MAE expects them.
        mask_noise : Tensor, shape (n, n_patches)
            The draw of the masking; with nothing hidden it only shuffles.
        support : Tensor, shape (n, any, fmri_dim), optional
            fMRI tokens to attend to.
        """
        # transformers takes it from its settings at each call.
        self.mae.vit.embeddings.config.mask_ratio = mask_ratio
        made = self.mae.vit(pixels, noise=mask_noise)
        tokens = made.last_hidden_state
        if support is not None:
            tokens = self.cross(tokens, self.map_in(support))
        return self.norm(tokens), made.mask, made.ids_restore

    def forward(
        self,
        pixels: Tensor,
        mask_noise: Tensor,
        *,
        mask_ratio: float = 0.75,
        support: Tensor | None = None,
    ) -> Seen:
        """Hide, encode beside an fMRI signal's tokens, predict the pixels of each patch."""
        tokens, mask, ids_restore = self.encode(
            pixels, mask_noise, mask_ratio=mask_ratio, support=support
        )
        prediction = cast("Tensor", self.mae.decoder(tokens, ids_restore).logits)
        error = (prediction - self.mae.patchify(pixels)).square().mean(dim=-1)
        loss = (error * mask).sum() / mask.sum().clamp(min=1)
        return Seen(loss, prediction, mask, ids_restore)


def pixel_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of each sample's values in `a` and `b` (n, ...), (n,).

    The published code states one patch of the prediction against the next under this name.
    """
    a, b = (each.flatten(1) - each.flatten(1).mean(dim=1, keepdim=True) for each in (a, b))
    return functional.cosine_similarity(a, b, dim=1)
