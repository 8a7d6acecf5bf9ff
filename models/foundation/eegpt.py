"""EEGPT (Wang et al., NeurIPS 2024): a quarter of a second at a time, summed up in a few tokens.

Read in the layout of its authors (github.com/BINE022/EEGPT, `eegpt_mcae_58chs_4s_large4E.ckpt`:
the encoder that its training calls the target) and of braindecode
(huggingface.co/braindecode/eegpt-pretrained). What is learnt for a task before the encoder
(braindecode's `chan_proj`) is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from models.checkpoints import shape_of
from models.foundation.blocks import EPS, Block
from models.foundation.network import EegNetwork, n_layers, renamed

_SITES = (
    "FP1 FPZ FP2 AF7 AF3 AF4 AF8 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 "
    "T7 C5 C3 C1 CZ C2 C4 C6 T8 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8 "
    "PO7 PO5 PO3 POZ PO4 PO6 PO8 O1 OZ O2"
)
"""Electrodes in the order of the rows of its places."""
_BLOCK = r"blocks\.(\d+)\.(norm[12]\.\w+|attn\.(?:qkv|proj)\.\w+|mlp\.fc[12]\.\w+)"
_RULES = {
    r"target_encoder\.summary_token": "summary_token",
    r"target_encoder\.patch_embed\.proj\.(\w+)": r"patch_embed.\1",
    r"target_encoder\.chan_embed\.weight": "chan_embed.weight",
    rf"target_encoder\.{_BLOCK}": r"blocks.\1.\2",
    r"target_encoder\.norm\.(\w+)": r"norm.\1",
}
N_HEADS = 8
"""In the published checkpoint."""
UNIT = 1000.0
"""Microvolts that are one in the network: its data are millivolts."""


class Eegpt(EegNetwork):
    """The encoder, without predictor and reconstructor; its features are its summary tokens'."""

    title: ClassVar[str] = "EEGPT"
    sfreq: ClassVar[float] = 256.0

    def __init__(
        self, *, patch: int, embed: int, n_blocks: int, hidden: int, n_summaries: int, n_sites: int
    ) -> None:
        super().__init__()
        self.sites = tuple(_SITES.split())
        self.patch, self.step, self.width = patch, patch // 2, n_summaries * embed
        self.patch_embed = nn.Conv2d(1, embed, (1, patch))
        self.chan_embed = nn.Embedding(n_sites, embed)
        self.summary_token = nn.Parameter(torch.zeros(1, n_summaries, embed))
        self.blocks = nn.ModuleList(
            Block(embed, N_HEADS, hidden, has_scale=False) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(embed, eps=EPS)

    @classmethod
    def build(cls, state: Mapping[str, Tensor]) -> Self:
        """See the base class."""
        _, n_summaries, embed = shape_of(state, "summary_token", "1, n_summaries, width")
        n_sites = shape_of(state, "chan_embed.weight", "n_sites, width")[0]
        if n_sites < len(_SITES.split()) or embed % N_HEADS:
            raise ValueError(f"{n_sites} places of width {embed}")
        return cls(
            patch=shape_of(state, "patch_embed.weight", "width, 1, 1, patch")[3],
            embed=embed,
            n_blocks=n_layers(state, "blocks."),
            hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
            n_summaries=n_summaries,
            n_sites=n_sites,
        )

    @classmethod
    def rename(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the base class."""
        return renamed(state, _RULES, wanted="summary_token")

    def scaled(self, data: Tensor) -> Tensor:
        """Against the mean of the channels, in millivolts."""
        return (data - data.mean(dim=1, keepdim=True)) / UNIT

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """See the base class; a token is a moment: its summaries side by side."""
        n, n_channels, n_patches, patch = patches.shape
        rows = patches.transpose(1, 2).reshape(n * n_patches, 1, n_channels, patch)
        tokens = self.patch_embed(rows).squeeze(3).transpose(1, 2) + self.chan_embed(places)
        summaries = self.summary_token.expand(n * n_patches, -1, -1)
        tokens = torch.cat([tokens, summaries], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.norm(tokens[:, n_channels:])
        return found.reshape(n, n_patches, self.width)
