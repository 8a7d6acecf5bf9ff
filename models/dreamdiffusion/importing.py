"""The published files of DreamDiffusion: which one is which, and what becomes of it.

Owns the recognition by content (names of keys, never by file name); the renaming is
`models.latent_diffusion`'s. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from models.checkpoints import CheckpointError, below, load_checkpoint, tensors_of
from models.dreamdiffusion.folder import save_model
from models.dreamdiffusion.pretraining import save_autoencoder
from models.latent_diffusion.importing import import_latent_diffusion, import_unet, import_vae
from models.masked_autoencoder import import_autoencoder

PUBLISHED = {"ch_names": [], "scale": 1.0, "tmin": 0.02, "tmax": 0.459, "sfreq": 1000.0}
"""How a paired trial came in: samples 20 to 459 at 1 kHz, standardised (1 unit: one deviation)."""


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take the network's state out of a checkpoint's dict."""
    for key in ("model_state_dict", "state_dict", "model"):
        inner = content.get(key)
        if isinstance(inner, Mapping):
            return tensors_of(inner)
    return tensors_of(content)


def import_files(
    files: Sequence[Path], out: Path, *, num_heads: int = 8, encoder_heads: int = 16
) -> dict[str, Any]:
    """Turn published checkpoints into a folder in diffusers' layout.

    A generation checkpoint gives the whole system; an encoder checkpoint gives `encoder/`;
    `v1-5-pruned.ckpt` gives `unet/` and `vae/` to begin stage B from.

    Raises
    ------
    CheckpointError
        A file is unsafe, damaged, or of none of the three kinds.
    """
    made: dict[str, str] = {}
    for path in files:
        state = unwrap(load_checkpoint(path))
        made[str(path)] = _import_state(
            path, state, out, num_heads=num_heads, encoder_heads=encoder_heads
        )
    return {"out": str(out), "files": made}


def _import_state(
    path: Path, state: dict[str, Tensor], out: Path, *, num_heads: int, encoder_heads: int
) -> str:
    if any(name.startswith("cond_stage_model.mae.") for name in state):
        model = import_latent_diffusion(state, num_heads=num_heads, encoder_heads=encoder_heads)
        save_model(model, out, preprocessing=PUBLISHED)
        return "whole system"
    if any(name.startswith("model.diffusion_model.") for name in state):
        unet = import_unet(below(state, "model.diffusion_model."), num_heads=num_heads)
        unet.save_pretrained(out / "unet")
        import_vae(below(state, "first_stage_model.")).save_pretrained(out / "vae")
        return "Stable Diffusion (U-Net and autoencoder)"
    if "patch_embed.proj.weight" in state:
        heads = {"num_heads": encoder_heads, "decoder_num_heads": encoder_heads}
        save_autoencoder(import_autoencoder(state, **heads), out / "encoder")
        return "EEG encoder"
    raise CheckpointError(
        f"{path} is none of DreamDiffusion's checkpoints, expected the encoder's checkpoint.pth, "
        "the generation checkpoint.pth or v1-5-pruned.ckpt."
    )
