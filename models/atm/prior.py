"""The diffusion prior: from an EEG vector to a CLIP vector (`DiffusionPriorUNet`).

Owns the network, a U of fully connected layers over vectors, under the published names. Knows
nothing of schedules; `prior_sampling` and `stages` run it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn

from models.atm.errors import AtmError


@dataclass(frozen=True, slots=True)
class PriorConfig:
    """Sizes of the prior as published.

    `embed_dim` is the CLIP vector's width, `cond_dim` the EEG vector's (the original's default of
    42 is a leftover), `hidden_dim` the widths from the top of the U to its bottom.
    """

    embed_dim: int = 1024
    cond_dim: int = 1024
    hidden_dim: tuple[int, ...] = (1024, 512, 256, 128, 64)
    time_embed_dim: int = 512
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a U without a level."""
        object.__setattr__(self, "hidden_dim", tuple(self.hidden_dim))
        if len(self.hidden_dim) < 2:
            raise AtmError(
                f"hidden_dim is {self.hidden_dim}, expected at least two widths: "
                "the prior is a U with one level or more."
            )


class DiffusionPriorUNet(nn.Module):
    """Predicts the noise in a CLIP vector, given an EEG vector or nothing."""

    def __init__(self, config: PriorConfig | None = None) -> None:
        super().__init__()
        config = PriorConfig() if config is None else config
        self.config = config
        down = config.hidden_dim
        up = down[::-1]
        self.time_proj = Timesteps(config.time_embed_dim, True, 0)
        self.input_layer = _block(config.embed_dim, down[0])
        self.encode_time_embedding = self._time_maps(down[:-1])
        self.encode_cond_embedding = self._condition_maps(down[:-1])
        self.encode_layers = nn.ModuleList(_block(a, b, config.dropout) for a, b in pairwise(down))
        self.decode_time_embedding = self._time_maps(up[:-1])
        self.decode_cond_embedding = self._condition_maps(up[:-1])
        self.decode_layers = nn.ModuleList(_block(a, b, config.dropout) for a, b in pairwise(up))
        self.output_layer = nn.Linear(down[0], config.embed_dim)

    def _time_maps(self, widths: tuple[int, ...]) -> nn.ModuleList:
        return nn.ModuleList(TimestepEmbedding(self.config.time_embed_dim, w) for w in widths)

    def _condition_maps(self, widths: tuple[int, ...]) -> nn.ModuleList:
        return nn.ModuleList(nn.Linear(self.config.cond_dim, w) for w in widths)

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        """Predict noise.

        Parameters
        ----------
        x : Tensor, shape (n, embed_dim)
            Noisy vectors.
        t : Tensor, shape (n,) or ()
            Timesteps, 0 to 999, integer or float.
        c : Tensor, shape (n, cond_dim), or None
            Conditions; None leaves their term out.

        Returns
        -------
        Tensor, shape (n, embed_dim)
        """
        code = self.time_proj(t.reshape(-1)).to(x.dtype)
        x = self.input_layer(x)
        skips: list[Tensor] = []
        for time, condition, layer in zip(
            self.encode_time_embedding, self.encode_cond_embedding, self.encode_layers, strict=True
        ):
            skips.append(x)  # before time and condition are added, as published
            x = layer(_shift(x, time(code), condition, c))
        for time, condition, layer in zip(
            self.decode_time_embedding, self.decode_cond_embedding, self.decode_layers, strict=True
        ):
            x = layer(_shift(x, time(code), condition, c)) + skips.pop()
        return self.output_layer(x)  # type: ignore[no-any-return]


def _block(n_inputs: int, n_outputs: int, dropout: float | None = None) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Linear(n_inputs, n_outputs), nn.LayerNorm(n_outputs), nn.SiLU()]
    return nn.Sequential(*parts, *([] if dropout is None else [nn.Dropout(dropout)]))


def _shift(x: Tensor, time: Tensor, condition: nn.Module, c: Tensor | None) -> Tensor:
    return x + time if c is None else x + time + torch.as_tensor(condition(c))
