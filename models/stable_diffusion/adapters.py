"""IP-Adapters on a U-Net: reading their file, sharing what is equal, how much each one acts.

Owns the file's naming (`image_proj.*`, `ip_adapter.*`, as h94/IP-Adapter is published) and which
vectors it takes. Knows nothing of steps or of pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers.models.attention_processor import (
    IPAdapterAttnProcessor,
    IPAdapterAttnProcessor2_0,
)
from diffusers.utils import is_accelerate_available
from torch import Tensor, nn

from models.api import CLIP_H_IMAGE
from models.checkpoints import below, load_checkpoint
from models.stable_diffusion.errors import StableDiffusionError

PROCESSORS = (IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0)
"""What an IP-Adapter puts into each cross-attention."""
CLIP_BIG_G_IMAGE = "clip-vit-bigg-14-image"
"""Space of OpenCLIP ViT-bigG/14 image vectors (1280), which `ip-adapter_sdxl` was trained on."""
SPACES = {1024: CLIP_H_IMAGE, 1280: CLIP_BIG_G_IMAGE}
"""By the width that an adapter's projection takes."""


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFile:
    """One IP-Adapter's tensors, and the width of the vectors that it takes."""

    path: Path
    projection: Mapping[str, Tensor]
    layers: Mapping[str, Tensor]
    n_features: int


def read_adapter(path: Path) -> AdapterFile:
    """Read an IP-Adapter of image vectors.

    Raises
    ------
    StableDiffusionError
        It is of another kind: patch tokens (`plus`), faces, or no adapter at all.
    CheckpointError
        The file cannot be read.
    """
    if path.suffix != ".safetensors":
        raise StableDiffusionError(
            f"{path} is no safetensors file, expected the IP-Adapter as .safetensors: "
            "huggingface.co/h94/IP-Adapter has each one so."
        )
    state = load_checkpoint(path)
    projection, layers = below(state, "image_proj."), below(state, "ip_adapter.")
    weight = projection.get("proj.weight")
    if weight is None or not layers:
        raise StableDiffusionError(
            f"{path} holds no IP-Adapter of image vectors (image_proj.proj.weight, ip_adapter.*), "
            "expected ip-adapter_sd15 or ip-adapter_sdxl_vit-h of huggingface.co/h94/IP-Adapter "
            "(its `plus` and `faceid` kinds take patches and faces, which no encoder here gives)."
        )
    return AdapterFile(path, projection, layers, int(weight.shape[1]))


def attach(unet: Any, adapter: AdapterFile, *, copies: int) -> None:
    """Put `copies` of one adapter into a U-Net; they are one in memory.

    Raises
    ------
    StableDiffusionError
        It was made for another U-Net.
    """
    state = {"image_proj": dict(adapter.projection), "ip_adapter": dict(adapter.layers)}
    try:
        # As its pipeline calls it: tensors copied to another place in memory round otherwise.
        unet._load_ip_adapter_weights(  # noqa: SLF001
            [state] * copies, low_cpu_mem_usage=is_accelerate_available()
        )
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()[:30])
        raise StableDiffusionError(
            f"{adapter.path} does not fit this U-Net ({reason}): ip-adapter_sd15 is for Stable "
            "Diffusion 1.x, ip-adapter_sdxl_vit-h for XL."
        ) from None
    share(unet)


def share(unet: Any) -> int:
    """Keep equal modules of several adapters once; returns how many were given up.

    Five copies of one file are five times its image projection, its keys and its values.
    """
    rows = [unet.encoder_hid_proj.image_projection_layers]
    for processor in unet.attn_processors.values():
        if isinstance(processor, PROCESSORS):
            rows += [processor.to_k_ip, processor.to_v_ip]
    return sum(_share(row) for row in rows)


def _share(row: nn.ModuleList) -> int:
    n_shared = 0
    for place in range(1, len(row)):
        if _are_equal(row[0], row[place]):
            row[place] = row[0]
            n_shared += 1
    return n_shared


def _are_equal(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(ours[k].equal(theirs[k]) for k in ours)


def layer_names(unet: Any) -> list[str]:
    """Cross-attention layers that adapters act in."""
    return [name for name, value in unet.attn_processors.items() if isinstance(value, PROCESSORS)]


def set_scales(unet: Any, scales: float | Sequence[Mapping[str, float]], *, copies: int) -> None:
    """Set how much each adapter acts: a number, or for each adapter a table by layer."""
    processors = unet.attn_processors
    for name in layer_names(unet):
        if isinstance(scales, float):
            processors[name].scale = [scales] * copies
        else:
            processors[name].scale = [table[name] for table in scales]
