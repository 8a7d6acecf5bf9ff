"""Fusing a LoRA (LCM-LoRA for few steps) into a U-Net.

Owns the file's naming (kohya's: `lora_unet_<path with underscores>.lora_down.weight`, as LCM-LoRA
is published) and the sum W + alpha / rank * up @ down. Knows nothing of samplers.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from models.checkpoints import CheckpointError, load_checkpoint

LORA_FILE = "lcm-lora/pytorch_lora_weights.safetensors"
"""Where it lies beside the weights: latent-consistency/lcm-lora-sdv1-5 on Hugging Face."""
_PREFIX = "lora_unet_"


@torch.no_grad()
def fuse_lora(unet: nn.Module, path: Path, *, scale: float = 1.0) -> int:
    """Add a LoRA to the weights of `unet`; return how many layers it changed.

    Raises
    ------
    CheckpointError
        A layer is not in the network, or has another shape.
    """
    state = load_checkpoint(path)
    layers = {name.replace(".", "_"): module for name, module in unet.named_modules()}
    names = sorted({key.partition(".")[0] for key in state if key.startswith(_PREFIX)})
    for name in names:
        module = layers.get(name.removeprefix(_PREFIX))
        if not isinstance(module, nn.Linear | nn.Conv2d):
            raise CheckpointError(f"{path}: {name} is no layer of this U-Net: use SD 1.5's LoRA.")
        down, up = state[f"{name}.lora_down.weight"], state[f"{name}.lora_up.weight"]
        rank = down.shape[0]
        alpha = float(state.get(f"{name}.alpha", torch.tensor(float(rank))))
        change = up.flatten(1).float() @ down.flatten(1).float()
        weight = module.weight
        if change.numel() != weight.numel():
            raise CheckpointError(f"{path}: {name} has another shape here: use SD 1.5's LoRA.")
        weight += (scale * alpha / rank * change).reshape(weight.shape).to(weight.dtype)
    if not names:
        raise CheckpointError(f"{path} holds no LoRA of a U-Net, expected {_PREFIX}*.")
    return len(names)
