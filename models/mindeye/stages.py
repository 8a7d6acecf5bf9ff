"""What the commands call: the stages `high-level` and `low-level`, from settings and folders.

Owns the reading of the settings' tables and the order of the steps; each step lives elsewhere.
Data: shards as `models.mindeye.nsd` reads them, below `--data` or its `webdataset_avg_split`.
Tables: `data` (`StageData`), `model` and `prior` (sizes), `training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from configs.mindeye import (
    BackboneConfig,
    LowLevelConfig,
    LowLevelTrainingConfig,
    MindEyeTrainingConfig,
    PersonTrainingConfig,
    TokenPriorConfig,
)
from configs.published import PublishedConfig
from models.metrics.retrieval import retrieval
from models.mindeye.backbone import Backbone
from models.mindeye.errors import MindEyeError
from models.mindeye.folder import (
    BACKBONE,
    LOW_LEVEL,
    PRIOR,
    load_backbone,
    load_prior,
    load_settings,
    save_part,
    save_settings,
)
from models.mindeye.low_level import LowLevelNetwork
from models.mindeye.nsd import SPLITS, Shards, mean_voxels, open_split
from models.mindeye.prior import TokenPrior
from models.mindeye.targets import ClipTokens
from models.mindeye.training import (
    HighLevelLosses,
    HighLevelTask,
    LowLevelLosses,
    LowLevelTask,
    pixels_of,
)
from models.stable_diffusion.libraries import quiet_libraries
from models.stages import StageRequest, check_tables, read_table
from models.training import LoopConfig
from models.training.asked import engine_for, train_as_asked
from models.training.engine import is_first_process
from models.weights import write_hashes

NO_CLIP = float("inf")
"""MindEye clips no gradient."""
CLIP_SOURCE = "huggingface.co/openai/clip-vit-large-patch14"
VAE_SOURCE = "the folder vae/ of a Stable Diffusion 1.x, or of Versatile Diffusion"
MAPS_SOURCE = "a ConvNeXt in Hugging Face's layout (the original's is VICRegL's ConvNeXt-XL)"
_HIGH, _LOW = (BACKBONE, PRIOR), (LOW_LEVEL,)
"""Folders that a stage writes."""
N_SCORED = 300
"""Pictures of the validation part whose retrieval is scored, as many as the paper draws."""


class StageData(PublishedConfig):
    """Where a stage finds what it needs; paths are relative to the data folder."""

    subject: int = Field(default=1, ge=1)
    """Of NSD: 1, 2, 5 or 7 have all sessions."""
    clip: str = "clip-vit-large-patch14"
    """Hugging Face folder of CLIP ViT-L/14, for `high-level`."""
    vae: str = "vae"
    """Folder of the autoencoder whose latents are predicted, for `low-level`."""
    maps: str = "none"
    """Folder of the image network that maps are compared with, for `low-level`; `none`: that part
    of the objective is left out."""


def run_high_level(request: StageRequest) -> dict[str, Any]:
    """Train backbone, projector and prior; write `backbone/` and `prior/`."""
    check_tables(request.table, ("data", "model", "prior", "training"))
    data = read_table(StageData, request.table.get("data"), where="data")
    training = read_table(MindEyeTrainingConfig, request.table.get("training"))
    clip = ClipTokens(_pretrained(request.data / data.clip, "clip"))
    shards, val = _shards(request, data)
    given = dict(request.table.get("model", {}))
    n_tokens, width = clip.shape
    sizes = {"n_voxels": shards.n_voxels, "n_tokens": n_tokens, "width": width} | given
    config = read_table(BackboneConfig, sizes, where="model")
    torch.manual_seed(request.seed)
    backbone, prior = Backbone(config), None
    if training.prior_weight > 0:
        own = {"n_tokens": config.n_tokens, "width": config.width}
        table = own | dict(request.table.get("prior", {}))
        prior = TokenPrior(read_table(TokenPriorConfig, table, where="prior"))
    module = HighLevelLosses(backbone, prior, clip, training)
    report = _train(request, HighLevelTask(module, shards, val, training), training.passes, _HIGH)
    if is_first_process():
        save_part(request.out, BACKBONE, backbone, backbone.config)
        if prior is not None:
            save_part(request.out, PRIOR, prior, prior.config)
        save_settings(request.out, has_prior=prior is not None)
        write_hashes(request.out)
    return report | {
        "n_parameters": _count(backbone),
        **_score(module, shards if val is None else val, is_held_out=val is not None),
        BACKBONE: str(request.out / BACKBONE),
    }


def run_person(request: StageRequest) -> dict[str, Any]:
    """Fit a new person's linear layer before a trained backbone; write `backbone/`, `prior/`."""
    check_tables(request.table, ("data", "base", "training"))
    data = read_table(StageData, request.table.get("data"), where="data")
    training = read_table(PersonTrainingConfig, request.table.get("training"))
    base = Path(str(request.table.get("base", request.data / "base")))
    settings = load_settings(base)
    clip = ClipTokens(_pretrained(request.data / data.clip, "clip"))
    shards, val = _shards(request, data)
    torch.manual_seed(request.seed)
    backbone = load_backbone(base).for_person(shards.n_voxels)
    prior = load_prior(base) if settings.has_prior else None
    module = HighLevelLosses(backbone, prior, clip, training)
    module.requires_grad_(training.trains_all)
    backbone.requires_grad_(training.trains_all)
    clip.requires_grad_(False)
    if backbone.adapter is not None:
        backbone.adapter.requires_grad_(True)
    config = training.model_copy(update={"weight_decay": training.ridge})
    report = _train(request, HighLevelTask(module, shards, val, config), training.passes, _HIGH)
    if is_first_process():
        save_part(request.out, BACKBONE, backbone, backbone.config)
        if prior is not None:
            save_part(request.out, PRIOR, prior, prior.config)
        save_settings(request.out, space=settings.space, has_prior=prior is not None)
        write_hashes(request.out)
    return report | {
        "n_trained_parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
        **_score(module, shards if val is None else val, is_held_out=val is not None),
        BACKBONE: str(request.out / BACKBONE),
    }


