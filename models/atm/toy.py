"""Toy-size weights in the layouts of the published files: diffusers folders, an IP-Adapter file.

Owns the sizes. Everything is random (seeded) and untrained: it shows that loading, live decoding
and drawing work, and its pictures mean nothing. The live path reads these through the very code
that reads the published weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import platformdirs
import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.folder import SETTINGS, EncoderFacts, save_encoder, save_prior
from models.atm.generation import ADAPTER_FILE
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.stable_diffusion.libraries import quiet_libraries
from models.things_eeg2.montage import POSTERIOR
from models.weights import HASHES, write_hashes
from pipeline.gallery import SPACE

TEXT_WIDTH = 16
CONTEXT_WIDTH = 2 * TEXT_WIDTH
ADAPTER_TOKENS = 4
"""As in the published file."""
UNTRAINED = 0.001
"""Scale of the toy encoder's vectors: it has learnt nothing, and its norm says so."""
TOY_SIZE = 64
"""Side of a toy picture, pixels."""
_VERSION = 1


def toy_folder(*, n_features: int) -> Path:
    """The toy in the user's cache, made where it is not there yet."""
    return toy_cache(
        f"atm-{_VERSION}-{n_features}",
        lambda folder: write_toy_weights(folder, n_features=n_features),
    )


def toy_cache(name: str, write: Callable[[Path], None]) -> Path:
    """A toy's folder in the user's cache; `write` fills it where it is not there yet."""
    folder = platformdirs.user_cache_path("phosphene", appauthor=False) / "toys" / name
    if not (folder / HASHES).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        write(folder)
        write_hashes(folder)
    return Path(folder)


def write_toy_weights(folder: Path, *, n_features: int, seed: int = 0) -> None:
    """Write an encoder, a prior, a generator and an adapter below `folder`.

    `n_features` is the width of the target space (the bundled gallery's, so that a live session
    can rank).
    """
    quiet_libraries()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = AtmsEncoder(
            AtmsConfig(n_channels=len(POSTERIOR), n_features=n_features, n_subjects=2)
        )
        facts = EncoderFacts(ch_names=POSTERIOR, space=SPACE, output_scale=UNTRAINED)
        save_encoder(folder / "encoder", encoder, facts)
        sizes = PriorConfig(
            embed_dim=n_features, cond_dim=n_features, hidden_dim=(64, 32), time_embed_dim=32
        )
        save_prior(folder / "prior", DiffusionPriorUNet(sizes), target_norm=n_features**0.5)
        pipeline = make_toy_pipeline(folder / "tokenizer")
        pipeline.save_pretrained(folder / "generator")
        shutil.rmtree(folder / "tokenizer")
        settings = {"prior_steps": 10, "prior_guidance": 2.0, "size": TOY_SIZE}
        (folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
        write_toy_adapter(folder / ADAPTER_FILE, pipeline.unet, n_features=n_features)


def make_toy_pipeline(scratch: Path) -> StableDiffusionXLPipeline:
    """Build SDXL's pipeline with every part, each as small as its class allows."""
    # SDXL's layout: no attention at the top, cross-attention below it and in the middle.
    unet = UNet2DConditionModel(
        sample_size=TOY_SIZE // 8,
        block_out_channels=(32, 32, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 1),
        attention_head_dim=(2, 2, 2),
        cross_attention_dim=CONTEXT_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=TOY_SIZE,
        scaling_factor=0.13025,
    )
    text = CLIPTextConfig(
        vocab_size=1000,
        hidden_size=TEXT_WIDTH,
        intermediate_size=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=TEXT_WIDTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    tokenizer = _toy_tokenizer(scratch)
    return StableDiffusionXLPipeline(
        vae=vae.eval(),
        text_encoder=CLIPTextModel(text).eval(),
        text_encoder_2=CLIPTextModelWithProjection(text).eval(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet.eval(),
        scheduler=EulerAncestralDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="trailing",
        ),
        add_watermarker=False,
    )


def _toy_tokenizer(scratch: Path) -> CLIPTokenizer:
    scratch.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,'-"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    vocab = {token: number for number, token in enumerate(tokens)}
    (scratch / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (scratch / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(
        scratch, model_max_length=77, local_files_only=True
    )
    return tokenizer


def write_toy_adapter(path: Path, unet: UNet2DConditionModel, *, n_features: int) -> None:
    """Write an IP-Adapter for `unet` under the names of the published file."""
    wide = ADAPTER_TOKENS * CONTEXT_WIDTH
    state = {
        "image_proj.proj.weight": torch.randn(wide, n_features) / n_features**0.5,
        "image_proj.proj.bias": torch.zeros(wide),
        "image_proj.norm.weight": torch.ones(CONTEXT_WIDTH),
        "image_proj.norm.bias": torch.zeros(CONTEXT_WIDTH),
    }
    layers = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    modules = dict(unet.named_modules())
    for place, name in enumerate(layers):
        width = modules[name.removesuffix(".processor")].inner_dim
        for part in ("k", "v"):
            # The published file numbers all attentions; the cross-attentions are the odd ones.
            key = f"ip_adapter.{2 * place + 1}.to_{part}_ip.weight"
            state[key] = torch.randn(width, CONTEXT_WIDTH) / CONTEXT_WIDTH**0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
