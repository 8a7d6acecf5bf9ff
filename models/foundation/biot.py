"""BIOT (Yang et al., NeurIPS 2023): spectra of differences between neighbouring electrodes.

Read in the layout of its authors (github.com/ycq091044/BIOT, `EEG-*-channels.ckpt`) and of
braindecode (huggingface.co/braindecode/biot-pretrained-prest-16chs and its two siblings). It knows
the sixteen pairs of the longitudinal ("double banana") montage, and in the larger ones two against
the ears; a cap with fewer than two of these pairs is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoints import shape_of
from models.foundation.network import EegNetwork, n_layers, renamed, waves

_SITES = (
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 "
    "C4-P4 P4-O2 C3-A2 C4-A1"
)
"""Pairs in the order of the rows of its channel tokens."""
_TOP = r"(?:encoder\.|biot\.)?"
_LAYER = rf"{_TOP}transformer\.layers\.layers\.(\d+)"
_RULES = {
    rf"{_TOP}patch_embedding\.projection\.(\w+)": r"projection.\1",
    rf"{_TOP}channel_tokens\.weight": "channel_tokens.weight",
    rf"{_LAYER}\.0\.norm\.(\w+)": r"blocks.\1.norm1.\2",
    rf"{_LAYER}\.1\.norm\.(\w+)": r"blocks.\1.norm2.\2",
    rf"{_LAYER}\.0\.fn\.(to_(?:q|k|v|out)\.\w+)": r"blocks.\1.\2",
    rf"{_LAYER}\.1\.fn\.fn\.(w[12]\.\w+)": r"blocks.\1.\2",
}
N_HEADS = 8
"""In each of the published checkpoints."""


class _Layer(nn.Module):
    """Attention whose cost grows with the number of tokens, not with its square."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Linear(width, width)
        self.w1, self.w2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (n, n_tokens, width)."""
        n, n_tokens, width = tokens.shape
        before = self.norm1(tokens)
        query, key, value = (
            each(before).reshape(n, n_tokens, N_HEADS, -1).transpose(1, 2)
            for each in (self.to_q, self.to_k, self.to_v)
        )
        query = query.softmax(dim=-1) * (width // N_HEADS) ** -0.5
        mixed = query @ (key.softmax(dim=-2).transpose(-1, -2) @ value)
        tokens = tokens + self.to_out(mixed.transpose(1, 2).reshape(n, n_tokens, width))
        found: Tensor = tokens + self.w2(functional.gelu(self.w1(self.norm2(tokens))))
        return found


class Biot(EegNetwork):
    """The encoder, without its heads."""

    title: ClassVar[str] = "BIOT"
    sfreq: ClassVar[float] = 200.0
    is_bipolar: ClassVar[bool] = True

    def __init__(self, *, patch: int, width: int, n_blocks: int, hidden: int, n_sites: int) -> None:
        super().__init__()
        self.patch, self.step, self.width = patch, patch // 2, width
        self.sites = tuple(_SITES.split())[:n_sites]
        self.projection = nn.Linear(patch // 2 + 1, width)
        self.channel_tokens = nn.Embedding(n_sites, width)
        self.blocks = nn.ModuleList(_Layer(width, hidden) for _ in range(n_blocks))

    @classmethod
    def build(cls, state: Mapping[str, Tensor]) -> Self:
        """See the base class."""
        width, n_bins = shape_of(state, "projection.weight", "width, n_bins")
        n_sites = shape_of(state, "channel_tokens.weight", "n_pairs, width")[0]
        if n_sites not in (16, 18) or width % N_HEADS:
            raise ValueError(f"{n_sites} pairs of width {width}, not 16 or 18 in {N_HEADS} heads")
        return cls(
            patch=2 * (n_bins - 1),
            width=width,
            n_blocks=n_layers(state, "blocks."),
            hidden=state["blocks.0.w1.weight"].shape[0],
            n_sites=n_sites,
        )

    @classmethod
    def rename(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the base class."""
        return renamed(state, _RULES, wanted="channel_tokens.weight")

    def scaled(self, data: Tensor) -> Tensor:
        """Each pair by the 95th percentile of its size over the window."""
        size = torch.quantile(data.abs(), 0.95, dim=2, keepdim=True)
        return data / (size + 1e-8)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """See the base class; a patch is seen as its spectrum's size."""
        n, _, n_patches, _ = patches.shape
        spectrum = torch.fft.rfft(patches, dim=-1).abs()
        place = self.channel_tokens(places)[:, None]
        tokens = self.projection(spectrum) + place + waves(n_patches, self.width).to(patches)
        found: Tensor = tokens.reshape(n, -1, self.width)
        for block in self.blocks:
            found = block(found)
        return found
