"""Everything stage B asks for, small: trials, split, pictures, Stable Diffusion, CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from models.dreamdiffusion import toy
from models.latent_diffusion.importing import export_vae, rename_unet

N_LABELS, N_IMAGES = 6, 4


def write_stage_b_files(folder: Path, *, n_channels: int) -> None:
    """Write the files under the names that they are published with."""
    _write_trials(folder, n_channels)
    # A U-Net as Stable Diffusion publishes it: without a time condition.
    state = {f"model.diffusion_model.{k}": v for k, v in _toy_export("unet").items()}
    vae = {f"first_stage_model.{k}": v for k, v in _toy_export("vae").items()}
    torch.save({"state_dict": state | vae, "global_step": 1}, folder / "v1-5-pruned.ckpt")
    _write_clip(folder / "clip-vit-large-patch14")


def _toy_export(part: str) -> dict[str, torch.Tensor]:
    model = toy.make_toy()
    if part == "vae":
        return export_vae(model.vae)
    return rename_unet(model.unet.state_dict(), model.unet)


def _write_trials(folder: Path, n_channels: int) -> None:
    rng = np.random.default_rng(0)
    names = [f"n{label:08d}_{i}" for label in range(N_LABELS) for i in range(N_IMAGES)]
    dataset = []
    for index, name in enumerate(names):
        label = index // N_IMAGES
        wave = np.sin(np.arange(500) * (0.02 + 0.02 * label))
        eeg = wave[None] + 0.3 * rng.normal(size=(n_channels, 500))
        dataset.append(
            {
                "eeg": torch.from_numpy(eeg).float(),
                "image": index,
                "label": label,
                "subject": 4,
            }
        )
        path = folder / "imageNet_images" / name.split("_")[0] / f"{name}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(int(c) for c in np.random.default_rng(label).integers(0, 255, 3))
        Image.new("RGB", (80, 60), colour).save(path, format="JPEG")
    labels = [f"n{i:08d}" for i in range(N_LABELS)]
    content = {"dataset": dataset, "labels": labels, "images": names}
    torch.save(content, folder / "eeg_5_95_std.pth")
    order = rng.permutation(len(names)).tolist()
    split = {"train": order[:18], "val": order[18:21], "test": order[21:]}
    torch.save({"splits": [split]}, folder / "block_splits_by_image_single.pth")


def _write_clip(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="CLIP needs phosphene[published]")
    tqdm.monitor_interval = 0  # else its bar leaves a watching thread behind
    config = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=16,
    )
    torch.manual_seed(0)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
    side = {"height": 32, "width": 32}
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side)
    processor.save_pretrained(folder)
