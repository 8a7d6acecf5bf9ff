"""What the command calls: stages A1, A2 and B, from settings and folders.

Owns the reading of the settings' tables and the order of the steps; each step lives elsewhere.
Settings of stage A1: tables `data` (`PretrainingData`), `model` (`MaskedAutoencoderConfig`) and
`training` (`MaskedTrainingConfig`). Of A2: `data` (`TuningData`) and `training`. Of B: `data`
(`GenerationData`), `training` (`DiffusionTrainingConfig`), `condition` (`ConditionConfig`), and
`model`, of an untrained encoder.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from configs.guard import read_text
from configs.published import (
    ConditionConfig,
    DiffusionTrainingConfig,
    MaskedAutoencoderConfig,
    MaskedTrainingConfig,
    PublishedConfig,
)
from models.latent_diffusion import finetuning
from models.latent_diffusion.folder import (
    Home,
    Sizes,
    make_stage,
    make_time_condition,
    save_model,
)
from models.latent_diffusion.model import LatentDiffusion
from models.latent_diffusion.published_files import load_base
from models.masked_autoencoder import MaskedAutoencoder
from models.masked_autoencoder import training as masked
from models.masked_autoencoder.folder import (
    load_autoencoder,
    load_trained_encoder,
    read_sizes,
    save_autoencoder,
)
from models.mind_vis.arrays import stack
from models.mind_vis.bold5000 import load_bold5000, load_bold5000_signals
from models.mind_vis.data import PATCH_SIZE, Faults, PairedRows, Responses, VoxelSignals, hold_out
from models.mind_vis.god import load_god, load_god_signals
from models.mind_vis.hcp import load_hcp
from models.mind_vis.importing import HOME, NUM_HEADS, SIDE, preprocessing
from models.sampling.schedules import MINDVIS
from models.stages import StageRequest, check_tables, read_table
from models.training.asked import engine_for, train_as_asked
from models.training.errors import DatasetError
from pipeline.errors import ConfigurationError
from pipeline.values import Float64

NONE = "none"
BASE = "the label-conditioned latent diffusion model (label2img/model.ckpt)"
TRANSDUCTIVE = (
    "stage A2 learns from the test part's own signals (transductive, as published; no picture and "
    "no label of it is used): figures on that test part are not those of a decoder that meets new "
    "scans. For a fair figure leave transductive out of the settings' table [data]."
)
"""The warning that goes with every figure of weights that were tuned so."""
_A2 = {"passes": 15, "warmup_passes": 2, "lr": 5.3e-5}
_BATCH = {"god": {"a2": 16, "b": 5}, "bold5000": {"a2": 4, "b": 25}}


class PretrainingData(PublishedConfig):
    """What stage A1 trains on; paths are relative to the data folder."""

    hcp: str = "HCP/npz"
    """Folder of `SUBJECT/HCP_visual_voxel.npz`; `none`: without."""
    god: str = "Kamitani/npz"
    """Folder of `sbj_k.npz`; `none`: without."""
    bold5000: str = NONE
    """Folder of BOLD5000; `none`: without, as published."""
    subjects: tuple[str, ...] = ()
    """People of GOD or BOLD5000; empty: `sbj_1` to `sbj_5`, `CSI1` to `CSI4`."""
    roi: str = "VC"
    """Mask of GOD's voxels."""
    faults: Faults = Faults()
    """Of the published code, to repeat."""


class PersonData(PublishedConfig):
    """One person's responses to pictures; paths are relative to the data folder."""

    dataset: Literal["god", "bold5000"] = "god"
    folder: str = ""
    """Folder of the data set; empty: `Kamitani/npz`, or `BOLD5000`."""
    subjects: tuple[str, ...] = ()
    """People; empty: `sbj_3`, or `CSI1`, of whom there are published weights."""
    roi: str = "VC"
    """Mask of GOD's voxels."""
    faults: Faults = Faults()
    """Of the published code, to repeat."""
    encoder: str = "encoder"
    """Folder that an earlier stage wrote, or `phosphene import`; `none`: an untrained encoder."""


class TuningData(PersonData):
    """What stage A2 trains on."""

    transductive: bool = False
    """Learn from the test part's signals, single trials included, as published; else from the
    training part's."""


