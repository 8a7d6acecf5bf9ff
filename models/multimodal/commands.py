"""What the commands call: the stage `train` of five modalities, the import of the ATM family.

Owns the reading of the settings' tables and the order of the steps; each step lives elsewhere.
Data and tables are those of `models.atm.commands`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from configs.atm import MultimodalTrainingConfig
from models.atm.commands import (
    NO_CLIP,
    encoder_sizes,
    run_training,
    sizes_of,
    write_encoder,
)
from models.atm.data import EpochSet, open_epochs
from models.atm.encoder import AtmsEncoder
from models.atm.folder import save_prior
from models.atm.prior import PriorConfig
from models.multimodal.importing import import_files
from models.multimodal.modalities import Modality
from models.multimodal.stage import MultimodalModel, MultimodalTask
from models.multimodal.training import named_priors
from models.stages import StageRequest, check_tables, read_table
from models.training.engine import is_first_process


def run_multimodal(request: StageRequest) -> dict[str, Any]:
    """Train one encoder and five priors together; write `encoder/` and `priors/MODALITY/`."""
    check_tables(request.table, ("model", "prior", "training"))
    training = read_table(MultimodalTrainingConfig, request.table.get("training"))
    names = {m: m.published_name for m in Modality}
    data = open_epochs(request.data, list(names.values()))
    norms = {m: float(_norms(data, name)) for m, name in names.items()}
    data = data.with_unit_targets()
    torch.manual_seed(request.seed)
    encoder = AtmsEncoder(encoder_sizes(request.table, data, names[Modality.IMAGE]))
    width = data.targets[names[Modality.IMAGE]].shape[1]
    given = {"embed_dim": width, "cond_dim": width} | dict(request.table.get("prior", {}))
    model = MultimodalModel(encoder, sizes_of(PriorConfig, given, where="prior"))
    task = MultimodalTask(model, data, training)
    makes = [request.out / name for name in ("encoder", "priors")]
    report = run_training(request, task, training.passes, training.batch_size, NO_CLIP, makes=makes)
    write_encoder(request, encoder, data)
    for modality, prior in named_priors(model.priors).items() if is_first_process() else ():
        save_prior(request.out / "priors" / modality, prior, target_norm=norms[modality])
    return report | {"encoder": str(request.out / "encoder"), "priors": str(request.out / "priors")}


def run_import(
    files: Sequence[Path],
    out: Path,
    *,
    target_norm: float | None = None,
    images: Path | None = None,
) -> dict[str, Any]:
    """Import published files for ATM-S (a single-file SDXL is taken for Turbo)."""
    return import_files(files, out, target_norm=target_norm, images=images)


def run_import_multimodal(
    files: Sequence[Path],
    out: Path,
    *,
    target_norm: float | None = None,
    images: Path | None = None,
) -> dict[str, Any]:
    """Import published files for the multimodal system (a single-file SDXL is the base)."""
    return import_files(files, out, scheduler="base", target_norm=target_norm, images=images)


def _norms(data: EpochSet, name: str) -> Any:
    norms = (data.targets[name] ** 2).sum(axis=1) ** 0.5
    return norms.mean()
