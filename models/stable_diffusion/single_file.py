"""A Stable Diffusion from one .safetensors file, in the layout of its authors (CompVis, sgm).

Owns telling 1.x, 2.x and XL apart by their names, and what a file does not say: its scheduler and
its tokenizer. Sizes are read from the shapes. A `.ckpt` is a pickle and is not read here.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.guard import read_text
from models.checkpoints import CheckpointError, below, load_checkpoint, load_into, sizes_read
from models.latent_diffusion import compvis
from models.sampling.schedules import SD15
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.libraries import quiet_libraries
from models.stable_diffusion.parts import Parts

SCHEDULER_FILE = "scheduler_config.json"
"""Beside the file: says what the file does not."""
UNET, VAE = "model.diffusion_model.", "first_stage_model."
XL_TEXT = "conditioner.embedders.1.model."
CLIP_TEXT, OPEN_CLIP_TEXT = "cond_stage_model.transformer.", "cond_stage_model.model."
BETAS = {**SD15, "beta_schedule": "scaled_linear"}
FEW = {**BETAS, "timestep_spacing": "trailing"}
BASE = {**BETAS, "skip_prk_steps": True, "steps_offset": 1, "set_alpha_to_one": False}
Config = tuple[str, dict[str, Any]]


def read_file(path: Path) -> Parts:
    """Read a generator from one file.

    Raises
    ------
    StableDiffusionError
        It is a pickle, or of none of the three kinds.
    CheckpointError
        It is damaged, or lacks a part.
    """
    if path.suffix != ".safetensors":
        raise StableDiffusionError(
            f"{path} is no .safetensors file, expected one: a .ckpt can run code "
            "when it is opened; fetch the safetensors file, or convert it where you trust it."
        )
    quiet_libraries()
    state = load_checkpoint(path)
    is_xl = any(name.startswith(XL_TEXT) for name in state)
    with tempfile.TemporaryDirectory(prefix="phosphene-tokenizer-") as scratch:
        build = _xl if is_xl else _plain
        _check_kind(state, path)
        scheduler = scheduler_of(path, is_xl=is_xl)
        with sizes_read(path):
            pipeline = build(state, scheduler, Path(scratch) / "tokenizer")
    return Parts(
        pipeline=pipeline,
        is_xl=is_xl,
        files=(path,),
        only_empty=True,
        scheduler_place=f"{path} (its scheduler)",
    )


def _check_kind(state: Mapping[str, Tensor], path: Path) -> None:
    if not any(name.startswith((XL_TEXT, CLIP_TEXT, OPEN_CLIP_TEXT)) for name in state):
        raise StableDiffusionError(
            f"{path} has no text encoder of Stable Diffusion 1.x ({CLIP_TEXT}*), 2.x "
            f"({OPEN_CLIP_TEXT}*) or XL ({XL_TEXT}*): give a whole checkpoint, not a part of one."
        )


def scheduler_of(path: Path, *, is_xl: bool) -> Any:
    """Make the scheduler: of `scheduler_config.json` beside the file, else by the file's name.

    Raises
    ------
    StableDiffusionError
        The settings beside it cannot be read, or are of an unknown class.
    """
    import diffusers

    from models.stable_diffusion.plans import PLANS

    beside = path.with_name(SCHEDULER_FILE)
    name, settings = _named(path.stem, is_xl=is_xl)
    if beside.is_file():
        try:
            settings = json.loads(read_text(beside))
            name = settings["_class_name"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise StableDiffusionError(f"{beside} is no scheduler's settings ({error}).") from None
        if name not in PLANS:
            raise StableDiffusionError(
                f"{beside} is of {str(name)[:60]!r}, expected {', '.join(PLANS)}."
            )
    return getattr(diffusers, name).from_config(settings)


def _named(stem: str, *, is_xl: bool) -> Config:
    """Scheduler of the published pipeline that a file's name points to."""
    if "lcm" in stem.lower():
        return "LCMScheduler", BASE
    if "turbo" in stem.lower():
        return ("EulerAncestralDiscreteScheduler" if is_xl else "EulerDiscreteScheduler"), FEW
    if is_xl:
        return "EulerDiscreteScheduler", {**BETAS, "timestep_spacing": "leading", "steps_offset": 1}
    return "PNDMScheduler", BASE


def _xl(state: Mapping[str, Tensor], scheduler: Any, scratch: Path) -> Any:
    from models.latent_diffusion.sdxl import build_sdxl

    return build_sdxl(state, scheduler=scheduler, scratch=scratch)


def _plain(state: Mapping[str, Tensor], scheduler: Any, scratch: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    from models.latent_diffusion.importing import import_vae
    from models.latent_diffusion.sdxl import import_clip, tokenizer

    if any(name.startswith(CLIP_TEXT) for name in state):
        text, pad = import_clip(below(state, CLIP_TEXT)), "<|endoftext|>"
    else:
        text, pad = _open_clip_text(below(state, OPEN_CLIP_TEXT)), "!"
    n_tokens = int(text.config.vocab_size)
    return StableDiffusionPipeline(
        vae=import_vae(below(state, VAE)),
        text_encoder=text,
        tokenizer=tokenizer(scratch, n_tokens=n_tokens, files=(), pad=pad),
        unet=import_plain_unet(below(state, UNET)),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def import_plain_unet(state: Mapping[str, Tensor]) -> Any:
    """Build the U-Net of Stable Diffusion 1.x (8 heads) or 2.x (heads of 64) of CompVis's names."""
    from diffusers import UNet2DConditionModel

    config = compvis.unet_config(state, num_heads=8)
    projection = next(value for name, value in state.items() if name.endswith("proj_in.weight"))
    is_second = projection.ndim == 2
    config |= {"class_embed_type": None, "use_linear_projection": is_second, "sample_size": 64}
    if is_second:
        config["attention_head_dim"] = [max(1, w // 64) for w in config["block_out_channels"]]
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    renamed = compvis.rename(state, compvis.unet_names(compvis.unet_layout(state)))
    load_into(unet, renamed, what="the U-Net's state", assign=True)
    return unet.eval()


def _open_clip_text(state: Mapping[str, Tensor]) -> Any:
    """Text encoder of 2.x: OpenCLIP's without its last layer, as it was trained."""
    from models.latent_diffusion.sdxl import open_clip_text

    layers = {int(k.split(".")[2]) for k in state if k.startswith("transformer.resblocks.")}
    if not layers:
        raise CheckpointError("the file's text encoder has no layers (transformer.resblocks.*).")
    last = f"transformer.resblocks.{max(layers)}."
    return open_clip_text({k: v for k, v in state.items() if not k.startswith(last)})