class GenerationData(PersonData):
    """What stage B trains on."""

    base: str = "ldm/label2img/model.ckpt"
    """The label-conditioned generator: the CompVis file, or a folder with `unet/` and `vae/`."""
    side: int = SIDE
    """Side of the pictures, pixels."""
    num_heads: int = NUM_HEADS
    """Attention heads of the U-Net."""
    one_in: int = Field(default=20, ge=2)
    """One picture in this many validates (never one of the test part, as published)."""


def run_stage_a1(request: StageRequest) -> dict[str, Any]:
    """Train the masked autoencoder on resting volumes and on responses to pictures."""
    check_tables(request.table, ("data", "model", "training"))
    data = read_table(PretrainingData, request.table.get("data"), where="data")
    training = read_table(MaskedTrainingConfig, request.table.get("training"))
    signals = pretraining_signals(request.data, data, patch_size=patch_size_of(request))
    autoencoder = masked.fresh_autoencoder(
        model_config(request, n_times=signals.shape[1]), seed=request.seed
    )
    return train_autoencoder(request, signals, autoencoder, training, facts={"stage": "a1"})


def pretraining_signals(root: Path, data: PretrainingData, *, patch_size: int) -> Float64:
    """Rows of everything that is pre-trained on, wrapped to the longest."""
    found: list[Float64] = []
    options: dict[str, Any] = {"faults": data.faults, "patch_size": patch_size}
    if data.hcp != NONE:
        found += load_hcp(root / data.hcp, **options)
    if data.god != NONE:
        people = _chosen(data.subjects, "sbj_") or [f"sbj_{k}" for k in range(1, 6)]
        found += load_god_signals(root / data.god, subjects=people, roi=data.roi, **options)
    if data.bold5000 != NONE:
        people = _chosen(data.subjects, "CSI") or [f"CSI{k}" for k in range(1, 5)]
        found += load_bold5000_signals(root / data.bold5000, subjects=people, **options)
    if not found:
        raise DatasetError(
            "there is nothing to pre-train on: hcp, god and bold5000 are all 'none'; name a folder."
        )
    return stack(found)


def _chosen(subjects: tuple[str, ...], prefix: str) -> list[str]:
    return [name for name in subjects if name.startswith(prefix)]


def patch_size_of(request: StageRequest) -> int:
    """Voxels of one token of an untrained network, which rows are padded to multiples of."""
    given = (request.table.get("model") or {}).get("patch_size", PATCH_SIZE)
    if not isinstance(given, int) or given < 1:
        raise ConfigurationError(f"settings: model.patch_size = {given!r}: expected 1 or more.")
    return given


def model_config(request: StageRequest, *, n_times: int) -> MaskedAutoencoderConfig:
    """Sizes of a voxel autoencoder: the published ones but for what the settings say."""
    table = {"n_channels": 1, "patch_size": PATCH_SIZE, **(request.table.get("model") or {})}
    return read_table(MaskedAutoencoderConfig, table | {"n_times": n_times}, where="model")


