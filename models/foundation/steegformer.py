"""ST-EEGFormer (Yang et al., ICLR 2026): patches of an eighth of a second, 128 Hz.

Read in the layout of its authors (github.com/LiuyinYang1101/STEEGFormer, `checkpoint-*.pth`) and of
braindecode (huggingface.co/braindecode/STEEGFormer-small and its larger ones with 145 places).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from models.checkpoints import shape_of
from models.foundation.blocks import EPS, Block
from models.foundation.network import EegNetwork, n_layers, renamed, waves

_SITES = (
    "C1 Pz C4 F6 FTT8h Oz Fp1 FCC5h TPP8h CPP6h C2 F4 OI2h AF4 FCz CCP6h TP8 POO10h FC1 FC6 C5 P8 "
    "FT8 P6 P9 Fz AFF1 TPP10h AFF2 P10 CPP2h M1 FCC6h FTT7h FC2 PPO2 AFp3h AF7 PO10 AF8 CPP1h P7 "
    "F1 AFp4h PO9 FT9 CP2 Iz FCC1h FC5 T5 CP5 CP6 FFC5h F2 M2 POO9h AFF5h PO4 POO3h Fp2 T3 CP4 POz "
    "TTP7h T7 A2 CCP4h T8 PPO10h FC3 F3 F5 A1 P3 FC4 FCC2h FFC6h FFT8h CCP2h CPP4h T6 FTT9h PPO6h "
    "CP3 CP1 AF3 FT10 OI1h TPP9h P5 I2 CCP1h T4 CCP3h O1 PO5 PPO9h PPO5h P1 AFz PO6 PO3 O2 CPP5h "
    "FFC1h FCC4h FFT7h FFC2h FFC4h Cz TP7 Fpz FTT10h PO7 CPP3h P4 P2 F8 CPz FCC3h FFC3h FT7 I1 "
    "TTP8h AFF6h CCP5h C6 PPO1 PO8 C3 POO4h TPP7h F7 T9 TP9 T10 TP10 POO1 POO2 PPO1h PPO2h"
)
"""Electrodes in the order of the rows of its places, as its authors' example prints them."""
_PLACES = "enc_channel_emd.channel_transformation.weight"
_RULES = {
    "cls_token": "cls_token",
    r"patch_embed\.proj\.(\w+)": r"patch_embed.proj.\1",
    r"enc_channel_emd\.channel_transformation\.weight": _PLACES,
    r"channel_pos\.embedding\.weight": _PLACES,
    r"(?:fc_)?norm\.(\w+)": r"norm.\1",
    r"(blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.\w+)": r"\1",
    r"encoder\.(\d+)\.0\.fn\.0\.(\w+)": r"blocks.\1.norm1.\2",
    r"encoder\.(\d+)\.1\.fn\.0\.(\w+)": r"blocks.\1.norm2.\2",
    r"encoder\.(\d+)\.0\.fn\.1\.(queries|keys|values)\.(\w+)": r"blocks.\1.attn.\2.\3",
    r"encoder\.(\d+)\.0\.fn\.1\.projection\.(\w+)": r"blocks.\1.attn.proj.\2",
    r"encoder\.(\d+)\.1\.fn\.1\.0\.(\w+)": r"blocks.\1.mlp.fc1.\2",
    r"encoder\.(\d+)\.1\.fn\.1\.3\.(\w+)": r"blocks.\1.mlp.fc2.\2",
}
HEAD = 64
"""Numbers a head, in each of the published sizes."""


class _Project(nn.Module):
    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(patch, width)


class _Places(nn.Module):
    def __init__(self, n_places: int, width: int) -> None:
        super().__init__()
        self.channel_transformation = nn.Embedding(n_places, width)


class SteegFormer(EegNetwork):
    """The encoder of the masked autoencoder, without its decoder."""

    title: ClassVar[str] = "ST-EEGFormer"
    sfreq: ClassVar[float] = 128.0
    sites = tuple(_SITES.split())

    def __init__(
        self, *, patch: int, width: int, n_blocks: int, hidden: int, n_places: int
    ) -> None:
        super().__init__()
        self.patch, self.step, self.width = patch, patch, width
        self.patch_embed = _Project(patch, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.enc_channel_emd = _Places(n_places, width)
        n_heads = max(1, width // HEAD)
        self.blocks = nn.ModuleList(
            Block(width, n_heads, hidden, has_scale=False) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width, eps=EPS)

    @classmethod
    def build(cls, state: Mapping[str, Tensor]) -> Self:
        """See the base class."""
        width, patch = shape_of(state, "patch_embed.proj.weight", "width, patch")
        n_places = shape_of(state, _PLACES, "n_places, width")[0]
        if n_places < len(cls.sites):
            raise ValueError(f"{n_places} places for {len(cls.sites)} electrodes")
        return cls(
            patch=patch,
            width=width,
            n_blocks=n_layers(state, "blocks."),
            hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
            n_places=n_places,
        )

    @classmethod
    def rename(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the base class; three matrices of an attention become the one that they were."""
        found = renamed(state, _RULES, wanted=_PLACES)
        for number in range(n_layers(found, "blocks.")):
            for kind in ("weight", "bias"):
                names = [f"blocks.{number}.attn.{p}.{kind}" for p in ("queries", "keys", "values")]
                if all(name in found for name in names):
                    parts = [found.pop(name) for name in names]
                    found[f"blocks.{number}.attn.qkv.{kind}"] = torch.cat(parts)
        return found

    def scaled(self, data: Tensor) -> Tensor:
        """Each channel standardised over the window."""
        data = data - data.mean(dim=2, keepdim=True)
        return data / data.std(dim=2, keepdim=True, correction=0).clamp_min(1e-6)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """See the base class; tokens come patch by patch."""
        n, n_channels, n_patches, _ = patches.shape
        moments = waves(n_patches + 1, self.width).to(patches)
        tokens = self.patch_embed.proj(patches.transpose(1, 2))
        place = self.enc_channel_emd.channel_transformation(places)
        tokens = tokens + moments[1:, None] + place
        first = (self.cls_token + moments[0]).expand(n, -1, -1)
        tokens = torch.cat([first, tokens.reshape(n, n_patches * n_channels, -1)], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.norm(tokens)[:, 1:]
        return found
