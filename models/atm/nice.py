"""NICE, the ancestor of ATM-S (Song et al., ICLR 2024, arXiv 2308.13234).

Owns its network. Its gallery holds class centres of
*other* pictures of the test concepts, so its figures and those of ATM-S do not compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn

from models.atm.errors import AtmError
from models.atm.layers import N_FILTERS, TemporalSpatialConvolution, n_positions, projector

_PREFIXES = {"Enc_eeg.": "enc_eeg.", "Proj_eeg.": "proj_eeg."}


@dataclass(frozen=True, slots=True)
class NiceConfig:
    """Sizes of NICE: shape of one epoch, and width of the target space (CLIP ViT-L/14)."""

    n_channels: int = 63
    n_times: int = 250
    n_features: int = 768


class NiceEncoder(nn.Module):
    """NICE's network; 768 features of CLIP ViT-L/14 as published.

    The original's image projector has parameters but returns its input; it is left out here.
    """

    def __init__(self, *, n_channels: int = 63, n_times: int = 250, n_features: int = 768) -> None:
        super().__init__()
        self.config = NiceConfig(n_channels, n_times, n_features)
        self.enc_eeg = nn.Sequential(TemporalSpatialConvolution(n_channels))
        self.proj_eeg = projector(n_positions(n_times) * N_FILTERS, n_features)
        # In no optimiser of the original: its exponential stays 1 / 0.07.
        self.register_buffer("logit_scale", torch.tensor(log(1 / 0.07)))

    logit_scale: Tensor

    def forward(self, eeg: Tensor, subject_ids: Tensor | None = None) -> Tensor:
        """Embed epochs: (n, n_channels, n_times) to (n, n_features), float32.

        `subject_ids` are taken as ATM-S takes them, and not looked at.

        Raises
        ------
        AtmError
            `eeg` has another shape than the network was built for.
        """
        del subject_ids
        expected = (self.config.n_channels, self.config.n_times)
        if tuple(eeg.shape[-2:]) != expected:
            raise AtmError(
                f"eeg has shape {tuple(eeg.shape)}, expected (n, {expected[0]}, {expected[1]}): "
                "map the montage and resample first."
            )
        return self.proj_eeg(self.enc_eeg(eeg))  # type: ignore[no-any-return]


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published state; its three parts carry the prefixes Enc_eeg., Proj_eeg., Proj_img.

    The image projector is dropped, because the original never uses it.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        for old, new in _PREFIXES.items():
            if name.startswith(old):
                renamed[new + name.removeprefix(old)] = value
    if "logit_scale" in state:
        renamed["logit_scale"] = state["logit_scale"]
    return renamed
