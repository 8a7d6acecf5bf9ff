"""A toy DreamDiffusion: random weights at toy size, written as its authors write theirs.

Owns the sizes and the file; loading goes the way of real weights (a `checkpoint.pth` in CompVis
naming, our importer, diffusers' layout), so that a session on it runs the real code. Its pictures
mean nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import platformdirs
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from configs.published import ConditionConfig, MaskedAutoencoderConfig
from models.checkpoints import load_checkpoint
from models.dreamdiffusion.folder import HOME
from models.dreamdiffusion.importing import PREPROCESSING
from models.latent_diffusion.folder import Sizes, make_stage, make_time_condition, save_model
from models.latent_diffusion.importing import export_latent_diffusion, import_latent_diffusion
from models.latent_diffusion.model import LatentDiffusion
from models.latent_diffusion.published_files import unwrap

SIDE = 64
NUM_HEADS = 4
ENCODER = MaskedAutoencoderConfig(
    n_channels=16, n_times=128, embed_dim=32, depth=2, num_heads=NUM_HEADS
)
CONDITION = ConditionConfig(
    context_tokens=77, context_dim=32, time_embed_dim=256, image_embed_dim=16
)
_VERSION = 1


def make_toy(*, seed: int = 0) -> LatentDiffusion:
    """Build the toy with seeded random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            in_channels=4,
            out_channels=4,
            block_out_channels=(64, 64),
            layers_per_block=1,
            cross_attention_dim=CONDITION.context_dim,
            attention_head_dim=NUM_HEADS,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            class_embed_type="identity",
        )
        vae = AutoencoderKL(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            scaling_factor=0.18215,
        )
        return LatentDiffusion(
            unet=unet,
            vae=vae,
            condition_stage=make_stage(Sizes(ENCODER, CONDITION)),
            time_condition=make_time_condition(CONDITION),
        ).eval()


def write_checkpoint(path: Path, *, seed: int = 0) -> None:
    """Write a generation checkpoint in the published layout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = export_latent_diffusion(make_toy(seed=seed))
    torch.save({"model_state_dict": state, "state": torch.get_rng_state()}, path)


def toy_folder() -> Path:
    """The toy in the user's cache, made where it is not there yet."""
    cache = platformdirs.user_cache_path("phosphene", appauthor=False) / "toys"
    folder = cache / f"dreamdiffusion-{_VERSION}"
    if (folder / "hashes.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    checkpoint = folder / "checkpoint.pth"
    write_checkpoint(checkpoint)
    state = unwrap(load_checkpoint(checkpoint))
    model = import_latent_diffusion(state, num_heads=NUM_HEADS, encoder_heads=NUM_HEADS)
    checkpoint.unlink()
    save_model(model, folder, HOME, preprocessing=PREPROCESSING | {"side": SIDE})
    return folder
