"""CLIP's image towers as `transformers` has them, from files on this machine only.

Owns where they are looked for and how a picture is prepared (Radford et al., arXiv 2103.00020).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from torch.nn import functional

from models.api import CLIP_L_TOKENS
from models.mindeye.targets import ClipTokens
from models.stable_diffusion.libraries import quiet_libraries
from pipeline.errors import GalleryError
from pipeline.gallery.making import PictureVectors
from pipeline.values import Float32, Uint8

_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
BATCH = 16


def tower_folder(space: str) -> Path:
    """Folder where the weights of a space's image tower are looked for first."""
    data = platformdirs.user_data_path("phosphene", appauthor=False)
    return Path(data) / "image-encoders" / space


def load_tower(space: str, published: str) -> PictureVectors:
    """Load a tower from the user's data folder, else from the cache of Hugging Face.

    Raises
    ------
    GalleryError
        It is in neither place; nothing is downloaded.
    """
    from transformers import CLIPVisionModelWithProjection

    quiet_libraries()

    folder = tower_folder(space)
    source = str(folder) if folder.is_dir() else published
    try:
        tower: Any = CLIPVisionModelWithProjection.from_pretrained(
            source, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise GalleryError(
            f"the weights of {space} are not on this machine, expected {published} (config.json, "
            f"model.safetensors) in {folder}: put them there, or make the gallery without --space "
            f"{space}."
        ) from error
    return _encoder(tower, tokens=space == CLIP_L_TOKENS)


def load_tower_from(folder: Path) -> PictureVectors:
    """Load a tower from a folder in transformers' layout.

    Raises
    ------
    GalleryError
        The folder holds none.
    """
    from transformers import CLIPVisionModelWithProjection

    quiet_libraries()
    try:
        tower: Any = CLIPVisionModelWithProjection.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise GalleryError(
            f"{folder} holds no image tower of CLIP, expected config.json and model.safetensors."
        ) from error
    return _encoder(tower, tokens=False)


def _encoder(tower: Any, *, tokens: bool) -> PictureVectors:
    tower.eval()
    all_tokens = ClipTokens(tower) if tokens else None

    @torch.inference_mode()
    def encode(pictures: Uint8) -> Float32:
        rows = []
        side = int(tower.config.image_size)
        for start in range(0, len(pictures), BATCH):
            part = torch.from_numpy(pictures[start : start + BATCH]).permute(0, 3, 1, 2) / 255.0
            if all_tokens is not None:
                vectors = all_tokens(part).flatten(1)
            else:
                small = functional.interpolate(part, (side, side), mode="bicubic", antialias=True)
                vectors = tower((small.clamp(0, 1) - _MEAN) / _STD).image_embeds
            rows.append(functional.normalize(vectors.float(), dim=1))
        return np.asarray(torch.cat(rows).numpy(), dtype=np.float32)

    return encode
