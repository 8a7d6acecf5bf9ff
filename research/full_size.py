"""Random weights of the published systems at their true size: what a session on them costs here.

    python -m research.full_size SYSTEM --out FOLDER

writes what `phosphene import` would make of the published files, in half precision: every layer of
its real shape, nothing learnt. Speed and memory do not depend on what weights say, so a session
(`decoder.weights = "FOLDER"`) shows what the true ones would cost on this machine; its pictures
mean nothing. docs/pace.md and docs/models have the commands and what was measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    VQModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from configs.mindeye import BackboneConfig, LowLevelConfig, TokenPriorConfig
from configs.montages import CAP63
from configs.published import ConditionConfig, MaskedAutoencoderConfig
from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.folder import SETTINGS, EncoderFacts, SystemSettings, save_encoder, save_prior
from models.atm.generation import ADAPTER_FILE
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.toy import ADAPTER_TOKENS
from models.contrast_attend_diffuse import importing as cad
from models.dreamdiffusion.folder import HOME
from models.dreamdiffusion.importing import PREPROCESSING
from models.latent_diffusion.folder import Home, Sizes, make_stage, make_time_condition, save_model
from models.latent_diffusion.model import LatentDiffusion
from models.latent_diffusion.sdxl import tokenizer
from models.mind_vis import importing as mind_vis
from models.mind_vis.data import PATCH_SIZE
from models.mindeye.backbone import Backbone
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
from models.mindeye.low_level import LowLevelNetwork
from models.mindeye.prior import TokenPrior
from models.multimodal.live import PUBLISHED as MULTIMODAL
from models.multimodal.modalities import Modality
from models.sampling.schedules import MINDVIS
from models.stable_diffusion.libraries import quiet_libraries
from models.stable_diffusion.parts import PROMPTS
from models.weights import write_hashes

VECTOR = 1024
"""Width of OpenCLIP ViT-H/14, which priors draw and the IP-Adapter takes."""
TARGET_NORM = VECTOR**0.5
N_TOKENS = 49408
"""Of CLIP's vocabulary."""


def write_dreamdiffusion(folder: Path) -> None:
    """Write Stable Diffusion 1.5 with both condition paths and the EEG encoder."""
    condition = ConditionConfig()
    with _half():
        model = LatentDiffusion(
            unet=UNet2DConditionModel(
                sample_size=64,
                block_out_channels=(320, 640, 1280, 1280),
                cross_attention_dim=condition.context_dim,
                attention_head_dim=8,
                class_embed_type="identity",
            ),
            vae=_autoencoder(scaling_factor=0.18215),
            condition_stage=make_stage(Sizes(MaskedAutoencoderConfig(), condition)),
            time_condition=make_time_condition(condition),
        )
    save_model(model, folder, HOME, preprocessing=PREPROCESSING)


def write_mind_vis(folder: Path, home: Home = mind_vis.HOME) -> None:
    """Write label2img over VQ-f4 with both condition paths and the fMRI encoder of GOD's person 3.

    In float32, as its authors run it. Contrast, Attend and Diffuse has the same networks.
    """
    encoder = MaskedAutoencoderConfig(n_channels=1, n_times=4656, patch_size=PATCH_SIZE)
    condition = ConditionConfig(context_dim=512, time_embed_dim=768, image_embed_dim=0)
    model = LatentDiffusion(
        unet=UNet2DConditionModel(
            sample_size=64,
            in_channels=3,
            out_channels=3,
            block_out_channels=(192, 384, 576, 960),
            down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
            up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
            cross_attention_dim=condition.context_dim,
            attention_head_dim=mind_vis.NUM_HEADS,
            class_embed_type="identity",
        ),
        vae=VQModel(
            block_out_channels=(128, 256, 512),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=2,
            num_vq_embeddings=8192,
            vq_embed_dim=3,
            scaling_factor=1.0,
        ),
        condition_stage=make_stage(Sizes(encoder, condition)),
        time_condition=make_time_condition(condition),
        betas=MINDVIS,
    )
    save_model(model, folder, home, preprocessing=mind_vis.preprocessing(n_voxels=4643))


def write_cad(folder: Path) -> None:
    """Write the networks of MinD-Vis as a folder of Contrast, Attend and Diffuse."""
    write_mind_vis(folder, cad.HOME)


def write_atm(folder: Path) -> None:
    """Write ATM-S, its prior, SDXL-Turbo and the IP-Adapter."""
    _write_encoder(folder)
    with _half():
        save_prior(folder / "prior", DiffusionPriorUNet(PriorConfig()), target_norm=TARGET_NORM)
    _write_sdxl(folder, is_turbo=True)
    _finish(folder, SystemSettings())


def write_multimodal(folder: Path) -> None:
    """Write ATM-S, five priors, SDXL and the IP-Adapter."""
    _write_encoder(folder)
    for modality in Modality:
        with _half():
            prior = DiffusionPriorUNet(PriorConfig())
        save_prior(folder / "priors" / modality, prior, target_norm=TARGET_NORM)
    _write_sdxl(folder, is_turbo=False)
    _finish(folder, MULTIMODAL)


