"""A trained or imported MindEye on disk: sizes as JSON beside safetensors, nothing to unpickle.

Owns the layout below a folder of weights: `backbone/`, `prior/`, `low_level/` (each `config.json`
and `model.safetensors`), `generator/` (Versatile Diffusion's `image_unet/`, `vae/` and
`image_encoder/` in the libraries' layouts) and `system.json`. Knows nothing of published names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import nn

from configs.guard import read_text
from configs.mindeye import BackboneConfig, LowLevelConfig, TokenPriorConfig
from configs.published import PublishedConfig
from models.api import CLIP_L_TOKENS
from models.checkpoints import load_checkpoint, load_into, save_tensors, tensors_of
from models.mindeye.backbone import Backbone
from models.mindeye.errors import MindEyeError
from models.mindeye.low_level import LowLevelNetwork
from models.mindeye.prior import TokenPrior

MODEL, CONFIG, SETTINGS = "model.safetensors", "config.json", "system.json"
BACKBONE, PRIOR, LOW_LEVEL = "backbone", "prior", "low_level"
UNET, VAE, TOWER = "generator/image_unet", "generator/vae", "generator/image_encoder"
SOURCES = {
    BACKBONE: "the backbone: train it with `phosphene train mindeye high-level`, or import "
    "prior_257_final_subj01_bimixco_softclip_byol/last.pth of its authors with `phosphene import "
    "mindeye`",
    PRIOR: "the diffusion prior, which comes with the backbone",
    LOW_LEVEL: "the low-level network: train it with `phosphene train mindeye low-level`, or "
    "import autoencoder_subj01_4x_locont_no_reconst/epoch120.pth with `phosphene import mindeye`",
}
"""What belongs at each place below a folder of weights."""

DRAWING_SOURCE = (
    "its image path: `phosphene import mindeye FOLDER` with the folder of "
    "huggingface.co/shi-labs/versatile-diffusion"
)

_Config = TypeVar("_Config", bound=PublishedConfig)
_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the parts are run: `system.json`; a field that it lacks is as published.

    Attributes
    ----------
    space : str
        Of the tokens that are predicted.
    has_prior, has_low_level : bool
        Whether those parts are there.
    n_samples : int
        Pictures that are drawn of one scan, of which the best is kept. Published: 16, at 17 steps
        each; 1 draws one and selects none.
    strength : float
        Part of the way that is drawn where the low-level picture begins it.
    guidance_scale : float
    size : int
        Side of a picture, pixels.
    clip_normalised_img2img : bool
        The original's fault: the low-level picture is prepared for CLIP instead of the
        autoencoder.
    vector_norm : float
        Length of the vectors that are ranked.
    pools_voxels : bool
        Whether scans of any count of voxels are averaged to the backbone's: of the toy alone,
        which has learnt nothing of any voxel.
    """

    space: str = CLIP_L_TOKENS
    has_prior: bool = True
    has_low_level: bool = False
    n_samples: int = 1
    strength: float = 0.85
    guidance_scale: float = 3.5
    size: int = 512
    clip_normalised_img2img: bool = False
    vector_norm: float = 1.0
    pools_voxels: bool = False


def load_settings(folder: Path) -> Settings:
    """Read `system.json`.

    Raises
    ------
    MindEyeError
        It is not JSON or has a field that is unknown.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return Settings()
    try:
        settings = replace(Settings(), **json.loads(read_text(path)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise MindEyeError(f"{path} cannot be used ({error}): mend or delete it.") from None
    if settings.n_samples < 1 or not 0 < settings.strength <= 1 or settings.size % 8:
        raise MindEyeError(
            f"{path} has n_samples {settings.n_samples}, strength {settings.strength} and size "
            f"{settings.size}, expected at least 1, above 0 to 1, and a multiple of 8: mend it."
        )
    return settings


def save_settings(folder: Path, **changes: Any) -> None:
    """Write `system.json` with some fields changed; others stay as they are there."""
    path = folder / SETTINGS
    table = json.loads(read_text(path)) if path.is_file() else {}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**table, **changes}, indent=2) + "\n", encoding="utf-8")


def save_part(folder: Path, part: str, network: nn.Module, config: PublishedConfig) -> None:
    """Write one network and its sizes."""
    save_tensors(folder / part / MODEL, network.state_dict())
    (folder / part / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_backbone(folder: Path) -> Backbone:
    """Read the backbone, ready to run, in the precision of its file.

    Raises
    ------
    MindEyeError, CheckpointError
        A file is missing or damaged: which, where it comes from and where it belongs.
    """
    return _load(folder, BACKBONE, BackboneConfig, Backbone)


def load_prior(folder: Path) -> TokenPrior:
    """Read the prior; as `load_backbone`."""
    return _load(folder, PRIOR, TokenPriorConfig, TokenPrior)


def load_low_level(folder: Path) -> LowLevelNetwork:
    """Read the low-level network; as `load_backbone`."""
    return _load(folder, LOW_LEVEL, LowLevelConfig, LowLevelNetwork)


def _load(
    folder: Path, part: str, kind: type[_Config], build: Callable[[_Config], _Network]
) -> _Network:
    config = read_sizes(folder, part, kind)
    path = folder / part / MODEL
    state = tensors_of(load_checkpoint(require(path, part)))
    # Without storage of its own: the file's tensors are taken as they are, or a network of
    # gigabytes would be there twice.
    with torch.device("meta"):
        network = build(config)
    load_into(network, state, what=str(path), assign=True)
    return network.eval().requires_grad_(False)


def read_sizes(folder: Path, part: str, kind: type[_Config]) -> _Config:
    """Read a part's `config.json`.

    Raises
    ------
    MindEyeError
        Missing, or it describes something else.
    """
    path = require(folder / part / CONFIG, part)
    try:
        return kind.model_validate_json(read_text(path))
    except (OSError, ValidationError, RecursionError) as error:
        reason = " ".join(str(error).split()[:20])
        raise MindEyeError(f"{path} describes no {part} ({reason}).") from None


def require(path: Path, part: str) -> Path:
    """Return `path` where it exists.

    Raises
    ------
    MindEyeError
        Says which file is missing, where it comes from and where it belongs.
    """
    if not path.is_file():
        raise MindEyeError(f"{path} is missing, expected {SOURCES[part]}; put it there.")
    return path
