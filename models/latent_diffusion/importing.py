"""Building diffusers' networks from CompVis states, and writing CompVis states again.

Owns the fitting of shapes (the attention of the autoencoder is a 1 x 1 convolution there,
a linear layer here); knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, VQModel
from torch import Tensor

from configs.published import ConditionConfig
from models.checkpoints import CheckpointError, below, load_into, shape_of
from models.latent_diffusion import compvis
from models.latent_diffusion.conditioning import ConditionStage, TimeCondition
from models.latent_diffusion.model import FirstStage, LatentDiffusion
from models.masked_autoencoder import import_encoder
from models.sampling.schedules import SD15

CONDITION = "time_embed_condtion."
"""The published (misspelt) prefix of the time condition inside the U-Net."""
SCALING_FACTOR = 0.18215
_FLAT = (".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight")


def import_unet(state: Mapping[str, Tensor], *, num_heads: int = 8) -> UNet2DConditionModel:
    """Build a U-Net of a CompVis state (names below `model.diffusion_model.`).

    The time condition is left out: it is a module of its own (`conditioning.TimeCondition`).
    """
    plain = {k: v for k, v in state.items() if not k.startswith(CONDITION)}
    unet = UNet2DConditionModel(**compvis.unet_config(plain, num_heads=num_heads))
    renamed = compvis.rename(plain, compvis.unet_names(compvis.unet_layout(plain)))
    load_into(unet, renamed, what="the U-Net's state")
    return cast("UNet2DConditionModel", unet.eval())


def import_vae(
    state: Mapping[str, Tensor], *, scaling_factor: float = SCALING_FACTOR
) -> FirstStage:
    """Build an autoencoder of a CompVis state (names below `first_stage_model.`).

    `VQModel` where it has codes, whose latents are not scaled; else `AutoencoderKL`.
    """
    is_vq = compvis.CODES in state
    kind, scaling_factor = (VQModel, 1.0) if is_vq else (AutoencoderKL, scaling_factor)
    plain = {k: v for k, v in state.items() if not k.startswith("loss.")}
    config = compvis.vae_config(plain, scaling_factor=scaling_factor)
    names = compvis.vae_names(len(config["block_out_channels"]), config["layers_per_block"])
    renamed = {
        name: value.flatten(1) if _is_flat(name) else value
        for name, value in compvis.rename(plain, names).items()
    }
    vae = kind(**config)
    load_into(vae, renamed, what="the autoencoder's state")
    return cast("FirstStage", vae.eval())


def import_time_condition(state: Mapping[str, Tensor]) -> TimeCondition:
    """Build the time condition of a CompVis U-Net state.

    Raises
    ------
    CheckpointError
        The state has none: it is an unconditioned Stable Diffusion.
    """
    own = below(state, CONDITION)
    try:
        _, context_tokens, _ = shape_of(own, "0.weight", "n_out, context_tokens, kernel")
        time_embed_dim, context_dim = shape_of(own, "2.weight", "time_embed_dim, context_dim")
    except KeyError:
        raise CheckpointError(
            f"the U-Net has no time condition ({CONDITION}*): it was not fine-tuned on brain "
            "signals; give the checkpoint of the generation stage."
        ) from None
    module = TimeCondition(context_tokens, context_dim, time_embed_dim)
    load_into(module, own, what="the time condition's state")
    return module


def import_condition_stage(state: Mapping[str, Tensor], *, num_heads: int = 16) -> ConditionStage:
    """Build a condition stage of its published state (names below `cond_stage_model.`)."""
    encoder = import_encoder(below(state, "mae."), num_heads=num_heads)
    try:
        stage = ConditionStage(
            encoder,
            n_tokens=state["channel_mapper.0.weight"].shape[1],
            embed_dim=state["dim_mapper.weight"].shape[1],
            config=_condition_config(state),
            head_tokens=_size(state, "mapping.maxpool.weight", 1),
            head_dim=_size(state, "mapping.fc.weight", 1),
            n_classes=_size(state, "cls_net.fc.weight", 0),
        )
    except KeyError as error:
        raise CheckpointError(
            f"the condition stage has no {error}, expected channel_mapper, dim_mapper and mae: "
            "give the checkpoint of the generation stage."
        ) from None
    # What has no part in the function: special tokens, the frozen CLIP tower.
    left_out = ("mae.cls_token", "mae.mask_token", "image_embedder.")
    load_into(
        stage,
        {name: value for name, value in state.items() if not name.startswith(left_out)},
        what="the condition stage's state",
    )
    return stage.eval()


def _size(state: Mapping[str, Tensor], name: str, axis: int) -> int:
    return int(state[name].shape[axis]) if name in state else 0


def _condition_config(state: Mapping[str, Tensor]) -> ConditionConfig:
    return ConditionConfig(
        context_tokens=state["channel_mapper.1.weight"].shape[0],
        context_dim=state["dim_mapper.weight"].shape[0],
        image_embed_dim=_size(state, "mapping.fc.weight", 0),
    )


def import_latent_diffusion(
    state: Mapping[str, Tensor],
    *,
    num_heads: int = 8,
    encoder_heads: int = 16,
    betas: Mapping[str, float] = SD15,
) -> LatentDiffusion:
    """Build the whole model of a generation checkpoint's `model_state_dict`.

    Parameters
    ----------
    state : mapping
        CompVis naming: `model.diffusion_model.*`, `first_stage_model.*`, `cond_stage_model.*`;
        schedule buffers are left out (they follow from the betas).
    num_heads, encoder_heads : int
        Attention heads of the U-Net and of the encoder, which shapes do not tell.
    betas : mapping
        `beta_start` and `beta_end` that the U-Net was trained with.
    """
    unet_state = below(state, "model.diffusion_model.")
    return LatentDiffusion(
        unet=import_unet(unet_state, num_heads=num_heads),
        vae=import_vae(below(state, "first_stage_model.")),
        condition_stage=import_condition_stage(
            below(state, "cond_stage_model."), num_heads=encoder_heads
        ),
        time_condition=import_time_condition(unet_state),
        betas=betas,
    )


def rename_unet(state: Mapping[str, Tensor], unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """Values named as `unet`'s state, under CompVis names."""
    attention = tuple("CrossAttn" in kind for kind in unet.config.down_block_types)
    layout = compvis.UNetLayout(unet.config.layers_per_block, attention)
    return compvis.rename(state, compvis.reverse(compvis.unet_names(layout)))


