"""CBraMod (Wang et al., ICLR 2025): attention across channels and across time, side by side.

Read in the layout of its authors (huggingface.co/weighting666/CBraMod, `pretrained_weights.pth`),
which braindecode kept (huggingface.co/braindecode/cbramod-pretrained). Any channels: where they
are it learns from their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoints import shape_of
from models.foundation.network import EegNetwork, n_layers, renamed

_TOP = r"(?:module\.)?"
_RULES = {
    rf"{_TOP}(patch_embedding\.(?:positional_encoding|proj_in|spectral_proj)\.\d\.\w+)": r"\1",
    rf"{_TOP}(encoder\.layers\.\d+\.(?:self_attn_[st]|linear[12]|norm[12])\.[\w.]+)": r"\1",
    rf"{_TOP}(proj_out\.0\.\w+)": r"\1",
}
N_HEADS = 8
UNIT = 100.0
"""Microvolts that are one in the network."""


class _Patches(nn.Module):
    """A patch's waves and its spectrum, and where it stands among its neighbours."""

    def __init__(self, patch: int, n_filters: int, width: int, n_groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, kernel, stride, padding in (
            (1, 49, 25, 24),
            (n_filters, 3, 1, 1),
            (n_filters, 3, 1, 1),
        ):
            conv = nn.Conv2d(
                inner, n_filters, (1, kernel), stride=(1, stride), padding=(0, padding)
            )
            layers += [conv, nn.GroupNorm(n_groups, n_filters), nn.GELU()]
        self.proj_in = nn.Sequential(*layers)
        self.spectral_proj = nn.Sequential(nn.Linear(patch // 2 + 1, width))
        place = nn.Conv2d(width, width, (19, 7), padding=(9, 3), groups=width)
        self.positional_encoding = nn.Sequential(place)

    def forward(self, patches: Tensor) -> Tensor:
        """Turn (n, n_channels, n_patches, patch) into tokens (n, n_channels, n_patches, width)."""
        n, n_channels, n_patches, patch = patches.shape
        waves = self.proj_in(patches.reshape(n, 1, n_channels * n_patches, patch))
        waves = waves.permute(0, 2, 1, 3).reshape(n, n_channels, n_patches, -1)
        spectrum = torch.fft.rfft(patches, dim=-1, norm="forward").abs()
        tokens = waves + self.spectral_proj(spectrum)
        place = self.positional_encoding(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        found: Tensor = tokens + place
        return found


class _Layer(nn.Module):
    """Half of the numbers attend across channels, half across time."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        half = width // 2
        self.self_attn_s = nn.MultiheadAttention(half, N_HEADS // 2, batch_first=True)
        self.self_attn_t = nn.MultiheadAttention(half, N_HEADS // 2, batch_first=True)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (n, n_channels, n_patches, width)."""
        n, n_channels, n_patches, width = tokens.shape
        across, along = self.norm1(tokens).split(width // 2, dim=3)
        across = across.transpose(1, 2).reshape(n * n_patches, n_channels, -1)
        along = along.reshape(n * n_channels, n_patches, -1)
        across = self.self_attn_s(across, across, across, need_weights=False)[0]
        along = self.self_attn_t(along, along, along, need_weights=False)[0]
        across = across.reshape(n, n_patches, n_channels, -1).transpose(1, 2)
        mixed = torch.cat([across, along.reshape(n, n_channels, n_patches, -1)], dim=3)
        tokens = tokens + mixed
        hidden = functional.gelu(self.linear1(self.norm2(tokens)))
        found: Tensor = tokens + self.linear2(hidden)
        return found


class _Layers(nn.Module):
    def __init__(self, width: int, hidden: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, hidden) for _ in range(n_layers))


class CBraMod(EegNetwork):
    """The encoder with the projection of its features."""

    title: ClassVar[str] = "CBraMod"
    sfreq: ClassVar[float] = 200.0

    def __init__(
        self, *, patch: int, n_filters: int, model: int, width: int, hidden: int, n_layers: int
    ) -> None:
        super().__init__()
        self.patch, self.step, self.width = patch, patch, width
        n_groups = min(5, n_filters)
        self.patch_embedding = _Patches(patch, n_filters, model, n_groups)
        self.encoder = _Layers(model, hidden, n_layers)
        self.proj_out = nn.Sequential(nn.Linear(model, width))

    @classmethod
    def build(cls, state: Mapping[str, Tensor]) -> Self:
        """See the base class."""
        model, n_bins = shape_of(state, "patch_embedding.spectral_proj.0.weight", "width, n_bins")
        return cls(
            patch=2 * (n_bins - 1),
            n_filters=state["patch_embedding.proj_in.0.weight"].shape[0],
            model=model,
            width=state["proj_out.0.weight"].shape[0],
            hidden=state["encoder.layers.0.linear1.weight"].shape[0],
            n_layers=n_layers(state, "encoder.layers."),
        )

    @classmethod
    def rename(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the base class."""
        return renamed(state, _RULES, wanted="patch_embedding.spectral_proj.0.weight")

    def scaled(self, data: Tensor) -> Tensor:
        """See the base class."""
        return data / UNIT

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """See the base class."""
        del places
        tokens = self.patch_embedding(patches)
        for layer in self.encoder.layers:
            tokens = layer(tokens)
        found: Tensor = self.proj_out(tokens).flatten(1, 2)
        return found
