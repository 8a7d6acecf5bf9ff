"""What the command calls: phase 1, phase 2 and the tuning of the generator.

Owns the reading of the settings' tables and the order of the steps; each step lives elsewhere.
Settings of phase 1: tables `data` (`models.mind_vis.stages.PretrainingData`), `model`
(`MaskedAutoencoderConfig`), `contrast` (`ContrastConfig`) and `training` (`MaskedTrainingConfig`).
Of phase 2: `data` (`TuningData`), `cross` (`CrossTuningConfig`), `training`. Of `ldm`: as stage b
of `mind-vis`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from configs.published import ContrastConfig, CrossTuningConfig, MaskedTrainingConfig
from models.checkpoints import CheckpointError
from models.contrast_attend_diffuse.cross_modal import FmriBranch, ImageBranch
from models.contrast_attend_diffuse.importing import HOME
from models.contrast_attend_diffuse.tasks import Phase1, Phase2
from models.masked_autoencoder import MaskedAutoencoder, import_autoencoder
from models.masked_autoencoder import training as masked
from models.masked_autoencoder.folder import load_autoencoder, read_sizes, save_autoencoder
from models.mind_vis.data import PairedRows, VoxelSignals, hold_out
from models.mind_vis.stages import (
    PersonData,
    PretrainingData,
    load_person,
    model_config,
    patch_size_of,
    pretraining_signals,
    tune_generator,
)
from models.stages import StageRequest, check_tables, read_table
from models.training.asked import engine_for, train_as_asked
from pipeline.extras import extras_named

PHASE_1 = f"phosphene train {HOME.system} phase-1"
_PHASE_1 = {"passes": 140, "batch_size": 250}
_PHASE_2 = {"passes": 60, "warmup_passes": 2, "lr": 5.3e-5, "batch_size": 16}
"""As published, where 4 processes have 4 responses each."""


class TuningData(PersonData):
    """What phase 2 trains on."""

    vit_mae: str = "vit-mae-base"
    """Hugging Face folder of ViT-MAE (facebook/vit-mae-base)."""
    one_in: int = Field(default=20, ge=2)
    """One picture in this many validates (never one of the test part, as published)."""


def run_phase_1(request: StageRequest) -> dict[str, Any]:
    """Train the double-contrastive masked autoencoder."""
    check_tables(request.table, ("data", "model", "contrast", "training"))
    data = read_table(PretrainingData, request.table.get("data"), where="data")
    contrast = read_table(ContrastConfig, request.table.get("contrast"), where="contrast")
    training = read_table(MaskedTrainingConfig, _PHASE_1 | (request.table.get("training") or {}))
    if contrast.contrast_only:
        request.on_note(
            "note: contrast_only leaves the reconstruction out, as the published README's command "
            "does; its paper trains on both."
        )
    signals = pretraining_signals(request.data, data, patch_size=patch_size_of(request))
    autoencoder = masked.fresh_autoencoder(
        model_config(request, n_times=signals.shape[1]), seed=request.seed
    )
    task = Phase1(
        VoxelSignals(signals), autoencoder=autoencoder, contrast=contrast, training=training
    )
    engine = engine_for(request)
    loop = masked.loop_config(training, seed=request.seed)
    report = train_as_asked(task, loop, request, engine=engine, makes=[request.out / "encoder"])
    facts = {"stage": "phase-1", "contrast_only": contrast.contrast_only}
    if engine.rank == 0:
        save_autoencoder(autoencoder, request.out / "encoder", facts=facts)
    return report | {"encoder": str(request.out / "encoder"), "n_items": len(signals)}


def run_phase_2(request: StageRequest) -> dict[str, Any]:
    """Tune the fMRI autoencoder beside ViT-MAE on one person's responses."""
    check_tables(request.table, ("data", "cross", "training"))
    data = read_table(TuningData, request.table.get("data"), where="data")
    cross = read_table(CrossTuningConfig, request.table.get("cross"), where="cross")
    training = read_table(MaskedTrainingConfig, _PHASE_2 | (request.table.get("training") or {}))
    torch.manual_seed(request.seed)
    mae = load_vit_mae(request.data / data.vit_mae, decoder_layers=cross.image_decoder_layers)
    folder = request.data / data.encoder
    patch_size = read_sizes(folder, made_by=PHASE_1).patch_size
    person = load_person(request.data, data, patch_size=patch_size)
    autoencoder = _shortened(
        load_autoencoder(folder, made_by=PHASE_1, n_times=person.n_padded),
        cross.fmri_decoder_layers,
    )
    sizes = mae.config
    fmri = FmriBranch(
        autoencoder,
        dim=sizes.hidden_size,
        num_heads=sizes.num_attention_heads,
        hidden=sizes.intermediate_size,
    )
    image = ImageBranch(mae, fmri_dim=autoencoder.config.embed_dim)
    train, val = hold_out(person.train, one_in=data.one_in, seed=request.seed)
    task = Phase2(
        fmri,
        image,
        train=PairedRows(train, person.images),
        val=PairedRows(val, person.images),
        cross=cross,
        training=training,
    )
    engine = engine_for(request)
    loop = masked.loop_config(training, seed=request.seed)
    report = train_as_asked(task, loop, request, engine=engine, makes=[request.out / "encoder"])
    if engine.rank == 0:
        # The cross layers are left behind, as published: the generator is conditioned without.
        save_autoencoder(autoencoder, request.out / "encoder", facts={"stage": "phase-2"})
    return report | {
        "encoder": str(request.out / "encoder"),
        "n_train": len(train),
        "n_val": len(val),
    }


def _shortened(autoencoder: MaskedAutoencoder, decoder_layers: int) -> MaskedAutoencoder:
    """The autoencoder with the first blocks of its decoder alone."""
    config = autoencoder.config
    if decoder_layers >= config.decoder_depth:
        return autoencoder
    kept = {
        name: value
        for name, value in autoencoder.state_dict().items()
        if not name.startswith("decoder_blocks.") or int(name.split(".")[1]) < decoder_layers
    }
    return import_autoencoder(
        kept, num_heads=config.num_heads, decoder_num_heads=config.decoder_num_heads
    )


def load_vit_mae(folder: Path, *, decoder_layers: int) -> Any:
    """Load ViT-MAE of a Hugging Face folder, with the first layers of its decoder.

    Raises
    ------
    MissingExtraError
        transformers is not installed.
    CheckpointError
        No ViT-MAE in the folder.
    """
    with extras_named("ViT-MAE"):
        from transformers import ViTMAEForPreTraining
    # A loading bar, even one that is off, starts tqdm's watching thread, which never ends.
    bar: Any = importlib.import_module("tqdm").tqdm
    bar.monitor_interval = 0
    try:
        mae = ViTMAEForPreTraining.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        raise CheckpointError(
            f"{folder} holds no ViT-MAE, expected Hugging Face's folder of facebook/vit-mae-base: "
            "download it there and name it with `vit_mae`."
        ) from None
    mae.decoder.decoder_layers = mae.decoder.decoder_layers[:decoder_layers]
    return mae


def run_ldm(request: StageRequest) -> dict[str, Any]:
    """Train the generator's condition path and cross-attention, as MinD-Vis' stage B."""
    return tune_generator(request, HOME)
