"""From voxels to CLIP tokens: residual blocks, and a head for retrieval.

Owns the two networks of Scotti et al. (arXiv 2305.18274, section 2.1) under their published
names, so that a published state loads as it is, and the linear layer for each person that MindEye2
puts in front. Knows nothing of losses or files.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from configs.mindeye import BackboneConfig

FIRST_DROPOUT, DROPOUT = 0.5, 0.15


class BrainTokens(NamedTuple):
    """What voxels become.

    Attributes
    ----------
    tokens : Tensor, shape (n, n_tokens, width)
        The prior's condition.
    projected : Tensor, shape (n, n_tokens, width)
        Compared with CLIP tokens; the same where there is no projector.
    """

    tokens: Tensor
    projected: Tensor


class Backbone(nn.Module):
    """Voxels (n, n_voxels) to tokens."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.adapter = (
            nn.Linear(config.n_voxels, config.adapter_width) if config.adapter_width else None
        )
        given = config.adapter_width or config.n_voxels
        self.lin0 = _layer(given, config, dropout=FIRST_DROPOUT)
        self.mlp = nn.ModuleList(
            _layer(config.hidden, config, dropout=DROPOUT) for _ in range(config.n_blocks)
        )
        self.lin1 = nn.Linear(config.hidden, config.n_tokens * config.width)
        self.projector = _projector(config) if config.projector else None

    def for_person(self, n_voxels: int) -> Backbone:
        """The same networks behind a fresh linear layer for another person's voxels.

        MindEye2 (Scotti et al., arXiv 2403.11207): the shared part reads what the layer gives, of
        the width that it read before.
        """
        width = self.config.adapter_width or self.config.n_voxels
        changes = {"n_voxels": n_voxels, "adapter_width": width}
        with torch.device("meta"):
            made = Backbone(self.config.model_copy(update=changes))
        made.load_state_dict(self.state_dict(), strict=False, assign=True)
        made.adapter = nn.Linear(n_voxels, width)
        return made

    def forward(self, voxels: Tensor) -> BrainTokens:
        """Return tokens and their projection."""
        x = self.lin0(voxels if self.adapter is None else self.adapter(voxels))
        for block in self.mlp:
            x = block(x) + x
        tokens = self.lin1(x).unflatten(1, (self.config.n_tokens, self.config.width))
        return BrainTokens(tokens, tokens if self.projector is None else self.projector(tokens))


def _layer(n_features: int, config: BackboneConfig, *, dropout: float) -> nn.Sequential:
    is_batch = config.norm == "batch"
    norm = nn.BatchNorm1d(config.hidden) if is_batch else nn.LayerNorm(config.hidden)
    act = nn.ReLU() if is_batch else nn.GELU()
    order = (act, norm) if config.act_first else (norm, act)
    return nn.Sequential(nn.Linear(n_features, config.hidden), *order, nn.Dropout(dropout))


def _projector(config: BackboneConfig) -> nn.Sequential:
    width, hidden = config.width, config.projector
    parts: list[nn.Module] = []
    for given, made in ((width, hidden), (hidden, hidden), (hidden, width)):
        parts += [nn.LayerNorm(given), nn.GELU(), nn.Linear(given, made)]
    return nn.Sequential(*parts)
