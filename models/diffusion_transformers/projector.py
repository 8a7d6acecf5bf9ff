"""From a brain's vector to the tokens that a transformer reads.

Owns the network and its file, `projector/` below the generator's folder: `config.json` and
`model.safetensors`. How it is trained is `stage`'s.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from configs.guard import read_text
from models.stable_diffusion.errors import StableDiffusionError

FOLDER = "projector"
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


class ProjectorConfig(BaseModel):
    """Sizes of a projector, and what its vectors are points of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Embedding space of the vectors, as `models.api` names it."""
    n_features: int = Field(ge=1, le=65536)
    width: int = Field(ge=1, le=65536)
    """Features of a token."""
    n_tokens: int = Field(default=16, ge=1, le=512)
    rank: int = Field(default=256, ge=1, le=8192)
    """Features of a token before it is widened: most of the weights are here."""
    n_hidden: int = Field(default=1024, ge=1, le=65536)


class Projector(nn.Module):
    """Vectors (n, n_features) to tokens (n, n_tokens, width).

    A vector of zeros, which says nothing, gives learnt tokens that stand for any picture.

    Parameters
    ----------
    config : ProjectorConfig
    """

    def __init__(self, config: ProjectorConfig) -> None:
        super().__init__()
        self.config = config
        self.hidden = nn.Linear(config.n_features, config.n_hidden, bias=False)
        self.narrow = nn.Linear(config.n_hidden, config.n_tokens * config.rank, bias=False)
        self.norm = nn.RMSNorm(config.rank, eps=1e-6)
        self.wide = nn.Linear(config.rank, config.width, bias=False)
        self.rest = nn.Parameter(torch.randn(config.n_tokens, config.width) * 0.02)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project."""
        found = self.narrow(nn.functional.gelu(self.hidden(vectors)))
        found = self.norm(found.reshape(-1, self.config.n_tokens, self.config.rank))
        return torch.as_tensor(self.rest + self.wide(found))


def save_projector(projector: Projector, folder: Path) -> None:
    """Write `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _CONFIG).write_text(projector.config.model_dump_json(indent=2) + "\n", "utf-8")
    state = {name: value.detach().cpu().contiguous() for name, value in _state(projector)}
    save_file(state, folder / _WEIGHTS)


def load_projector(folder: Path, *, width: int) -> Projector:
    """Read a projector for tokens of `width` features.

    Raises
    ------
    StableDiffusionError
        A file is missing or damaged, or it is of another generator.
    """
    path = folder / _CONFIG
    try:
        config = ProjectorConfig.model_validate(json.loads(read_text(path)))
        if config.width != width:
            raise StableDiffusionError(
                f"{path} makes tokens of {config.width} features, this generator reads {width}: "
                "train one for it, or take its own."
            )
        projector = Projector(config)
        projector.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, RecursionError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        else:
            reason = " ".join(str(error).split())[:200]
        raise StableDiffusionError(
            f"{folder} holds no usable projector ({reason}): train one with `phosphene train "
            "SYSTEM projector`."
        ) from None
    return projector.eval().requires_grad_(requires_grad=False)


def files_of(folder: Path) -> tuple[Path, ...]:
    """Return what a projector's tokens depend on."""
    return folder / _CONFIG, folder / _WEIGHTS


def _state(projector: Projector) -> list[tuple[str, Tensor]]:
    return list(projector.state_dict().items())
