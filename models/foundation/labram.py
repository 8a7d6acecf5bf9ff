"""LaBraM (Jiang et al., ICLR 2024): patches of one second, a place learnt for each electrode.

Read in the layout of its authors (github.com/935963004/LaBraM, `labram-base.pth`) and of
braindecode (huggingface.co/braindecode/labram-pretrained).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoints import shape_of
from models.foundation.blocks import EPS, Block
from models.foundation.network import EegNetwork, n_layers, renamed

_SITES = (
    "FP1 FPZ FP2 AF9 AF7 AF5 AF3 AF1 AFZ AF2 AF4 AF6 AF8 AF10 F9 F7 F5 F3 F1 FZ F2 F4 F6 F8 F10 "
    "FT9 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 FT10 T9 T7 C5 C3 C1 CZ C2 C4 C6 T8 T10 TP9 TP7 CP5 "
    "CP3 CP1 CPZ CP2 CP4 CP6 TP8 TP10 P9 P7 P5 P3 P1 PZ P2 P4 P6 P8 P10 PO9 PO7 PO5 PO3 PO1 POZ "
    "PO2 PO4 PO6 PO8 PO10 O1 OZ O2 O9 CB1 CB2 IZ O10"
)
"""Electrodes in the order of the rows of its places; 40 rows after them have none on the head."""
_BLOCK = r"blocks\.(\d+)\.(norm[12]\.\w+|attn\.\w+\.\w+|gamma_[12]|mlp\.fc[12]\.\w+)"
_RULES = {
    r"(?:student\.)?cls_token": "cls_token",
    r"(?:student\.)?pos_embed": "pos_embed",
    r"(?:student\.)?time_embed": "time_embed",
    r"position_embedding": "pos_embed",
    r"temporal_embedding": "time_embed",
    r"(?:student\.)?patch_embed\.(?:temporal_conv\.)?((?:conv|norm)[123]\.\w+)": r"patch_embed.\1",
    rf"(?:student\.)?{_BLOCK}": r"blocks.\1.\2",
    r"blocks\.(\d+)\.mlp\.0\.(\w+)": r"blocks.\1.mlp.fc1.\2",
    r"blocks\.(\d+)\.mlp\.2\.(\w+)": r"blocks.\1.mlp.fc2.\2",
    r"(?:student\.)?(?:fc_)?norm\.(\w+)": r"norm.\1",
}
UNIT = 100.0
"""Microvolts that are one in the network."""


class _Patches(nn.Module):
    """Three convolutions over the samples of a patch."""

    def __init__(self, n_filters: int) -> None:
        super().__init__()
        n_groups = min(4, n_filters)
        self.conv1 = nn.Conv2d(1, n_filters, (1, 15), stride=(1, 8), padding=(0, 7))
        self.conv2 = nn.Conv2d(n_filters, n_filters, (1, 3), padding=(0, 1))
        self.conv3 = nn.Conv2d(n_filters, n_filters, (1, 3), padding=(0, 1))
        self.norm1 = nn.GroupNorm(n_groups, n_filters)
        self.norm2 = nn.GroupNorm(n_groups, n_filters)
        self.norm3 = nn.GroupNorm(n_groups, n_filters)

    def forward(self, patches: Tensor) -> Tensor:
        """Turn (n, n_patches, patch) into (n, n_patches, width)."""
        found = patches[:, None]
        for conv, norm in (
            (self.conv1, self.norm1),
            (self.conv2, self.norm2),
            (self.conv3, self.norm3),
        ):
            found = functional.gelu(norm(conv(found)))
        return found.permute(0, 2, 3, 1).flatten(2)


class Labram(EegNetwork):
    """The encoder, without its head and without what predicts codes."""

    title: ClassVar[str] = "LaBraM"
    sfreq: ClassVar[float] = 200.0
    sites = tuple(_SITES.split())

    def __init__(
        self, *, width: int, n_blocks: int, n_heads: int, hidden: int, n_filters: int, n_times: int
    ) -> None:
        super().__init__()
        # The convolutions leave every eighth sample.
        self.patch = self.step = 8 * width // n_filters
        self.width = width
        self.patch_embed = _Patches(n_filters)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 129, width))
        self.time_embed = nn.Parameter(torch.zeros(1, n_times, width))
        self.blocks = nn.ModuleList(
            Block(width, n_heads, hidden, has_scale=True) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width, eps=EPS)

    @classmethod
    def build(cls, state: Mapping[str, Tensor]) -> Self:
        """See the base class."""
        width = shape_of(state, "cls_token", "1, 1, width")[-1]
        return cls(
            width=width,
            n_blocks=n_layers(state, "blocks."),
            n_heads=width // state["blocks.0.attn.q_norm.weight"].shape[0],
            hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
            n_filters=state["patch_embed.conv1.weight"].shape[0],
            n_times=shape_of(state, "time_embed", "1, n_times, width")[1],
        )

    @classmethod
    def rename(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the base class."""
        return renamed(state, _RULES, wanted="time_embed")

    def scaled(self, data: Tensor) -> Tensor:
        """See the base class."""
        return data / UNIT

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """See the base class; a patch is a second, and no more than it knows are read."""
        n, n_channels, n_patches, _ = patches.shape
        tokens = self.patch_embed(patches.reshape(n, n_channels * n_patches, -1))
        place = self.pos_embed[0, 1 + places].repeat_interleave(n_patches, dim=0)
        moment = self.time_embed[0, :n_patches].repeat(n_channels, 1)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(n, -1, -1)
        tokens = torch.cat([first, tokens + place + moment], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.norm(tokens)[:, 1:]
        return found
