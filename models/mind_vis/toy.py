"""A toy MinD-Vis: random weights at toy size, written as its authors write theirs.

Owns the sizes and the file; loading goes the way of real weights (a `finetuned.pth` in CompVis
naming, our importer, diffusers' layout), so that a session on it runs the real code. It reads
4,643 voxels, as many as person 3 of GOD has in the visual cortex, and draws other counts together.
Its pictures mean nothing. Contrast, Attend and Diffuse, which has the same networks, shares it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import VQModel

from configs.published import ConditionConfig, MaskedAutoencoderConfig
from models.latent_diffusion.folder import Home, Sizes, make_stage, make_time_condition
from models.latent_diffusion.model import LatentDiffusion
from models.latent_diffusion.toys import cached_toy, save_checkpoint, small_unet
from models.mind_vis.data import PATCH_SIZE
from models.mind_vis.importing import NUM_HEADS, preprocessing
from models.sampling.schedules import MINDVIS

SIDE = 64
N_VOXELS = 4643
ENCODER_HEADS = 4
ENCODER = MaskedAutoencoderConfig(
    n_channels=1,
    n_times=4656,
    patch_size=PATCH_SIZE,
    embed_dim=32,
    depth=2,
    num_heads=ENCODER_HEADS,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=ENCODER_HEADS,
)
CONDITION = ConditionConfig(
    context_tokens=77, context_dim=32, time_embed_dim=256, image_embed_dim=0
)


def make_toy(*, seed: int = 0, encoder: MaskedAutoencoderConfig = ENCODER) -> LatentDiffusion:
    """Build the toy with seeded random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = small_unet(n_channels=3, context_dim=CONDITION.context_dim, num_heads=NUM_HEADS)
        vae = VQModel(
            block_out_channels=(32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            latent_channels=3,
            vq_embed_dim=3,
            num_vq_embeddings=64,
            scaling_factor=1.0,
        )
        return LatentDiffusion(
            unet=unet,
            vae=vae,
            condition_stage=make_stage(Sizes(encoder, CONDITION)),
            time_condition=make_time_condition(CONDITION),
            betas=MINDVIS,
        ).eval()


def write_checkpoint(path: Path, *, seed: int = 0) -> None:
    """Write a generation checkpoint in the published layout."""
    save_checkpoint(make_toy(seed=seed), path)


def toy_folder(home: Home) -> Path:
    """The toy of a system in the user's cache, made where it is not there yet."""
    return cached_toy(
        home,
        write_checkpoint,
        num_heads=NUM_HEADS,
        encoder_heads=ENCODER_HEADS,
        preprocessing=preprocessing(side=SIDE) | {"resamples": True},
        betas=MINDVIS,
    )