def run_low_level(request: StageRequest) -> dict[str, Any]:
    """Train the low-level pipeline; write `low_level/`."""
    check_tables(request.table, ("data", "model", "training"))
    data = read_table(StageData, request.table.get("data"), where="data")
    training = read_table(LowLevelTrainingConfig, request.table.get("training"))
    vae = _pretrained(request.data / data.vae, "vae")
    maps = None if data.maps == "none" else _pretrained(request.data / data.maps, "maps")
    if maps is None and training.contrast_weight > 0:
        request.on_note(
            "note: data.maps names no image network, so the low-level objective has no contrast "
            f"with its maps; the published one has ({MAPS_SOURCE})."
        )
    shards, val = _shards(request, data)
    sizes = {"n_voxels": shards.n_voxels, "maps": _n_channels(maps)}
    config = read_table(LowLevelConfig, sizes | dict(request.table.get("model", {})), where="model")
    torch.manual_seed(request.seed)
    network = LowLevelNetwork(config)
    module = LowLevelLosses(network, vae, maps, training)
    report = _train(request, LowLevelTask(module, shards, val, training), training.passes, _LOW)
    if is_first_process():
        save_part(request.out, LOW_LEVEL, network, config)
        save_settings(request.out, has_low_level=True, size=module.side)
        write_hashes(request.out)
    return report | {"n_parameters": _count(network), LOW_LEVEL: str(request.out / LOW_LEVEL)}


def _shards(request: StageRequest, data: StageData) -> tuple[Shards, Shards | None]:
    """Training and validation shards; the test part is not so much as opened."""
    shards = open_split(request.data, "train", subject=data.subject)
    root = request.data / SPLITS
    folder = (root if root.is_dir() else request.data) / "val"
    if not any(folder.glob("*.tar")):
        return shards, None
    val = open_split(request.data, "val", subject=data.subject)
    if val.n_voxels != shards.n_voxels:
        raise MindEyeError(
            f"the val shards have {val.n_voxels} voxels, those of train {shards.n_voxels}, "
            "expected one subject's: choose the subject with data.subject."
        )
    return shards, val


def _train(
    request: StageRequest, task: HighLevelTask | LowLevelTask, passes: int, parts: Sequence[str]
) -> dict[str, Any]:
    # Published in half precision: `auto` may take bf16.
    loop = LoopConfig(passes, task.batch_size, max_grad_norm=NO_CLIP, seed=request.seed)
    makes = [request.out / part for part in parts]
    return train_as_asked(task, loop, request, engine=engine_for(request), makes=makes)


@torch.inference_mode()
def _score(module: HighLevelLosses, shards: Shards, *, is_held_out: bool) -> dict[str, Any]:
    """Retrieval both ways among pictures that were not trained on, if there are any."""
    module.cpu().eval()
    n = min(N_SCORED, len(shards))
    brain, images = [], []
    for i in range(n):
        voxels = torch.from_numpy(mean_voxels(shards, [i]))
        brain.append(module.backbone(voxels).projected.flatten().numpy())
        images.append(module.targets(pixels_of(shards.picture(i))[None]).flatten().numpy())
    found = retrieval(np.stack(brain), np.stack(images))
    return {"retrieval" if is_held_out else "retrieval_of_training_pictures": asdict(found)}


def _pretrained(folder: Path, what: Literal["clip", "vae", "maps"]) -> nn.Module:
    """Load a frozen network from a folder on this machine.

    Raises
    ------
    MindEyeError
        It is not there or of another kind; nothing is downloaded.
    """
    import diffusers
    import transformers

    quiet_libraries()
    kind: Any
    kind, source = {
        "clip": (transformers.CLIPVisionModelWithProjection, CLIP_SOURCE),
        "vae": (diffusers.AutoencoderKL, VAE_SOURCE),
        "maps": (transformers.ConvNextModel, MAPS_SOURCE),
    }[what]
    try:
        network = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split()[:20])
        raise MindEyeError(
            f"{folder} holds no {what} that can be used ({reason}), expected {source} with "
            f"safetensors: put it there, or name another folder with data.{what}."
        ) from None
    made: nn.Module = network.float()
    return made


def _n_channels(maps: Any) -> int:
    """Channels of an image network's last maps; 0: none."""
    return 0 if maps is None else int(maps.config.hidden_sizes[-1])


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def run_import(files: Sequence[Path], out: Path) -> dict[str, Any]:
    """Turn published folders and files into our folder of weights."""
    from models.mindeye.published import import_files

    return import_files(files, out)
