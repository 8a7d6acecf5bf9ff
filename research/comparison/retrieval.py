"""How well EEG vectors find their picture: k-way retrieval.

Owns the published evaluation of ATM-S (k classes: k - 1 drawn, the true one last) and a plain
one that ranks the whole gallery. Draws are an argument, so that a figure can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.atm.errors import AtmError
from models.atm.losses import clip_loss

WAYS = (2, 4, 10, 50, 100, 200)
TOP5_WAYS = (50, 100, 200)
"""Only for these does the original count the top five; for others it reports 0."""


@dataclass(frozen=True, slots=True)
class RetrievalScore:
    """Part of the epochs whose class was first (`top1`) or among five (`top5`); chance is 1/k."""

    top1: float
    top5: float
    n_ways: int


def draw_competitors(
    labels: NDArray[np.int64], *, n_ways: int, n_classes: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw `n_ways - 1` other classes for each label without replacement, (n, n_ways - 1)."""
    if not 2 <= n_ways <= n_classes:
        raise AtmError(f"{n_ways}-way retrieval among {n_classes} classes: expected 2 to as many.")
    ranks = rng.random((len(labels), n_classes))
    ranks[np.arange(len(labels)), labels] = 2.0
    return np.argsort(ranks, axis=1)[:, : n_ways - 1]


def k_way_retrieval(
    eeg: Tensor, gallery: Tensor, labels: Tensor, competitors: Tensor
) -> RetrievalScore:
    """Rank the true class among drawn ones.

    Parameters
    ----------
    eeg : Tensor, shape (n, n_features)
    gallery : Tensor, shape (n_classes, n_features)
        L2-normalised picture vectors.
    labels : Tensor, shape (n,), int64
    competitors : Tensor, shape (n, n_ways - 1), int64
        The true class goes after them.
    """
    classes = torch.cat([competitors, labels[:, None]], dim=1)
    scores = torch.einsum("nf,nkf->nk", eeg, gallery[classes])
    n_ways = classes.shape[1]
    # The true class stands last: a tie goes to the others, never to us.
    better = (scores[:, :-1] >= scores[:, -1:]).sum(dim=1)
    top5 = (better < 5).double().mean().item() if n_ways in TOP5_WAYS else 0.0
    return RetrievalScore(top1=(better == 0).double().mean().item(), top5=top5, n_ways=n_ways)


def retrieval_loss(
    eeg: Tensor,
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor | float,
    *,
    image_weight: float = 0.99,
) -> Tensor:
    """Contrast with pictures and, a little, with texts; returns a scalar."""
    return image_weight * clip_loss(eeg, image, logit_scale) + (1 - image_weight) * clip_loss(
        eeg, text, logit_scale
    )


def published_loss(
    eeg: Tensor,
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor | float,
    *,
    batch_size: int,
) -> float:
    """Loss as the original's evaluation reports it: the mean over batches of `retrieval_loss`.

    All of shape (n, n_features): `image` and `text` belong to the rows of `eeg`.
    """
    losses = []
    for first in range(0, len(eeg), batch_size):
        rows = slice(first, first + batch_size)
        losses.append(retrieval_loss(eeg[rows], image[rows], text[rows], logit_scale).item())
    return float(np.mean(losses))
