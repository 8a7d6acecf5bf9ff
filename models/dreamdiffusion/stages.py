"""What the command calls: stage A and stage B, from settings and folders.

Owns the reading of the settings' tables and the order of the steps; each step lives elsewhere.

Settings of stage A: tables `model` (`MaskedAutoencoderConfig`), `training`
(`MaskedTrainingConfig`) and `data` (`StageAData`). Of stage B: `training`
(`DiffusionTrainingConfig`), `condition` (`ConditionConfig`), `model` (of an untrained encoder) and
`data` (`StageBData`).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from configs.published import (
    ConditionConfig,
    DiffusionTrainingConfig,
    MaskedAutoencoderConfig,
    MaskedTrainingConfig,
    PublishedConfig,
)
from models.dreamdiffusion import imagenet40
from models.dreamdiffusion.finetuning import Pictures, TrialExamples, clip_targets
from models.dreamdiffusion.folder import HOME
from models.dreamdiffusion.importing import PREPROCESSING
from models.dreamdiffusion.moabb import cache_datasets
from models.dreamdiffusion.recordings import RecordingFolder, open_folder
from models.latent_diffusion import finetuning
from models.latent_diffusion.folder import Sizes, make_stage, make_time_condition, save_model
from models.latent_diffusion.model import LatentDiffusion
from models.latent_diffusion.published_files import load_base
from models.masked_autoencoder import SignalEncoder
from models.masked_autoencoder import training as masked
from models.masked_autoencoder.folder import load_trained_encoder, save_autoencoder
from models.stages import StageRequest, check_tables, read_table
from models.training.asked import engine_for, train_as_asked

BASE = "Stable Diffusion 1.5 (v1-5-pruned.ckpt)"
STAGE_A = "phosphene train dreamdiffusion a"


class StageAData(PublishedConfig):
    """What stage A trains on beside the files of the data folder."""

    moabb: tuple[str, ...] = ()
    """Data sets of MOABB by the names of their classes (extra `moabb`)."""
    subjects: tuple[int, ...] = ()
    """Their subjects; empty: all."""


class StageBData(PublishedConfig):
    """Where stage B finds what it needs; paths are relative to the data folder."""

    base: str = "v1-5-pruned.ckpt"
    """Stable Diffusion 1.5: the CompVis file, or a folder with `unet/` and `vae/`."""
    encoder: str = "encoder"
    """Folder that stage A wrote; `none`: an untrained encoder."""
    clip: str = "clip-vit-large-patch14"
    """Hugging Face folder of CLIP ViT-L/14; `none`: no alignment."""
    images: str = "imageNet_images"
    """Folder of `<synset>/<name>.JPEG`."""
    eeg: str = "eeg_5_95_std.pth"
    """File of the trials."""
    split: str = "block_splits_by_image_single.pth"
    """File of the published split, or `leave-block-out`."""
    subject: int = 4
    """Subject, 0: all."""
    side: int = 512
    """Side of the pictures, pixels."""
    num_heads: int = 8
    """Attention heads of the U-Net."""


def run_stage_a(request: StageRequest) -> dict[str, Any]:
    """Train the masked autoencoder on the signals below the data folder."""
    check_tables(request.table, ("data", "model", "training"))
    data = read_table(StageAData, request.table.get("data"), where="data")
    model = read_table(MaskedAutoencoderConfig, request.table.get("model"), where="model")
    training = read_table(MaskedTrainingConfig, request.table.get("training"), where="training")
    # Published in half precision: `auto` may take bf16.
    engine = engine_for(request)
    if engine.rank > 0:
        engine.wait()  # until the first process has filled the cache
    recordings = _recordings(request, model, data)
    if engine.rank == 0:
        engine.wait()
    autoencoder = masked.fresh_autoencoder(model, seed=request.seed)
    task = masked.MaskedModelling(recordings, autoencoder=autoencoder, training=training)
    loop = masked.loop_config(training, seed=request.seed)
    report = train_as_asked(task, loop, request, engine=engine, makes=[request.out / "encoder"])
    if engine.rank == 0:
        save_autoencoder(task.autoencoder, request.out / "encoder")
    return report | {"encoder": str(request.out / "encoder"), "n_items": len(recordings)}


def _recordings(
    request: StageRequest, model: MaskedAutoencoderConfig, data: StageAData
) -> RecordingFolder:
    cache = request.out / "cache"
    public = cache_datasets(
        data.moabb, subjects=data.subjects, cache=cache / "moabb", on_note=request.on_note
    )
    return open_folder(
        request.data,
        n_channels=model.n_channels,
        n_times=model.n_times,
        reader=request.read_recording,
        suffixes=request.suffixes,
        cache=cache,
        more=public,
    )


def run_stage_b(request: StageRequest) -> dict[str, Any]:
    """Train the condition path and the cross-attention on EEG-ImageNet40."""
    check_tables(request.table, ("data", "training", "condition", "model"))
    data = read_table(StageBData, request.table.get("data"), where="data")
    training = read_table(DiffusionTrainingConfig, request.table.get("training"), where="training")
    request.on_note(f"warning: {imagenet40.BLOCK_DESIGN}")
    # A loading bar, even one that is off, starts tqdm's watching thread, which never ends.
    bar: Any = importlib.import_module("tqdm").tqdm
    bar.monitor_interval = 0
    torch.manual_seed(request.seed)
    trials = imagenet40.read_trials(request.data / data.eeg, subject=data.subject)
    parts = _parts(trials, data, request.data)
    model = _begin(request, data, trials)
    # The pictures of the test part are not so much as opened.
    used = [trials[i].image for part in parts.values() for i in part]
    pictures = Pictures(request.data / data.images, used)
    targets = None
    if data.clip != "none" and training.alignment_weight > 0:
        targets = clip_targets(pictures, request.data / data.clip)
    n_times = cast("SignalEncoder", model.condition_stage.mae).config.n_times
    train, val = (
        TrialExamples(
            [trials[i] for i in parts[part]], pictures=pictures, targets=targets, n_times=n_times
        )
        for part in ("train", "val")
    )
    task = finetuning.Finetuning(model, train=train, val=val, training=training, side=data.side)
    # Published in float32: bf16 only when it is asked for.
    engine = engine_for(request, auto="no")
    loop = finetuning.loop_config(training, seed=request.seed)
    report = train_as_asked(task, loop, request, engine=engine, makes=[request.out / "model"])
    if engine.rank == 0:
        save_model(
            model, request.out / "model", HOME, preprocessing=PREPROCESSING | {"split": data.split}
        )
    return report | {
        "model": str(request.out / "model"),
        "split": data.split,
        "n_trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "warning": imagenet40.BLOCK_DESIGN,
    }


def _parts(
    trials: Sequence[imagenet40.Trial], data: StageBData, folder: Path
) -> dict[imagenet40.Part, list[int]]:
    lengths = [trial.eeg.shape[1] for trial in trials]
    names: tuple[imagenet40.Part, ...] = ("train", "val")
    if data.split == "leave-block-out":
        found = imagenet40.leave_block_out(trials)
    else:
        found = {name: imagenet40.read_split(folder / data.split, name) for name in names}
    return {name: imagenet40.kept_indices(lengths, found[name]) for name in names}


def _begin(
    request: StageRequest, data: StageBData, trials: Sequence[imagenet40.Trial]
) -> LatentDiffusion:
    unet, vae = load_base(request.data / data.base, num_heads=data.num_heads, name=BASE)
    table = {
        "context_dim": unet.config.cross_attention_dim,
        "time_embed_dim": 4 * unet.config.block_out_channels[0],
        **(request.table.get("condition") or {}),
    }
    condition = read_table(ConditionConfig, table, where="condition")
    encoder = None
    if data.encoder == "none":
        table = {"n_channels": trials[0].eeg.shape[0], **(request.table.get("model") or {})}
        sizes = read_table(MaskedAutoencoderConfig, table, where="model")
    else:
        encoder = load_trained_encoder(request.data / data.encoder, made_by=STAGE_A)
        sizes = encoder.config
    stage = make_stage(Sizes(sizes, condition))
    if encoder is not None:
        stage.mae = encoder
    return LatentDiffusion(
        unet=unet,
        vae=vae,
        condition_stage=stage,
        time_condition=make_time_condition(condition),
    )
