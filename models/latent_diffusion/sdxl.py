"""Stable Diffusion XL from one file, as its authors publish it, to diffusers' folder.

Owns the reading of sizes from a state's shapes and the text encoders' names; U-Net and
autoencoder are renamed by `compvis`. Tensors keep their dtype, and nothing is initialised: a
module without storage takes them as they are. A single file holds no tokenizer; see `tokenizer`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from models.checkpoints import CheckpointError, below, load_into, shape_of
from models.latent_diffusion import compvis
from models.latent_diffusion.importing import import_vae

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
SCALING_FACTOR = 0.13025
HEAD_WIDTH = 64
"""Of every attention of SDXL and its text encoders; shapes do not tell it."""
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_OPEN_CLIP_NAMES = (
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.out_proj.", "self_attn.out_proj."),
)
SchedulerKind = Literal["turbo", "base"]


def import_sdxl(
    state: Mapping[str, Tensor],
    folder: Path,
    *,
    scheduler: SchedulerKind,
    tokenizer_files: Sequence[Path] = (),
) -> None:
    """Write a pipeline in diffusers' layout.

    Parameters
    ----------
    state : mapping
        Of `sd_xl_turbo_1.0_fp16.safetensors`, `sd_xl_base_1.0.safetensors` or a fine-tuned one.
    folder : Path
    scheduler : {"turbo", "base"}
        Which a file does not say: ancestral Euler with trailing timesteps, or Euler.
    tokenizer_files : sequence of Path
        `vocab.json` and `merges.txt`; none gives a tokenizer for the empty prompt alone.

    Raises
    ------
    CheckpointError
        A part is missing or of another architecture.
    """
    pipeline = build_sdxl(
        state,
        scheduler=_scheduler(scheduler),
        scratch=folder / "scratch",
        tokenizer_files=tokenizer_files,
    )
    pipeline.save_pretrained(folder)


def build_sdxl(
    state: Mapping[str, Tensor],
    *,
    scheduler: Any,
    scratch: Path,
    tokenizer_files: Sequence[Path] = (),
) -> StableDiffusionXLPipeline:
    """Build a pipeline of one file's state; `scratch` is a folder that may be written and goes.

    Raises
    ------
    CheckpointError
        As `import_sdxl`.
    """
    second = import_open_clip(below(state, OPEN_CLIP))
    first = import_clip(below(state, CLIP))
    size = int(first.config.vocab_size)
    tokenizers = [
        tokenizer(scratch, n_tokens=size, files=tokenizer_files, pad=pad)
        for pad in (_SPECIAL[1], "!")
    ]
    return StableDiffusionXLPipeline(
        vae=import_vae(below(state, VAE), scaling_factor=SCALING_FACTOR),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=import_unet(below(state, UNET), pooled_width=second.config.projection_dim),
        scheduler=scheduler,
        add_watermarker=False,
    )


def _scheduler(kind: SchedulerKind) -> Any:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if kind == "turbo":
        return EulerAncestralDiscreteScheduler(**betas, timestep_spacing="trailing")
    return EulerDiscreteScheduler(**betas, timestep_spacing="leading", steps_offset=1)


def import_unet(state: Mapping[str, Tensor], *, pooled_width: int) -> UNet2DConditionModel:
    """Build SDXL's U-Net of a CompVis state.

    Raises
    ------
    CheckpointError
        It has not SDXL's embedding of sizes (`label_emb`), or is of another architecture.
    """
    if "label_emb.0.0.weight" not in state:
        raise CheckpointError(
            "the U-Net has no label_emb.*, expected SDXL: give sd_xl_turbo_1.0_fp16.safetensors or "
            "sd_xl_base_1.0.safetensors (SD 1.5 belongs to `phosphene import dreamdiffusion`)."
        )
    config = compvis.unet_config(state, num_heads=1)
    layout, added = compvis.unet_layout(state), int(state["label_emb.0.0.weight"].shape[1])
    projection = next(value for name, value in state.items() if name.endswith("proj_in.weight"))
    config |= {
        "class_embed_type": None,
        "attention_head_dim": [max(1, w // HEAD_WIDTH) for w in config["block_out_channels"]],
        "transformer_layers_per_block": compvis.transformer_depths(state, layout),
        "use_linear_projection": projection.ndim == 2,
        "addition_embed_type": "text_time",
        # Six sizes (of the picture, its crop, its target), each as a sinusoidal code.
        "addition_time_embed_dim": (added - pooled_width) // 6,
        "projection_class_embeddings_input_dim": added,
        "sample_size": 128,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    renamed = compvis.rename(state, compvis.unet_names(layout))
    load_into(unet, renamed, what="the U-Net's state", assign=True)
    return cast("UNet2DConditionModel", unet.eval())


def import_clip(state: Mapping[str, Tensor]) -> CLIPTextModel:
    """Build the first text encoder; its names are transformers' already."""
    plain = {k: v for k, v in state.items() if not k.endswith("position_ids")}
    plain = {k.removeprefix("text_model."): v for k, v in plain.items()}
    return cast("CLIPTextModel", _text_encoder(CLIPTextModel, plain, act="quick_gelu"))


