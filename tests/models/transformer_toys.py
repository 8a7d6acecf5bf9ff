"""Tiny few-step transformers in the published layouts: random weights, diffusers' own classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch

CLASSES = {
    "sana-sprint": ("SanaSprintPipeline", "SanaTransformer2DModel", "AutoencoderDC"),
    "z-image-turbo": ("ZImagePipeline", "ZImageTransformer2DModel", "AutoencoderKL"),
    "flux2-klein": ("Flux2KleinPipeline", "Flux2Transformer2DModel", "AutoencoderKLFlux2"),
}
WIDTH = {"sana-sprint": 8, "z-image-turbo": 16, "flux2-klein": 16}
SIZE = 32


def _sana() -> tuple[Any, Any, Any]:
    transformer = diffusers.SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=32,
        qk_norm="rms_norm_across_heads",
        guidance_embeds=True,
    )
    blocks = ("ResBlock", "EfficientViTBlock")
    vae = diffusers.AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    return transformer, vae, diffusers.SCMScheduler()


def _z_image() -> tuple[Any, Any, Any]:
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=16,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        qk_norm=True,
        cap_feat_dim=16,
        rope_theta=256.0,
        t_scale=1000.0,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    )
    for parameter in transformer.parameters():  # its pads are left empty until they are loaded
        torch.nn.init.normal_(parameter, std=0.1)
    vae = diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D", "DownEncoderBlock2D"],
        up_block_types=["UpDecoderBlock2D", "UpDecoderBlock2D"],
        block_out_channels=[8, 8],
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=2,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    return transformer, vae, diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)


def _flux2() -> tuple[Any, Any, Any]:
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        timestep_guidance_channels=256,
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=False,
    )
    vae = diffusers.AutoencoderKLFlux2(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(4,),
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return transformer, vae, scheduler


_MAKERS = {"sana-sprint": _sana, "z-image-turbo": _z_image, "flux2-klein": _flux2}


def write_transformer(folder: Path, name: str, *, size: int = SIZE) -> Path:
    """Write a folder in diffusers' layout, without the language model, which is not read."""
    torch.manual_seed(7)
    transformer, vae, scheduler = _MAKERS[name]()
    pipeline, *classes = CLASSES[name]
    index: dict[str, Any] = {"_class_name": pipeline, "is_distilled": True}
    kinds = (*classes, type(scheduler).__name__)
    for part, made, kind in zip(
        ("transformer", "vae", "scheduler"), (transformer, vae, scheduler), kinds, strict=True
    ):
        made.save_pretrained(folder / part)
        index[part] = ["diffusers", kind]
    index |= {"text_encoder": ["transformers", "Gemma2Model"], "tokenizer": ["transformers", "X"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "system.json").write_text(json.dumps({"size": size}))
    return folder
