"""How Contrast, Attend and Diffuse was published: its two branches, and its files.

Owns the names of the cross-modal layers. What has no part in its own releases (an evaluation
script's distilled VQGAN) is not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from models.checkpoints import CheckpointError, load_checkpoint, load_into, shape_of, sizes_read
from models.contrast_attend_diffuse.cross_modal import FmriBranch, ImageBranch
from models.latent_diffusion import published_files
from models.latent_diffusion.folder import Home
from models.masked_autoencoder import import_autoencoder
from models.masked_autoencoder.folder import save_autoencoder
from models.mind_vis.importing import published

HOME = Home(
    "contrast-attend-diffuse",
    "Contrast, Attend and Diffuse",
    "`phosphene train contrast-attend-diffuse phase-1`, `phase-2`, then `ldm`; its authors publish "
    "both phases' encoders (OneDrive, linked from github.com/soinx0629/vis_dec_neurips) and no "
    "tuned generator",
)
_LAYER = (
    ("attention.attention.", "attention."),
    ("attention.output.dense.", "attention.out."),
    ("cross_attention.attention.", "cross_attention."),
    ("cross_attention.output.dense.", "cross_attention.out."),
    ("layernorm_before.", "norm_before."),
    ("layernorm_after.", "norm_after."),
    ("intermediate.dense.", "fc1."),
    ("output.dense.", "fc2."),
)
"""Prefixes of a cross-modal layer: published, ours."""
_IMAGE = "vit.encoder."
_FMRI_LAYER, _IMAGE_LAYER = "cross_blocks.", f"{_IMAGE}layer_cross."
_UNPUBLISHED = (
    (
        "condition/model.safetensors",
        "the authors give no tuned generator; make it with `phosphene train "
        "contrast-attend-diffuse ldm`, from MinD-Vis' label2img/model.ckpt.",
    ),
)
"""What decoding needs and no file of theirs holds, and what to do."""


def run_import(
    files: Sequence[Path],
    out: Path,
    *,
    image_heads: int = 12,
    image_decoder_heads: int = 16,
    **heads: int,
) -> dict[str, Any]:
    """Turn published checkpoints into our folder, and say what is still missing.

    Both branches of phase 2 are read whole; of the fMRI branch the autoencoder is kept, of the
    image branch nothing: neither its cross-modal layers nor ViT-MAE decode.
    """
    made: dict[str, str] = {}
    for path in files:
        state = published_files.unwrap(load_checkpoint(path))
        if not any(name.startswith((_FMRI_LAYER, _IMAGE_LAYER)) for name in state):
            made |= published_files.import_files([path], out, published(HOME), **heads)["files"]
            continue
        with sizes_read(path):
            made[str(path)] = _import_branch(
                state,
                out,
                num_heads=heads.get("encoder_heads", 16),
                image_heads=image_heads,
                image_decoder_heads=image_decoder_heads,
            )
    notes = [
        f"{out / name} is not there, and no such file is published: {remedy}"
        for name, remedy in _UNPUBLISHED
        if not (out / name).exists()
    ]
    return {"out": str(out), "files": made, "notes": notes}


def _import_branch(
    state: Mapping[str, Tensor],
    out: Path,
    *,
    num_heads: int,
    image_heads: int,
    image_decoder_heads: int,
) -> str:
    if any(name.startswith(_FMRI_LAYER) for name in state):
        branch = import_fmri_branch(
            state, num_heads=num_heads, decoder_num_heads=num_heads, image_heads=image_heads
        )
        save_autoencoder(branch.autoencoder, out / "encoder", facts={"stage": "phase-2"})
        return "fMRI encoder of phase 2"
    import_image_branch(state, num_heads=image_heads, decoder_num_heads=image_decoder_heads)
    return "image branch of phase 2: it has no part in decoding"


def _cross(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Cross-modal layers below `prefix` (`N.rest`) under our names."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.match(rf"{re.escape(prefix)}(\d+)\.(.+)", name)
        if match is None:
            continue
        number, rest = match.groups()
        theirs, ours = next((pair for pair in _LAYER if rest.startswith(pair[0])), ("", "unknown."))
        found[f"cross.layers.{number}.{ours}{rest[len(theirs) :]}"] = value
    if not found:
        raise CheckpointError(
            f"the state has no cross-modal layer ({prefix}*), expected a checkpoint of phase 2."
        )
    return found


def _sizes(cross: Mapping[str, Tensor]) -> dict[str, int]:
    hidden, dim = shape_of(cross, "cross.layers.0.fc1.weight", "hidden, dim")
    n_layers = len({name.split(".")[2] for name in cross})
    return {"dim": dim, "hidden": hidden, "n_layers": n_layers}


def import_fmri_branch(
    state: Mapping[str, Tensor],
    *,
    num_heads: int = 16,
    decoder_num_heads: int = 16,
    image_heads: int = 12,
) -> FmriBranch:
    """Build the fMRI branch of its published state.

    Heads (the encoder's, the decoder's, the image encoder's) leave no trace in a state.

    Raises
    ------
    CheckpointError
        The state is of something else.
    """
    cross = _cross(state, _FMRI_LAYER)
    own = {k: v for k, v in state.items() if not k.startswith("cross_")}
    autoencoder = import_autoencoder(own, num_heads=num_heads, decoder_num_heads=decoder_num_heads)
    branch = FmriBranch(autoencoder, num_heads=image_heads, **_sizes(cross))
    maps = {
        k.replace("cross_map_", "map_"): v for k, v in state.items() if k.startswith("cross_map_")
    }
    kept = {f"autoencoder.{name}": value for name, value in autoencoder.state_dict().items()}
    load_into(branch, kept | cross | maps, what="the fMRI branch's state")
    return branch.eval()


def import_image_branch(
    state: Mapping[str, Tensor], *, num_heads: int = 12, decoder_num_heads: int = 16
) -> ImageBranch:
    """Build the image branch of its published state; as `import_fmri_branch`.

    The plain part goes through transformers, which knows the names of its own releases.
    """
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    cross = _cross(state, _IMAGE_LAYER)
    sizes = _sizes(cross)
    maps = {f"map_in.{part}": state[f"{_IMAGE}cross_map_in.{part}"] for part in ("weight", "bias")}
    plain = {k: v for k, v in state.items() if "cross" not in k}
    config = ViTMAEConfig(
        hidden_size=sizes["dim"],
        intermediate_size=sizes["hidden"],
        num_attention_heads=num_heads,
        decoder_num_attention_heads=decoder_num_heads,
        **_vit_sizes(plain),
    )
    mae, report = ViTMAEForPreTraining.from_pretrained(
        None, config=config, state_dict=plain, local_files_only=True, output_loading_info=True
    )
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise CheckpointError(
            f"the image branch's state does not fit ViT-MAE ({wrong[0]}): it is of other sizes."
        )
    branch = ImageBranch(
        mae,
        fmri_dim=shape_of(maps, "map_in.weight", "dim, fmri_dim")[1],
        n_layers=sizes["n_layers"],
    )
    own = {k: v for k, v in branch.state_dict().items() if k.startswith(("mae.", "norm."))}
    load_into(branch, own | cross | maps, what="the image branch's state")
    return branch.eval()


def _vit_sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Sizes of a ViT-MAE by its state."""
    try:
        patch = shape_of(
            state,
            "vit.embeddings.patch_embeddings.projection.weight",
            "dim, n_channels, patch_size, patch_size",
        )[-1]
        n_patches = (
            shape_of(state, "vit.embeddings.position_embeddings", "1, n_patches + 1, dim")[1] - 1
        )
        decoder = shape_of(
            state, "decoder.decoder_layers.0.intermediate.dense.weight", "hidden, dim"
        )
    except KeyError as error:
        raise CheckpointError(
            f"the image branch's state has no {error}, expected ViT-MAE's names."
        ) from None
    return {
        "patch_size": patch,
        "image_size": patch * round(n_patches**0.5),
        "num_hidden_layers": _count(state, "vit.encoder.layer."),
        "decoder_hidden_size": decoder[1],
        "decoder_intermediate_size": decoder[0],
        "decoder_num_hidden_layers": _count(state, "decoder.decoder_layers."),
    }


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(k[len(prefix) :].split(".")[0]) for k in state if k.startswith(prefix))