def write_mindeye(folder: Path) -> None:
    """Write subject 1's backbone, prior and low-level network, and Versatile Diffusion's images."""
    sizes = BackboneConfig()
    with _half(torch.bfloat16):
        backbone, prior = Backbone(sizes), TokenPrior(TokenPriorConfig())
        low_level = LowLevelNetwork(LowLevelConfig())
        save_part(folder, BACKBONE, backbone, sizes)
        save_part(folder, PRIOR, prior, prior.config)
        save_part(folder, LOW_LEVEL, low_level, low_level.config)
        del backbone, prior, low_level
        UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            cross_attention_dim=sizes.width,
            attention_head_dim=8,
        ).save_pretrained(folder / UNET)
        _autoencoder(scaling_factor=0.18215).save_pretrained(folder / VAE)
        tower = CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            projection_dim=sizes.width,
            patch_size=14,
        )
        CLIPVisionModelWithProjection(tower).save_pretrained(folder / TOWER)
    save_settings(folder, has_prior=True, has_low_level=True)
    write_hashes(folder)


WRITERS: dict[str, Callable[[Path], None]] = {
    "dreamdiffusion": write_dreamdiffusion,
    "mind-vis": write_mind_vis,
    "contrast-attend-diffuse": write_cad,
    "atm": write_atm,
    "atm-multimodal": write_multimodal,
    "mindeye": write_mindeye,
}


def _write_encoder(folder: Path) -> None:
    encoder = AtmsEncoder(AtmsConfig())
    save_encoder(folder / "encoder", encoder, EncoderFacts(ch_names=CAP63, space="clip"))


def _finish(folder: Path, settings: SystemSettings) -> None:
    (folder / SETTINGS).write_text(json.dumps(asdict(settings)), encoding="utf-8")
    write_hashes(folder)


def _write_sdxl(folder: Path, *, is_turbo: bool) -> None:
    """Write SDXL part by part, so that no more than its U-Net is in memory at a time."""
    generator = folder / "generator"
    with _half():
        unet = UNet2DConditionModel(
            sample_size=64 if is_turbo else 128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
            use_linear_projection=True,
        )
    _write_adapter(folder / ADAPTER_FILE, unet)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if is_turbo:
        scheduler = EulerAncestralDiscreteScheduler(**betas, timestep_spacing="trailing")
    else:
        scheduler = EulerDiscreteScheduler(**betas, timestep_spacing="leading", steps_offset=1)
    tokenizers = [
        tokenizer(folder / "scratch", n_tokens=N_TOKENS, files=(), pad=pad)
        for pad in ("<|endoftext|>", "!")
    ]
    with _half():
        pipeline = StableDiffusionXLPipeline(
            unet=unet,
            vae=_autoencoder(scaling_factor=0.13025),
            text_encoder=CLIPTextModel(_text(768, n_layers=12, act="quick_gelu")),
            text_encoder_2=CLIPTextModelWithProjection(_text(1280, n_layers=32, act="gelu")),
            tokenizer=tokenizers[0],
            tokenizer_2=tokenizers[1],
            scheduler=scheduler,
            add_watermarker=False,
        )
    pipeline.save_pretrained(generator)
    (generator / PROMPTS).write_text('{"only_empty_prompt": true}\n', encoding="utf-8")


def _text(width: int, *, n_layers: int, act: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=N_TOKENS,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=n_layers,
        num_attention_heads=width // 64,
        projection_dim=width,
        hidden_act=act,
        bos_token_id=N_TOKENS - 2,
        eos_token_id=N_TOKENS - 1,
        pad_token_id=N_TOKENS - 1,
    )


def _autoencoder(*, scaling_factor: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
        scaling_factor=scaling_factor,
    )


def _write_adapter(path: Path, unet: UNet2DConditionModel) -> None:
    width = int(unet.config.cross_attention_dim)
    wide = ADAPTER_TOKENS * width
    state = {
        "image_proj.proj.weight": torch.randn(wide, VECTOR).half() / VECTOR**0.5,
        "image_proj.proj.bias": torch.zeros(wide).half(),
        "image_proj.norm.weight": torch.ones(width).half(),
        "image_proj.norm.bias": torch.zeros(width).half(),
    }
    modules = dict(unet.named_modules())
    layers = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for place, name in enumerate(layers):
        inner = modules[name.removesuffix(".processor")].inner_dim
        for part in ("k", "v"):
            key = f"ip_adapter.{2 * place + 1}.to_{part}_ip.weight"
            state[key] = torch.randn(inner, width).half() / width**0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)


@contextmanager
def _half(dtype: torch.dtype = torch.float16) -> Iterator[None]:
    """Within, modules are made in half precision, as the files are published."""
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def main() -> None:
    """Write one system's folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("system", choices=sorted(WRITERS))
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"--out {args.out} holds files, expected a new or empty folder.")
    quiet_libraries()
    torch.manual_seed(0)
    try:
        WRITERS[args.system](args.out)
    except BaseException:
        shutil.rmtree(args.out, ignore_errors=True)
        raise


if __name__ == "__main__":
    main()
