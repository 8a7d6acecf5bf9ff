"""Fusing a LoRA (LCM-LoRA for few steps) into a U-Net.

Owns the files' namings and the sum W + alpha / rank * up @ down. Knows nothing of samplers.
Namings: kohya's (`lora_unet_<path with underscores>.lora_down.weight`, as LCM-LoRA is published;
paths of diffusers, or of the original checkpoints as most others have them) and diffusers'
(`unet.<path>.lora_A.weight`, or `.lora.down.weight` of earlier versions).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from torch import Tensor, nn

from models.checkpoints import CheckpointError, load_checkpoint
from models.latent_diffusion import compvis

LORA_FILE = "lcm-lora/pytorch_lora_weights.safetensors"
"""Where it lies beside the weights: latent-consistency/lcm-lora-sdv1-5 on Hugging Face."""
_KOHYA = "lora_unet_"
_PATHS = ("unet.", "base_model.model.")
"""Beginnings of diffusers' names."""
_TEXT = ("lora_te", "text_encoder")
"""Beginnings of a text encoder's: every picture here is of the empty prompt or of none."""
_PARTS = {
    "lora_down.weight": "down",
    "lora_A.weight": "down",
    "lora_A.default.weight": "down",
    "lora.down.weight": "down",
    "lora_up.weight": "up",
    "lora_B.weight": "up",
    "lora_B.default.weight": "up",
    "lora.up.weight": "up",
    "alpha": "alpha",
}
_OLD = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora\.")


@dataclass(slots=True)
class _Change:
    name: str
    parts: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def fuse_lora(unet: nn.Module, path: Path, *, scale: float = 1.0) -> int:
    """Add a LoRA to the weights of `unet`; return how many layers it changed.

    Raises
    ------
    CheckpointError
        A layer is not in the network, or has another shape; the file is of another kind.
    """
    changes = _read(load_checkpoint(path), path)
    if not changes:
        raise CheckpointError(f"{path} holds no LoRA of a U-Net, expected {_KOHYA}* or unet.*.")
    layers, alpha = _layers(unet), _alpha_of(path)
    for change in changes.values():
        module = layers.get(change.name)
        if not isinstance(module, nn.Linear | nn.Conv2d):
            raise CheckpointError(
                f"{path}: {change.name} is no layer of this U-Net: use a LoRA of its own kind "
                "(SD 1.5's, SDXL's)."
            )
        _add(module, change, path, alpha=alpha, scale=scale)
    return len(changes)


def _add(
    module: nn.Linear | nn.Conv2d, change: _Change, path: Path, *, alpha: float | None, scale: float
) -> None:
    if not {"up", "down"} <= set(change.parts):
        raise CheckpointError(f"{path}: {change.name} has no pair of matrices: it is torn.")
    down, up = change.parts["down"], change.parts["up"]
    rank, weight = down.shape[0], module.weight
    told = change.parts.get("alpha")
    factor = (alpha if alpha is not None else rank) if told is None else float(told)
    difference = up.flatten(1).float() @ down.flatten(1).float()
    if difference.numel() != weight.numel():
        raise CheckpointError(
            f"{path}: {change.name} has another shape here: use a LoRA of this U-Net's own kind."
        )
    weight += (scale * factor / rank * difference).reshape(weight.shape).to(weight.dtype)


def _read(state: Mapping[str, Any], path: Path) -> dict[str, _Change]:
    """Collect the matrices of each layer."""
    changes: dict[str, _Change] = {}
    for key, value in state.items():
        plain = _OLD.sub(lambda m: f".{m[1]}{'.0' if m[1] == 'to_out' else ''}.lora.", key)
        if plain.startswith(_TEXT):
            continue
        part = next((part for part in _PARTS if plain.endswith("." + part)), None)
        start = next((start for start in (_KOHYA, *_PATHS) if plain.startswith(start)), None)
        if part is None or start is None:
            raise CheckpointError(
                f"{path}: {key[:80]!r} is of another kind than LoRA's two matrices, expected "
                f"{_KOHYA}* or unet.*: merge it with the program that made it."
            )
        name = plain[len(start) : -len(part) - 1]
        changes.setdefault(name, _Change(name)).parts[_PARTS[part]] = value
    return changes


def _layers(unet: nn.Module) -> dict[str, nn.Module]:
    """Layers by every name that a file may give them."""
    by_path = {name: module for name, module in unet.named_modules() if name}
    found = {name.replace(".", "_"): module for name, module in by_path.items()}
    for name, theirs in _original_names(unet).items():
        found[theirs.replace(".", "_")] = by_path[name]
    return found | by_path


def _original_names(unet: nn.Module) -> dict[str, str]:
    """Paths of the layers in the original checkpoints, where the U-Net is one of theirs."""
    if not isinstance(unet, UNet2DConditionModel):
        return {}
    config = unet.config
    attention = tuple("CrossAttn" in kind for kind in config.down_block_types)
    layout = compvis.UNetLayout(config.layers_per_block, attention)
    rules = compvis.reverse(compvis.unet_names(layout))
    rules.sort(key=lambda pair: len(pair[0]), reverse=True)
    names: dict[str, str] = {}
    for name, module in unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            rule = next((pair for pair in rules if f"{name}.".startswith(pair[0])), None)
            if rule is not None:
                names[name] = (rule[1] + f"{name}."[len(rule[0]) :]).rstrip(".")
    return names


def _alpha_of(path: Path) -> float | None:
    """Alpha for all layers, which peft writes into the file's header; None: not there."""
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get("lora_adapter_metadata", "")
    try:
        value = json.loads(header).get("unet.lora_alpha") if header else None
        return None if value is None else float(value)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