def train_autoencoder(
    request: StageRequest,
    signals: Float64,
    autoencoder: MaskedAutoencoder,
    training: MaskedTrainingConfig,
    *,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Train an autoencoder in place; write `encoder/` and return the report."""
    task = masked.MaskedModelling(VoxelSignals(signals), autoencoder=autoencoder, training=training)
    # Published in half precision: `auto` may take bf16.
    engine = engine_for(request)
    loop = masked.loop_config(training, seed=request.seed)
    report = train_as_asked(task, loop, request, engine=engine, makes=[request.out / "encoder"])
    if engine.rank == 0:
        save_autoencoder(autoencoder, request.out / "encoder", facts=facts)
    return report | {"encoder": str(request.out / "encoder"), "n_items": len(signals)}


def run_stage_a2(request: StageRequest) -> dict[str, Any]:
    """Tune the masked autoencoder on one person's signals."""
    check_tables(request.table, ("data", "training"))
    data = read_table(TuningData, request.table.get("data"), where="data")
    table = _A2 | {"batch_size": _BATCH[data.dataset]["a2"]} | (request.table.get("training") or {})
    training = read_table(MaskedTrainingConfig, table)
    if data.transductive:
        request.on_note(f"warning: {TRANSDUCTIVE}")
    folder, made_by = request.data / data.encoder, _first_stage(HOME)
    patch_size = read_sizes(folder, made_by=made_by).patch_size
    person = load_person(request.data, data, patch_size=patch_size, single_trials=True)
    part = person.test if data.transductive else person.train
    autoencoder = load_autoencoder(folder, made_by=made_by, n_times=person.n_padded)
    facts = {"stage": "a2", "transductive": data.transductive}
    report = train_autoencoder(request, part.voxels, autoencoder, training, facts=facts)
    return report | facts


def load_person(
    root: Path, data: PersonData, *, patch_size: int, single_trials: bool = False
) -> Responses:
    """Read the responses that the settings name."""
    options: dict[str, Any] = {
        "faults": data.faults,
        "single_trials": single_trials,
        "patch_size": patch_size,
    }
    if data.dataset == "god":
        folder = root / (data.folder or "Kamitani/npz")
        return load_god(folder, subjects=data.subjects or ("sbj_3",), roi=data.roi, **options)
    folder = root / (data.folder or "BOLD5000")
    return load_bold5000(folder, subjects=data.subjects or ("CSI1",), **options)


def run_stage_b(request: StageRequest) -> dict[str, Any]:
    """Train the condition path and the cross-attention on one person's responses."""
    return tune_generator(request, HOME)


def tune_generator(request: StageRequest, home: Home) -> dict[str, Any]:
    """Stage B of a system of this family; write `model/` and return the report."""
    check_tables(request.table, ("data", "training", "condition", "model"))
    data = read_table(GenerationData, request.table.get("data"), where="data")
    table = {"passes": 500, "batch_size": _BATCH[data.dataset]["b"], "alignment_weight": 0.0}
    training = read_table(DiffusionTrainingConfig, table | (request.table.get("training") or {}))
    # A loading bar, even one that is off, starts tqdm's watching thread, which never ends.
    bar: Any = importlib.import_module("tqdm").tqdm
    bar.monitor_interval = 0
    torch.manual_seed(request.seed)
    folder = request.data / data.encoder
    if data.encoder == NONE:
        patch_size = patch_size_of(request)
    else:
        patch_size = read_sizes(folder, made_by=_first_stage(home)).patch_size
    person = load_person(request.data, data, patch_size=patch_size)
    facts = _facts_of(folder)
    if facts.get("transductive"):
        request.on_note(f"warning: {TRANSDUCTIVE}")
    model = _begin(request, data, home, n_padded=person.n_padded)
    train, val = hold_out(person.train, one_in=data.one_in, seed=request.seed)
    task = finetuning.Finetuning(
        model,
        train=PairedRows(train, person.images),
        val=PairedRows(val, person.images),
        training=training,
        side=data.side,
    )
    # Published in float32: bf16 only when it is asked for.
    engine = engine_for(request, auto="no")
    loop = finetuning.loop_config(training, seed=request.seed)
    report = train_as_asked(task, loop, request, engine=engine, makes=[request.out / "model"])
    given = preprocessing(n_voxels=person.n_voxels, scale=person.scale, side=data.side)
    given |= {"encoder": facts, "faults": data.faults.model_dump()}
    if engine.rank == 0:
        save_model(model, request.out / "model", home, preprocessing=given)
    return report | {
        "model": str(request.out / "model"),
        "n_trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "n_train": len(train),
        "n_val": len(val),
    }


def _first_stage(home: Home) -> str:
    """Command that makes an encoder."""
    return f"phosphene train {home.system} {'a1' if home is HOME else 'phase-1'}"


def _facts_of(folder: Path) -> dict[str, Any]:
    """What an encoder's folder says of its training."""
    try:
        table = json.loads(read_text(folder / "config.json"))
        return {key: table[key] for key in ("stage", "transductive") if key in table}
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def _begin(
    request: StageRequest, data: GenerationData, home: Home, *, n_padded: int
) -> LatentDiffusion:
    unet, vae = load_base(request.data / data.base, num_heads=data.num_heads, name=BASE)
    table = {
        "context_dim": unet.config.cross_attention_dim,
        "time_embed_dim": 4 * unet.config.block_out_channels[0],
        "image_embed_dim": 0,
        **(request.table.get("condition") or {}),
    }
    condition = read_table(ConditionConfig, table, where="condition")
    encoder = None
    if data.encoder == NONE:
        sizes = model_config(request, n_times=n_padded)
    else:
        encoder = load_trained_encoder(
            request.data / data.encoder,
            made_by=_first_stage(home),
            n_times=n_padded,
        )
        sizes = encoder.config
    stage = make_stage(Sizes(sizes, condition))
    if encoder is not None:
        stage.mae = encoder
    return LatentDiffusion(
        unet=unet,
        vae=vae,
        condition_stage=stage,
        time_condition=make_time_condition(condition),
        betas=MINDVIS,
    )
