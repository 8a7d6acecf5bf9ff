"""A toy DreamDiffusion: random weights at toy size, written as its authors write theirs.

Owns the sizes and the file; loading goes the way of real weights (a `checkpoint.pth` in CompVis
naming, our importer, diffusers' layout), so that a session on it runs the real code. Its pictures
mean nothing.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from configs.published import ConditionConfig, MaskedAutoencoderConfig
from models.dreamdiffusion.folder import HOME
from models.dreamdiffusion.importing import PREPROCESSING
from models.latent_diffusion.folder import Sizes, make_stage, make_time_condition
from models.latent_diffusion.model import LatentDiffusion
from models.latent_diffusion.toys import cached_toy, save_checkpoint, small_unet

SIDE = 64
NUM_HEADS = 4
ENCODER = MaskedAutoencoderConfig(
    n_channels=16, n_times=128, embed_dim=32, depth=2, num_heads=NUM_HEADS
)
CONDITION = ConditionConfig(
    context_tokens=77, context_dim=32, time_embed_dim=256, image_embed_dim=16
)


def make_toy(*, seed: int = 0) -> LatentDiffusion:
    """Build the toy with seeded random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = small_unet(n_channels=4, context_dim=CONDITION.context_dim, num_heads=NUM_HEADS)
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
    save_checkpoint(make_toy(seed=seed), path)


def toy_folder() -> Path:
    """The toy in the user's cache, made where it is not there yet."""
    return cached_toy(
        HOME,
        write_checkpoint,
        num_heads=NUM_HEADS,
        encoder_heads=NUM_HEADS,
        preprocessing=PREPROCESSING | {"side": SIDE},
    )
