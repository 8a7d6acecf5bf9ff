"""What the toys of latent diffusion share: a small U-Net, a file as authors write theirs, a cache.

Owns no sizes: those are each system's. A toy's folder is made by the way of real weights (a
checkpoint in CompVis naming, the importer, diffusers' layout), so that a session on it runs the
real code.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import platformdirs
import torch
from diffusers import UNet2DConditionModel

from models.checkpoints import load_checkpoint
from models.latent_diffusion.folder import Home, save_model
from models.latent_diffusion.importing import (
    export_latent_diffusion,
    import_latent_diffusion,
)
from models.latent_diffusion.model import LatentDiffusion
from models.latent_diffusion.published_files import unwrap
from models.sampling.schedules import SD15

_VERSION = 1


def small_unet(*, n_channels: int, context_dim: int, num_heads: int) -> UNet2DConditionModel:
    """A conditional U-Net of two levels with random weights."""
    return UNet2DConditionModel(
        in_channels=n_channels,
        out_channels=n_channels,
        block_out_channels=(64, 64),
        layers_per_block=1,
        cross_attention_dim=context_dim,
        attention_head_dim=num_heads,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        class_embed_type="identity",
    )


def save_checkpoint(model: LatentDiffusion, path: Path) -> None:
    """Write a generation checkpoint in the published layout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = export_latent_diffusion(model)
    torch.save({"model_state_dict": state, "state": torch.get_rng_state()}, path)


def cached_toy(
    home: Home,
    write: Callable[[Path], None],
    *,
    num_heads: int,
    encoder_heads: int,
    preprocessing: dict[str, Any],
    betas: Mapping[str, float] = SD15,
) -> Path:
    """The toy of a system in the user's cache, made where it is not there yet."""
    cache = platformdirs.user_cache_path("phosphene", appauthor=False) / "toys"
    folder = cache / f"{home.system}-{_VERSION}"
    if (folder / "hashes.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    checkpoint = folder / "checkpoint.pth"
    write(checkpoint)
    state = unwrap(load_checkpoint(checkpoint))
    model = import_latent_diffusion(
        state, num_heads=num_heads, encoder_heads=encoder_heads, betas=betas
    )
    checkpoint.unlink()
    save_model(model, folder, home, preprocessing=preprocessing)
    return folder
