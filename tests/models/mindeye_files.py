"""Synthetic files in MindEye's published formats: NSD shards, tiny CLIP, autoencoder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL
from PIL import Image
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ConvNextConfig,
    ConvNextModel,
)

from models.stable_diffusion.libraries import quiet_libraries

N_VOXELS = 40
SIDE = 32


def add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    shard.addfile(info, io.BytesIO(data))


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def write_shard(path: Path, indices: range, *, n_voxels: int = N_VOXELS, seed: int = 0) -> None:
    """Pictures of one colour each, and voxels that are a linear code of it plus noise."""
    code = np.random.default_rng(7).normal(size=(3, n_voxels))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for i in indices:
            rng = np.random.default_rng((seed, i))
            colour = rng.uniform(0, 1, 3)
            picture = Image.new("RGB", (SIDE, SIDE), tuple(int(255 * c) for c in colour))
            stream = io.BytesIO()
            picture.save(stream, "JPEG")
            voxels = (2 * colour - 1) @ code + 0.1 * rng.normal(size=(3, n_voxels))
            key = f"sample{i:09d}"
            add(shard, f"{key}.jpg", stream.getvalue())
            add(shard, f"{key}.nsdgeneral.npy", npy(voxels.astype(np.float16)))
            add(shard, f"{key}.trial.npy", npy(np.arange(3)))
            add(shard, f"{key}.coco73k.npy", npy(np.array([i])))
            add(shard, f"{key}.num_uniques.npy", npy(np.array([3])))


def write_nsd(folder: Path, *, n_train: int = 12, n_val: int = 4) -> None:
    """Two training shards, one for validation, and the frozen networks, each tiny."""
    splits = folder / "webdataset_avg_split"
    half = n_train // 2
    write_shard(splits / "train" / "train_subj01_0.tar", range(half))
    write_shard(splits / "train" / "train_subj01_1.tar", range(half, n_train))
    write_shard(splits / "val" / "val_subj01_0.tar", range(100, 100 + n_val))
    quiet_libraries()
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=8,
        image_size=16,
        patch_size=8,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "clip-vit-large-patch14")
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.18215,
    )
    vae.save_pretrained(folder / "vae")
    maps = ConvNextConfig(hidden_sizes=[4, 8], depths=[1, 1], num_stages=2, patch_size=2)
    ConvNextModel(maps).save_pretrained(folder / "maps")
