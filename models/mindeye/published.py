"""The published files of MindEye: which one is which, and what becomes of it.

Owns the recognition by content (names of keys, never by file name) and Versatile Diffusion's
folder. Everything is read as data and written as safetensors and JSON, at the place where the
system looks for it. Knows nothing of training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from configs.guard import read_text
from models.checkpoints import (
    CheckpointError,
    below,
    load_checkpoint,
    save_tensors,
    sizes_read,
    tensors_of,
)
from models.mindeye.errors import MindEyeError
from models.mindeye.folder import (
    BACKBONE,
    LOW_LEVEL,
    PRIOR,
    TOWER,
    UNET,
    VAE,
    save_part,
    save_settings,
)
from models.mindeye.importing import (
    check_schedule,
    import_backbone,
    import_low_level,
    import_prior,
)
from models.weights import write_hashes

EXPECTED = (
    "a checkpoint of prior_257_final_... or prior_1x768_... (last.pth), of autoencoder_... "
    "(epoch120.pth), or the folder of shi-labs/versatile-diffusion"
)
N_SAMPLES = 16
"""Pictures drawn of one scan in the published run."""
SINGLE_VECTOR = "clip-vit-l-14-image"
_PARTS = {
    "image_unet": (UNET, "UNet2DConditionModel", "diffusion_pytorch_model"),
    "vae": (VAE, "AutoencoderKL", "diffusion_pytorch_model"),
    "image_encoder": (TOWER, "CLIPVisionModelWithProjection", "model"),
}
"""Of Versatile Diffusion's folder: where each part belongs, its class, its file."""
_WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
_CHECKPOINTS = ("last.pth", "epoch120.pth", "best.pth", "last.ckpt", "best.ckpt")
"""What is taken of a folder of `train_logs`, the first that is there."""


def import_files(files: Sequence[Path], out: Path) -> dict[str, Any]:
    """Turn published files, or the folders that they lie in, into a folder of weights.

    Raises
    ------
    MindEyeError, CheckpointError
        One is missing, unsafe, damaged or none of these kinds.
    """
    made: dict[str, str] = {}
    for path in files:
        if path.is_dir() and any((path / part).is_dir() for part in _PARTS):
            made[str(path)] = _versatile_diffusion(path, out)
        else:
            file = _checkpoint_in(path) if path.is_dir() else path
            state = _unwrapped(load_checkpoint(file))
            with sizes_read(file):
                made[str(path)] = _import_state(file, state, out)
    write_hashes(out)
    return {"out": str(out), "files": made}


def _checkpoint_in(folder: Path) -> Path:
    for name in _CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    raise MindEyeError(f"{folder} holds no {' or '.join(_CHECKPOINTS[:2])}, expected {EXPECTED}.")


def _unwrapped(content: Mapping[str, Any]) -> dict[str, Tensor]:
    inner = content.get("model_state_dict", content)
    tensors = tensors_of(inner if isinstance(inner, Mapping) else content)
    if tensors and all(name.startswith("module.") for name in tensors):
        return below(tensors, "module.")
    return tensors


def _import_state(path: Path, state: dict[str, Tensor], out: Path) -> str:
    if "net.null_brain_embeds" in state:
        return _high_level(state, out)
    if "upsampler.conv_in.weight" in state:
        network = import_low_level(state)
        save_part(out, LOW_LEVEL, network, network.config)
        save_settings(out, has_low_level=True)
        return f"low-level network of {network.config.n_voxels} voxels"
    if "lin0.0.weight" in state and "lin1.weight" in state:
        backbone = import_backbone(state)
        save_part(out, BACKBONE, backbone, backbone.config)
        save_settings(out, has_prior=False)
        return f"backbone of {backbone.config.n_voxels} voxels"
    raise CheckpointError(f"{path} is no file of MindEye, expected {EXPECTED}.")


def _high_level(state: dict[str, Tensor], out: Path) -> str:
    prior = import_prior(below(state, "net."))
    n_steps = check_schedule(below(state, "noise_scheduler."))
    config = prior.config.model_copy(update={"n_steps": n_steps})
    backbone = import_backbone(below(state, "voxel2clip."), width=config.width)
    save_part(out, BACKBONE, backbone, backbone.config)
    save_part(out, PRIOR, prior, config)
    is_single = backbone.config.n_tokens == 1
    space = {"space": SINGLE_VECTOR} if is_single else {}
    save_settings(out, has_prior=True, n_samples=N_SAMPLES, **space)
    sizes = f"{backbone.config.n_voxels} voxels to {config.n_tokens} x {config.width}"
    return f"backbone and prior, {sizes}"


def _versatile_diffusion(folder: Path, out: Path) -> str:
    """Take the image path: text network, text tower and safety checker are not needed."""
    for part, (place, kind, name) in _PARTS.items():
        config = _read_config(folder / part / "config.json", kind)
        found = [folder / part / file for file in _WEIGHTS if (folder / part / file).is_file()]
        if not found:
            raise MindEyeError(
                f"{folder / part} holds no weights, expected {_WEIGHTS[0]} or {_WEIGHTS[2]} of "
                "huggingface.co/shi-labs/versatile-diffusion: fetch the whole part."
            )
        tensors = tensors_of(load_checkpoint(found[0]))
        save_tensors(out / place / f"{name}.safetensors", tensors, for_transformers=True)
        text = json.dumps(config, indent=2) + "\n"
        (out / place / "config.json").write_text(text, encoding="utf-8")
    return "Versatile Diffusion, its image path"


def _read_config(path: Path, kind: str) -> dict[str, Any]:
    try:
        config = json.loads(read_text(path))
        names = (config.get("_class_name"), *(config.get("architectures") or ()))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise MindEyeError(f"{path} cannot be read ({error}), expected a {kind}.") from None
    if kind not in names and names != (None,):
        raise MindEyeError(f"{path} is of {names[0] or names[-1]}, expected {kind}.")
    return dict(config)
