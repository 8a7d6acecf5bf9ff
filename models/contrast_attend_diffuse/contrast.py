"""Phase 1: the double-contrastive masked autoencoder.

Owns the contrastive terms and their weights; the autoencoder is the family's. Knows nothing of
data. Sun et al., arXiv 2305.17214.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.published import ContrastConfig
from models.masked_autoencoder import MaskedAutoencoder
from models.training.together import gathered

TEMPERATURE = 0.1


def info_nce(query: Tensor, key: Tensor, *, negatives: Tensor | None = None) -> Tensor:
    """Contrast each row of `query` (n, dim) with its row of `key` against others.

    Parameters
    ----------
    negatives : Tensor, shape (n, dim), optional
        What a row is told from: its rows but the own one. None: the other rows of `key`.
    """
    query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
    others = key if negatives is None else functional.normalize(negatives, dim=-1)
    own = torch.eye(len(query), dtype=torch.bool, device=query.device)
    # The own column holds the positive; of given negatives the own one goes.
    logits = torch.where(own, (query * key).sum(dim=-1)[:, None], query @ others.T)
    target = torch.arange(len(query), device=query.device)
    return functional.cross_entropy(logits / TEMPERATURE, target)


class Contrasted(NamedTuple):
    """Scalars of one batch; `contrast` is weighted within, and not yet as a whole."""

    total: Tensor
    reconstruction: Tensor
    contrast: Tensor


class DoubleContrast(nn.Module):
    """Reconstructs a signal under two masks: near itself, and near each other."""

    def __init__(self, autoencoder: MaskedAutoencoder, config: ContrastConfig) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.config = config

    def losses(
        self, signal: Tensor, noise_a: Tensor, noise_b: Tensor, *, mask_ratio: float
    ) -> Contrasted:
        """Losses from given draws of the two masks, each (n, n_tokens).

        The reconstruction counts under the first mask alone, as published.
        """
        settings = self.config
        first = self.autoencoder(signal, noise_a, mask_ratio=mask_ratio)
        made = gathered(first.prediction.flatten(1))
        given = gathered(self.autoencoder.patchify(signal).flatten(1))
        contrast = torch.zeros_like(first.loss)
        if settings.self_weight > 0:
            negatives = made if settings.negatives == "predictions" else None
            contrast = settings.self_weight * info_nce(made, given, negatives=negatives)
        if settings.cross_weight > 0:
            second = self.autoencoder(signal, noise_b, mask_ratio=mask_ratio)
            other = gathered(second.prediction.flatten(1))
            contrast = contrast + settings.cross_weight * info_nce(made, other)
            if settings.both_masks:
                contrast = contrast + settings.self_weight * info_nce(other, given)
        weight = 0.0 if settings.contrast_only else settings.reconstruction_weight
        total = weight * first.loss + settings.contrast_weight * contrast
        return Contrasted(total, first.loss, contrast)
