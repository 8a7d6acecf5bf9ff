"""A toy MindEye: random weights at toy size, written as its authors write theirs.

Owns the sizes and the files; loading goes the way of real weights (`last.pth`, `epoch120.pth`,
Versatile Diffusion's folder, our importer), so that a session on it runs the real code. Its
pictures mean nothing, and its vectors are short, as those of who knows nothing are.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from configs.mindeye import BackboneConfig, LowLevelConfig, TokenPriorConfig
from models.atm.toy import UNTRAINED, toy_cache
from models.mindeye.backbone import Backbone
from models.mindeye.folder import save_settings
from models.mindeye.importing import export_low_level, export_prior
from models.mindeye.low_level import LowLevelNetwork
from models.mindeye.prior import TokenPrior
from models.mindeye.published import import_files
from models.sampling.schedules import cosine_alphas_cumprod
from models.stable_diffusion.libraries import quiet_libraries
from pipeline.gallery import SPACE, load_gallery

N_TOKENS, N_VOXELS, SIDE = 2, 64, 64
_VERSION = 1


def toy_folder() -> Path:
    """The toy in the user's cache, made where it is not there yet; in the gallery's width."""
    width = load_gallery().n_features // N_TOKENS

    def write(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            write_published(Path(scratch), width=width)
            import_files(sorted(Path(scratch).iterdir()), folder)
        save_settings(
            folder, space=SPACE, n_samples=2, size=SIDE, vector_norm=UNTRAINED, pools_voxels=True
        )

    return toy_cache(f"mindeye-{_VERSION}-{width}", write)


def write_published(folder: Path, *, width: int, seed: int = 0) -> None:
    """Write what the authors publish, at toy size: two checkpoints and Versatile Diffusion."""
    quiet_libraries()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _write_high_level(folder / "prior_257_final_toy", width)
        _write_low_level(folder / "autoencoder_toy")
        _write_versatile_diffusion(folder / "versatile-diffusion", width)


def _write_high_level(folder: Path, width: int) -> None:
    sizes = {"n_tokens": N_TOKENS, "width": width}
    backbone = Backbone(
        BackboneConfig(n_voxels=N_VOXELS, hidden=32, n_blocks=2, projector=32, **sizes)
    )
    prior = TokenPrior(TokenPriorConfig(depth=2, num_heads=2, head_dim=16, n_steps=10, **sizes))
    state = {f"voxel2clip.{name}": value for name, value in backbone.state_dict().items()}
    state |= {f"net.{name}": value for name, value in export_prior(prior).items()}
    state["noise_scheduler.alphas_cumprod"] = cosine_alphas_cumprod(prior.config.n_steps)
    folder.mkdir(parents=True)
    torch.save({"epoch": 0, "model_state_dict": state}, folder / "last.pth")


def _write_low_level(folder: Path) -> None:
    sizes = LowLevelConfig(
        n_voxels=N_VOXELS, hidden=16, n_blocks=1, side=SIDE // 32, widths=(32, 32, 32), maps=0
    )
    state = export_low_level(LowLevelNetwork(sizes))
    folder.mkdir(parents=True)
    torch.save({"model_state_dict": state}, folder / "epoch120.pth")


def _write_versatile_diffusion(folder: Path, width: int) -> None:
    unet = UNet2DConditionModel(
        sample_size=SIDE // 8,
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=2,
    )
    unet.save_pretrained(folder / "image_unet")
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=0.18215,
    )
    vae.save_pretrained(folder / "vae")
    # One patch and CLS: as many tokens as the backbone gives.
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=width,
        image_size=32,
        patch_size=32,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