def export_latent_diffusion(model: LatentDiffusion) -> dict[str, Tensor]:
    """State of the whole model under its published names; unused tokens are zeros."""
    state = {f"first_stage_model.{k}": v for k, v in export_vae(model.vae).items()}
    unet = rename_unet(model.unet.state_dict(), model.unet)
    if model.time_condition is not None:
        unet |= {f"{CONDITION}{k}": v for k, v in model.time_condition.state_dict().items()}
    state |= {f"model.diffusion_model.{k}": v for k, v in unet.items()}
    stage = model.condition_stage.state_dict()
    width = stage["mae.pos_embed"].shape[-1]
    stage |= {f"mae.{name}_token": torch.zeros(1, 1, width) for name in ("cls", "mask")}
    return state | {f"cond_stage_model.{k}": v for k, v in stage.items()}


def export_vae(vae: FirstStage) -> dict[str, Tensor]:
    """State of an autoencoder under CompVis names."""
    names = compvis.vae_names(len(vae.config.block_out_channels), vae.config.layers_per_block)
    state = {
        name: value[:, :, None, None] if _is_flat(name) else value
        for name, value in vae.state_dict().items()
    }
    return compvis.rename(state, compvis.reverse(names))


def _is_flat(name: str) -> bool:
    return ".attentions." in name and name.endswith(_FLAT)