def import_open_clip(state: Mapping[str, Tensor]) -> CLIPTextModelWithProjection:
    """Build the second text encoder of OpenCLIP's names."""
    model = _text_encoder(CLIPTextModelWithProjection, _open_clip_names(state), act="gelu")
    return cast("CLIPTextModelWithProjection", model)


def open_clip_text(state: Mapping[str, Tensor]) -> CLIPTextModel:
    """Build a text encoder of OpenCLIP's names without its projection, as 2.x has it."""
    renamed = _open_clip_names(state)
    renamed.pop("text_projection.weight", None)
    return cast("CLIPTextModel", _text_encoder(CLIPTextModel, renamed, act="gelu"))


def _open_clip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        renamed |= _open_clip_entry(name, value)
    return renamed


def _open_clip_entry(name: str, value: Tensor) -> dict[str, Tensor]:
    whole = {
        "token_embedding.weight": "embeddings.token_embedding.weight",
        "positional_embedding": "embeddings.position_embedding.weight",
        "ln_final.weight": "final_layer_norm.weight",
        "ln_final.bias": "final_layer_norm.bias",
    }
    if name in whole:
        return {whole[name]: value}
    if name == "text_projection":  # a matrix on the right there, a linear layer here
        return {"text_projection.weight": value.T.contiguous()}
    if not name.startswith("transformer.resblocks."):
        return {}  # logit_scale, the causal mask: not part of the function
    layer, _, rest = name.removeprefix("transformer.resblocks.").partition(".")
    place = f"encoder.layers.{layer}."
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        parts = zip("qkv", value.chunk(3), strict=True)
        return {f"{place}self_attn.{q}_proj.{kind}": part.contiguous() for q, part in parts}
    for theirs, ours in _OPEN_CLIP_NAMES:
        if rest.startswith(theirs):
            return {place + ours + rest.removeprefix(theirs): value}
    raise CheckpointError(f"the second text encoder has {name!r}, expected OpenCLIP's names.")


def _text_encoder(kind: Any, state: dict[str, Tensor], *, act: str) -> Any:
    try:
        n_tokens, width = shape_of(state, "embeddings.token_embedding.weight", "n_tokens, width")
        projection = state.get("text_projection.weight")
        config = CLIPTextConfig(
            vocab_size=n_tokens,
            hidden_size=width,
            intermediate_size=state["encoder.layers.0.mlp.fc1.weight"].shape[0],
            num_hidden_layers=1 + max(int(k.split(".")[2]) for k in state if ".layers." in k),
            num_attention_heads=max(1, width // HEAD_WIDTH),
            max_position_embeddings=state["embeddings.position_embedding.weight"].shape[0],
            projection_dim=width if projection is None else projection.shape[0],
            hidden_act=act,
            bos_token_id=n_tokens - 2,
            eos_token_id=n_tokens - 1,
            pad_token_id=n_tokens - 1 if projection is None else 0,
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"the file has no whole text encoder ({error}).") from None
    with torch.device("meta"):
        model = kind(config)
    # Some releases of transformers keep the inner model under a name of its own.
    prefix = "text_model." if any(k.startswith("text_model.") for k in model.state_dict()) else ""
    named = {k if k.startswith("text_projection") else prefix + k: v for k, v in state.items()}
    load_into(model, named, what="a text encoder's state", assign=True)
    for module in model.modules():  # positions are a code, not a weight: no file holds them
        if "position_ids" in module._buffers:  # noqa: SLF001 - nn.Module has no other way to ask
            module.position_ids = torch.arange(config.max_position_embeddings)[None]
    return model.eval()


def tokenizer(scratch: Path, *, n_tokens: int, files: Sequence[Path], pad: str) -> CLIPTokenizer:
    """Build a tokenizer of `vocab.json` and `merges.txt`; without them, of the special tokens.

    The empty prompt is those tokens alone, so that it is encoded as it should be.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    by_name = {path.name: path for path in files}
    if by_name:
        if set(by_name) != {"vocab.json", "merges.txt"}:
            raise CheckpointError(
                f"the tokenizer is {', '.join(sorted(by_name))}, expected vocab.json and "
                "merges.txt, both of Hugging Face stabilityai/sdxl-turbo, tokenizer/."
            )
        vocab, merges = (by_name[name].read_bytes() for name in ("vocab.json", "merges.txt"))
    else:
        table = {"!": 0, _SPECIAL[0]: n_tokens - 2, _SPECIAL[1]: n_tokens - 1}
        vocab, merges = json.dumps(table).encode(), b"#version: 0.2\n"
    (scratch / "vocab.json").write_bytes(vocab)
    (scratch / "merges.txt").write_bytes(merges)
    made: CLIPTokenizer = CLIPTokenizer.from_pretrained(
        scratch, model_max_length=77, pad_token=pad, local_files_only=True
    )
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()
    return made
