"""The published files of this family of systems: which one is which, and what becomes of it.

Owns the recognition by content (names of keys, never by file name); the renaming is `importing`'s.
Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from models.checkpoints import CheckpointError, below, load_checkpoint, sizes_read, tensors_of
from models.latent_diffusion.folder import Home, load_first_stage, save_model
from models.latent_diffusion.importing import import_latent_diffusion, import_unet, import_vae
from models.latent_diffusion.model import FirstStage, LatentDiffusion
from models.masked_autoencoder import import_autoencoder, import_encoder
from models.masked_autoencoder.folder import save_autoencoder
from models.sampling.schedules import SD15

_STATES = ("model_state_dict", "state_dict", "model")
"""Where a checkpoint keeps its network's state."""


@dataclass(frozen=True, slots=True)
class Published:
    """How a system was published.

    Attributes
    ----------
    home : Home
    preprocessing : callable
        Takes an imported model; says how epochs become its signals.
    encoder, base : str
        What its encoder's file and its unconditioned generator are called in a report.
    expected : str
        The files, for who gives another one.
    num_heads : int
        Attention heads of its U-Net.
    betas : mapping
        Of its noise schedule.
    """

    home: Home
    preprocessing: Callable[[LatentDiffusion], dict[str, Any]]
    encoder: str
    base: str
    expected: str
    num_heads: int = 8
    betas: Mapping[str, float] = field(default_factory=lambda: dict(SD15))


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take the network's state out of a checkpoint's dict."""
    for key in _STATES:
        inner = content.get(key)
        if isinstance(inner, Mapping):
            return tensors_of(inner)
    return tensors_of(content)


def import_files(
    files: Sequence[Path],
    out: Path,
    published: Published,
    *,
    num_heads: int | None = None,
    encoder_heads: int = 16,
) -> dict[str, Any]:
    """Turn published checkpoints into a folder in diffusers' layout.

    A generation checkpoint gives the whole system; an encoder checkpoint gives `encoder/`; an
    unconditioned generator gives `unet/` and `vae/` to begin its fine-tuning from.

    Raises
    ------
    CheckpointError
        A file is unsafe, damaged, or of none of the three kinds.
    """
    unet_heads = num_heads or published.num_heads
    made: dict[str, str] = {}
    for path in files:
        state = unwrap(load_checkpoint(path))
        with sizes_read(path):
            made[str(path)] = _import_state(
                path, state, out, published, num_heads=unet_heads, encoder_heads=encoder_heads
            )
    return {"out": str(out), "files": made}


def _import_state(
    path: Path,
    state: dict[str, Tensor],
    out: Path,
    published: Published,
    *,
    num_heads: int,
    encoder_heads: int,
) -> str:
    if any(name.startswith("cond_stage_model.mae.") for name in state):
        model = import_latent_diffusion(
            state, num_heads=num_heads, encoder_heads=encoder_heads, betas=published.betas
        )
        save_model(model, out, published.home, preprocessing=published.preprocessing(model))
        return "whole system"
    if any(name.startswith("model.diffusion_model.") for name in state):
        unet, vae = _base(state, num_heads=num_heads)
        unet.save_pretrained(out / "unet")
        vae.save_pretrained(out / "vae")
        return published.base
    if "patch_embed.proj.weight" in state:
        if "decoder_embed.weight" in state:
            heads = {"num_heads": encoder_heads, "decoder_num_heads": encoder_heads}
            save_autoencoder(import_autoencoder(state, **heads), out / "encoder")
        else:
            save_autoencoder(import_encoder(state, num_heads=encoder_heads), out / "encoder")
        return published.encoder
    raise CheckpointError(
        f"{path} is none of {published.home.title}'s checkpoints, expected {published.expected}."
    )


def _base(state: dict[str, Tensor], *, num_heads: int) -> tuple[Any, FirstStage]:
    unet = import_unet(below(state, "model.diffusion_model."), num_heads=num_heads)
    return unet, import_vae(below(state, "first_stage_model."))


def load_base(path: Path, *, num_heads: int, name: str) -> tuple[Any, FirstStage]:
    """Load the unconditioned generator that a fine-tuning begins from.

    Parameters
    ----------
    path : Path
        The CompVis file, or a folder with `unet/` and `vae/` in diffusers' layout.
    num_heads : int
        Attention heads of the U-Net, which a CompVis file does not tell.
    name : str
        What it is, for who has none.

    Raises
    ------
    CheckpointError
        Missing, unsafe or of another network.
    """
    if path.is_dir():
        unet = UNet2DConditionModel.from_pretrained(
            path / "unet", local_files_only=True, class_embed_type="identity"
        )
        return unet, load_first_stage(path / "vae")
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing: put {name} there, or its folder in diffusers' layout, or name "
            "another place with `base`."
        )
    state = unwrap(load_checkpoint(path))
    with sizes_read(path):
        return _base(state, num_heads=num_heads)
