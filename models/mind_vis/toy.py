"""A toy MinD-Vis: random weights at toy size, written as its authors write theirs.

Owns the sizes and the file; loading goes the way of real weights (a `finetuned.pth` in CompVis
naming, our importer, diffusers' layout), so that a session on it runs the real code. It reads
4,643 voxels, as many as person 3 of GOD has in the visual cortex, and draws other counts together.
Its pictures mean nothing. Contrast, Attend and Diffuse, which has the same networks, shares it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import platformdirs
import torch
from diffusers import UNet2DConditionModel, VQModel

from configs.published import ConditionConfig, MaskedAutoencoderConfig
from models.checkpoints import load_checkpoint
from models.latent_diffusion.folder import (
    Home,
    Sizes,
    make_stage,
    make_time_condition,
    save_model,
)
from models.latent_diffusion.importing import export_latent_diffusion, import_latent_diffusion
from models.latent_diffusion.model import LatentDiffusion
from models.latent_diffusion.published_files import unwrap
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
_VERSION = 1


def make_toy(*, seed: int = 0, encoder: MaskedAutoencoderConfig = ENCODER) -> LatentDiffusion:
    """Build the toy with seeded random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            in_channels=3,
            out_channels=3,
            block_out_channels=(64, 64),
            layers_per_block=1,
            cross_attention_dim=CONDITION.context_dim,
            attention_head_dim=NUM_HEADS,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            class_embed_type="identity",
        )
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
    path.parent.mkdir(parents=True, exist_ok=True)
    state = export_latent_diffusion(make_toy(seed=seed))
    torch.save({"model_state_dict": state, "state": torch.get_rng_state()}, path)


def toy_folder(home: Home) -> Path:
    """The toy of a system in the user's cache, made where it is not there yet."""
    cache = platformdirs.user_cache_path("phosphene", appauthor=False) / "toys"
    folder = cache / f"{home.system}-{_VERSION}"
    if (folder / "hashes.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    checkpoint = folder / "finetuned.pth"
    write_checkpoint(checkpoint)
    state = unwrap(load_checkpoint(checkpoint))
    model = import_latent_diffusion(
        state, num_heads=NUM_HEADS, encoder_heads=ENCODER_HEADS, betas=MINDVIS
    )
    checkpoint.unlink()
    save_model(model, folder, home, preprocessing=preprocessing(side=SIDE) | {"resamples": True})
    return folder
