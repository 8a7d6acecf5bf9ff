"""What the published encoders have in common: patches of time in, one token a channel and patch.

Owns the abstract class and how many layers a state has. Sizes are read from the tensors, so that
small checkpoints of the same layout load as well as the published ones.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from models.checkpoints import CheckpointError


class EegNetwork(nn.Module, ABC):
    """A pretrained encoder of EEG.

    Class attributes: `title` for people, `sfreq` in Hz that it was trained at. `sites` are
    electrodes by name in the order of what it learnt of each (empty: any channels), or, where it
    `is_bipolar`, differences of two (`P7-O1`). `patch` is its samples a token, `step` those
    between the starts of two.
    """

    title: ClassVar[str]
    sfreq: ClassVar[float]
    is_bipolar: ClassVar[bool] = False
    sites: tuple[str, ...] = ()
    patch: int
    step: int
    width: int

    @classmethod
    @abstractmethod
    def build(cls, state: Mapping[str, Tensor]) -> Self:
        """Make one of the sizes of `state`, which `rename` gave; its numbers are not read."""

    @classmethod
    @abstractmethod
    def rename(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take the encoder's tensors out of a published state, whoever wrote it.

        Raises `CheckpointError` for another network's.
        """

    @abstractmethod
    def scaled(self, data: Tensor) -> Tensor:
        """Microvolts (n, n_channels, n_times) in the units that it was trained with."""

    @abstractmethod
    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """Tokens (n, n_tokens, width) of (n, n_channels, n_patches, patch).

        `places` (n_channels,) are rows of `sites`; they mean nothing where there are none.
        """


def renamed(
    state: Mapping[str, Tensor], rules: Mapping[str, str], *, wanted: str
) -> dict[str, Tensor]:
    """Tensors whose names match a pattern whole, under the names that it says."""
    compiled = [(re.compile(pattern), name) for pattern, name in rules.items()]
    found = {}
    for name, tensor in state.items():
        for pattern, new in compiled:
            if match := pattern.fullmatch(name):
                found[match.expand(new)] = tensor
                break
    if wanted not in found:
        raise CheckpointError(
            f"the checkpoint has no {wanted} (it has {', '.join(list(state)[:4]) or 'nothing'}): "
            "it is another network's."
        )
    return found


def n_layers(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered layers a state has below `prefix`."""
    below = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
    return len({name.partition(".")[0] for name in below})


def waves(n_positions: int, width: int) -> Tensor:
    """Sines and cosines by position, (n_positions, width)."""
    position = torch.arange(n_positions)[:, None].float()
    rate = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    return torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=2).flatten(1)
