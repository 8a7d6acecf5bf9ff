"""Stable Diffusion at toy size: diffusers' own classes with random weights, in their layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from models.latent_diffusion.sdxl import tokenizer
from models.stable_diffusion.libraries import quiet_libraries

WIDTH = 16
"""Of the text encoder, and so of the context."""
SIDE = 32
BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
VOCABULARY = 40


def make_unet(**changes: Any) -> UNet2DConditionModel:
    """A U-Net of two levels, attention in the finer one, as SD 1.x is built."""
    options: dict[str, Any] = {
        "sample_size": SIDE // 8,
        "block_out_channels": (32, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": 8,
        "cross_attention_dim": WIDTH,
    }
    return UNet2DConditionModel(**(options | changes)).eval()


def make_pipeline(scratch: Path, **unet: Any) -> StableDiffusionPipeline:
    """SD's pipeline with every part that draws."""
    quiet_libraries()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        text = CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=1,
            projection_dim=WIDTH,
            hidden_act="quick_gelu",
            bos_token_id=VOCABULARY - 2,
            eos_token_id=VOCABULARY - 1,
            pad_token_id=VOCABULARY - 1,
        )
        vae = AutoencoderKL(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            scaling_factor=0.18215,
        )
        return StableDiffusionPipeline(
            vae=vae.eval(),
            text_encoder=CLIPTextModel(text).eval(),
            tokenizer=tokenizer(scratch, n_tokens=VOCABULARY, files=(), pad="<|endoftext|>"),
            unet=make_unet(**unet),
            scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing"),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def write_adapter(path: Path, unet: UNet2DConditionModel, *, n_features: int) -> Path:
    """Write an IP-Adapter of four tokens for `unet` under the published names."""
    width = unet.config.cross_attention_dim
    source = torch.Generator().manual_seed(9)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=source) / shape[-1] ** 0.5

    state = {
        "image_proj.proj.weight": random(4 * width, n_features),
        "image_proj.proj.bias": torch.zeros(4 * width),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    modules = dict(unet.named_modules())
    layers = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for place, name in enumerate(layers):
        inner = modules[name.removesuffix(".processor")].inner_dim
        for part in ("k", "v"):
            state[f"ip_adapter.{2 * place + 1}.to_{part}_ip.weight"] = random(inner, width)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path
