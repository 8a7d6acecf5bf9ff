"""A trained or imported latent diffusion system on disk, in diffusers' layout.

Owns the folder: `unet/`, `vae/`, `scheduler/` as diffusers writes them, `condition/` for what is
not in Stable Diffusion, `config.json` for how signals come in, `hashes.json` over all. Knows
nothing of the published checkpoints.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel, VQModel

from configs.guard import read_text
from configs.published import ConditionConfig, MaskedAutoencoderConfig
from models.checkpoints import CheckpointError, below, load_checkpoint, load_into, save_tensors
from models.latent_diffusion.conditioning import ConditionStage, TimeCondition
from models.latent_diffusion.model import FirstStage, LatentDiffusion
from models.masked_autoencoder import SignalEncoder
from models.sampling.schedules import SD15
from models.weights import write_hashes


@dataclass(frozen=True, slots=True)
class Home:
    """Whose folder it is: the system's name and title, and where its weights come from."""

    system: str
    title: str
    source: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """What rebuilds the condition stage: `config.json` holds it as `encoder` and `condition`."""

    encoder: MaskedAutoencoderConfig
    condition: ConditionConfig


def save_model(
    model: LatentDiffusion, folder: Path, home: Home, *, preprocessing: dict[str, Any]
) -> None:
    """Write the whole model; `preprocessing` says how epochs become signals."""
    model.unet.save_pretrained(folder / "unet")
    model.vae.save_pretrained(folder / "vae")
    scheduler = PNDMScheduler(
        beta_schedule="scaled_linear", **model.betas, skip_prk_steps=True, steps_offset=1
    )
    scheduler.save_pretrained(folder / "scheduler")
    condition = {f"stage.{k}": v for k, v in model.condition_stage.state_dict().items()}
    if model.time_condition is not None:
        condition |= {f"time.{k}": v for k, v in model.time_condition.state_dict().items()}
    save_tensors(folder / "condition" / "model.safetensors", condition)
    sizes = sizes_of(model)
    table = {
        "schema": 1,
        "system": home.system,
        "encoder": sizes.encoder.model_dump(),
        "condition": sizes.condition.model_dump(),
        "time_condition": model.time_condition is not None,
        "betas": model.betas,
        "preprocessing": preprocessing,
    }
    (folder / "config.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    write_hashes(folder)


def sizes_of(model: LatentDiffusion) -> Sizes:
    """Read the sizes from a model."""
    stage = model.condition_stage
    return Sizes(
        encoder=cast("SignalEncoder", stage.mae).config,
        condition=ConditionConfig(
            context_tokens=stage.channel_mapper[1].out_channels,
            context_dim=stage.dim_mapper.out_features,
            time_embed_dim=4 * model.unet.config.block_out_channels[0],
            image_embed_dim=0 if stage.mapping is None else stage.mapping.fc.out_features,
        ),
    )


def make_stage(sizes: Sizes) -> ConditionStage:
    """A condition stage with fresh mappers around a fresh encoder."""
    return ConditionStage(
        SignalEncoder(sizes.encoder),
        n_tokens=sizes.encoder.n_tokens,
        embed_dim=sizes.encoder.embed_dim,
        config=sizes.condition,
    )


def make_time_condition(condition: ConditionConfig) -> TimeCondition:
    """A fresh time condition."""
    return TimeCondition(condition.context_tokens, condition.context_dim, condition.time_embed_dim)


def read_config(folder: Path, home: Home) -> dict[str, Any]:
    """Read `config.json`.

    Raises
    ------
    CheckpointError
        Missing or of something else; the sentence says where to get it.
    """
    try:
        table = json.loads(read_text(folder / "config.json"))
    except (OSError, ValueError, RecursionError):
        raise CheckpointError(
            f"{folder / 'config.json'} is missing, so there is no {home.title} in {folder}: get "
            f"the weights from {home.source}, and name the folder with decoder.weights."
        ) from None
    if not isinstance(table, dict) or table.get("system") != home.system:
        raise CheckpointError(
            f"{folder / 'config.json'} is not of {home.title}: name another folder with "
            "decoder.weights."
        )
    return table


def load_stage(folder: Path, home: Home) -> tuple[ConditionStage, dict[str, Any]]:
    """Load the condition stage alone, ready to run, and `config.json`.

    Raises
    ------
    CheckpointError
        A part is missing or does not fit; the sentence names the file.
    """
    table = read_config(folder, home)
    state = load_checkpoint(folder / "condition" / "model.safetensors")
    return _stage(folder, table, state).eval(), table


def _stage(folder: Path, table: dict[str, Any], state: dict[str, Any]) -> ConditionStage:
    stage = make_stage(_sizes(table))
    load_into(stage, below(state, "stage."), what=f"{folder / 'condition'}")
    return stage


def _sizes(table: dict[str, Any]) -> Sizes:
    return Sizes(
        MaskedAutoencoderConfig.model_validate(table["encoder"]),
        ConditionConfig.model_validate(table["condition"]),
    )


def load_model(folder: Path, home: Home) -> tuple[LatentDiffusion, dict[str, Any]]:
    """Load the model and its `config.json`.

    Raises
    ------
    CheckpointError
        A part is missing or does not fit; the sentence names the file.
    """
    table = read_config(folder, home)
    for name in ("unet", "vae"):
        path = folder / name / "diffusion_pytorch_model.safetensors"
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: get it from {home.source}.")
    state = load_checkpoint(folder / "condition" / "model.safetensors")
    stage = _stage(folder, table, state)
    time_condition = None
    if table["time_condition"]:
        time_condition = make_time_condition(_sizes(table).condition)
        load_into(time_condition, below(state, "time."), what=f"{folder / 'condition'}")
    model = LatentDiffusion(
        unet=UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True),
        vae=load_first_stage(folder / "vae"),
        condition_stage=stage,
        time_condition=time_condition,
        # Folders from before other noise schedules say none.
        betas=table.get("betas", SD15),
    )
    return model.eval(), table


def load_first_stage(folder: Path) -> FirstStage:
    """Load an autoencoder as diffusers wrote it, of the class that its `config.json` names.

    Raises
    ------
    CheckpointError
        It names none, or one that is no first stage.
    """
    kinds = {kind.__name__: kind for kind in (AutoencoderKL, VQModel)}
    try:
        name = json.loads(read_text(folder / "config.json"))["_class_name"]
        kind = kinds[name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} names no first stage ({error}), expected "
            f"{' or '.join(kinds)}: import the weights again."
        ) from None
    return cast("FirstStage", kind.from_pretrained(folder, local_files_only=True))
