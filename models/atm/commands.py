"""What the commands call: the stages `prepare`, `encoder` and `prior`.

Owns the reading of the settings' tables and the order of the steps; each step lives elsewhere.

Data are a folder as `models.atm.data` describes it. Settings: table `model` (fields of
`AtmsConfig`), `prior` (fields of `PriorConfig`), `training` (the stage's configuration in
`configs.atm`), `preset` (`published`, `modern`, `enigma` or `nice`, for the encoder), `encoder`
(folder of a trained encoder, for the prior).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from configs.atm import (
    PreparationConfig,
    PriorTrainingConfig,
    RetrievalTrainingConfig,
)
from models.atm.data import EpochSet, open_epochs
from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.folder import (
    SETTINGS,
    AnyEncoder,
    EncoderFacts,
    load_encoder,
    save_encoder,
    save_prior,
)
from models.atm.nice import NiceConfig, NiceEncoder
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.stages import EncoderTask, PriorTask
from models.stages import StageRequest, check_tables, read_table
from models.things_eeg2.montage import CH_NAMES, POSTERIOR
from models.things_eeg2.preparation import COVARIANCE, FOLDERS, Preparation, prepare
from models.things_eeg2.whitening import whitening_matrix
from models.training import LoopConfig, Task
from models.training.asked import check_new, engine_for, train_as_asked
from models.training.engine import is_first_process
from pipeline.errors import ConfigurationError

PRESETS = {
    "published": RetrievalTrainingConfig,
    "modern": RetrievalTrainingConfig.modern,
    "enigma": RetrievalTrainingConfig.enigma,
    "nice": RetrievalTrainingConfig.nice,
}
NO_CLIP = float("inf")
"""ATM-S clips no gradient."""
ENCODE_BATCH = 256
PRIOR_RUN = "prior-training"
"""Below OUT: checkpoints and log of the prior."""

_Sizes = TypeVar("_Sizes", AtmsConfig, NiceConfig, PriorConfig)


def run_prepare(request: StageRequest) -> dict[str, Any]:
    """Prepare THINGS-EEG2; write `train/` and `test/`. Settings: table `prepare`."""
    check_tables(request.table, ("prepare",))
    given = read_table(PreparationConfig, request.table.get("prepare"), where="prepare")
    settings = Preparation(
        ch_names=POSTERIOR if given.picks == "posterior" else CH_NAMES,
        mode="time" if given.whitening == "time" else "epochs",
        whiten=given.whitening != "none",
        train_repetitions=given.train_repetitions,
        test_repetitions=given.test_repetitions,
    )
    check_new([request.out / name / "eeg.npy" for name in FOLDERS.values()])
    counts = prepare(
        request.data,
        request.out,
        subjects=given.subjects,
        settings=settings,
        on_note=request.on_note,
    )
    return {name: str(request.out / name) for name in counts} | {
        f"{name}_epochs": count for name, count in counts.items()
    }


def run_encoder(request: StageRequest) -> dict[str, Any]:
    """Train ATM-S by retrieval or reconstruction; write `encoder/`."""
    check_tables(request.table, ("preset", "model", "training"))
    training = _preset(request.table)
    data = open_epochs(request.data, _targets(request.data, training))
    if training.picks == "posterior":
        data = data.picked(POSTERIOR)
    torch.manual_seed(request.seed)
    encoder = _encoder(request.table, data, training)
    task = EncoderTask(encoder, data, training, seed=request.seed)
    report = run_training(
        request,
        task,
        training.passes,
        training.batch_size,
        NO_CLIP,
        makes=[request.out / "encoder"],
    )
    write_encoder(request, encoder, data, space=_space(training))
    if request.table.get("preset") == "enigma":
        # Its vectors go straight into the adapter: the folder says so to whoever decodes with it.
        settings = json.dumps({"has_prior": False}) + "\n"
        (request.out / SETTINGS).write_text(settings, encoding="utf-8")
    return report | {"encoder": str(request.out / "encoder")}


def run_prior(request: StageRequest) -> dict[str, Any]:
    """Train the prior on a trained encoder's vectors and CLIP's; write `prior/`."""
    check_tables(request.table, ("encoder", "prior", "training"))
    training = read_table(PriorTrainingConfig, request.table.get("training"))
    folder = Path(request.table.get("encoder", request.out / "encoder"))
    encoder, facts, _ = load_encoder(folder)
    data = open_epochs(request.data, ["ViT-H-14"]).picked(facts.ch_names)
    vectors, targets = encode_all(encoder, data, "ViT-H-14")
    torch.manual_seed(request.seed)
    given = dict(request.table.get("prior", {}))
    widths = {"embed_dim": targets.shape[1], "cond_dim": vectors.shape[1]}
    prior = DiffusionPriorUNet(sizes_of(PriorConfig, widths | given, where="prior"))
    task = PriorTask(prior, vectors, targets, training)
    # A folder of its own: encoder and prior share OUT, and must not continue each other's run.
    run = replace(request, out=request.out / PRIOR_RUN)
    report = run_training(
        run, task, training.passes, training.batch_size, 1.0, makes=[request.out / "prior"]
    )
    if is_first_process():
        save_prior(request.out / "prior", prior)
    return report | {"prior": str(request.out / "prior")}


@torch.inference_mode()
def encode_all(encoder: AnyEncoder, data: EpochSet, target: str) -> tuple[Tensor, Tensor]:
    """Vectors of all samples and their targets, each (n_samples, n_features)."""
    vectors, targets = [], []
    for start in range(0, len(data), ENCODE_BATCH):
        batch = data.batch(range(start, min(start + ENCODE_BATCH, len(data))))
        vectors.append(encoder(batch.eeg, batch.subject_ids))
        targets.append(batch.targets[target])
    # Cloned: tensors of inference mode cannot be trained on.
    return torch.cat(vectors).clone(), torch.cat(targets).clone()


def _preset(table: Mapping[str, Any]) -> RetrievalTrainingConfig:
    name = table.get("preset", "published")
    if name not in PRESETS:
        raise ConfigurationError(f"preset {name!r} is unknown, expected {', '.join(PRESETS)}.")
    base = PRESETS[name]().model_dump()
    return read_table(RetrievalTrainingConfig, base | dict(table.get("training", {})))


def _targets(folder: Path, training: RetrievalTrainingConfig) -> list[str]:
    """Tables to read: the pictures', and the texts' where they are of the same space."""
    text = f"{training.features}.text"
    has_text = (folder / "features" / f"{text}.npy").is_file() and not training.layers
    return [*training.targets, *([text] if has_text else [])]


def _space(training: RetrievalTrainingConfig) -> str:
    """Name of the space that the encoder is trained into; layers are not CLIP's final vectors."""
    numbers = "-".join(map(str, training.layers))
    return f"{training.features.lower()}-layer-{numbers}" if training.layers else "clip"


def write_encoder(
    request: StageRequest, encoder: AnyEncoder, data: EpochSet, *, space: str = "clip"
) -> None:
    """Write the encoder with the whitening of its training data, so that live epochs get it."""
    if not is_first_process():
        return
    path, whitening = request.data / COVARIANCE, None
    if path.is_file():
        rows = [data.ch_names.index(name) for name in data.used_names]
        covariance = np.load(path, allow_pickle=False)[np.ix_(rows, rows)]
        whitening = torch.from_numpy(whitening_matrix(covariance).astype(np.float32))
    facts = EncoderFacts(ch_names=data.used_names, space=space)
    save_encoder(request.out / "encoder", encoder, facts, whitening=whitening)


def _encoder(
    table: Mapping[str, Any], data: EpochSet, training: RetrievalTrainingConfig
) -> AnyEncoder:
    if training.network == "atm-s":
        return AtmsEncoder(encoder_sizes(table, data, training.targets[0]))
    given = {
        "n_channels": len(data.used_names),
        "n_times": data.eeg.shape[2],
        "n_features": data.targets[training.targets[0]].shape[1],
    }
    sizes = sizes_of(NiceConfig, given | dict(table.get("model", {})), where="model")
    return NiceEncoder(**asdict(sizes))


def encoder_sizes(table: Mapping[str, Any], data: EpochSet, target: str) -> AtmsConfig:
    """Return the encoder's sizes: what the data say, then what table `model` says."""
    n_subjects = max(10, int(data.subject_ids.max()) + 1)
    given = {
        "n_channels": len(data.used_names),
        "n_times": data.eeg.shape[2],
        "n_features": data.targets[target].shape[1],
        "n_subjects": n_subjects,
    }
    return sizes_of(AtmsConfig, given | dict(table.get("model", {})), where="model")


def sizes_of(kind: type[_Sizes], values: Mapping[str, Any], *, where: str) -> _Sizes:
    """Return sizes of the given values; raises `ConfigurationError` for an unknown name."""
    unknown = set(values) - {field.name for field in fields(kind)}
    if unknown:
        raise ConfigurationError(f"settings: {where}.{min(unknown)} is unknown: mend the name.")
    return kind(**values)


def run_training(
    request: StageRequest,
    task: Task,
    passes: int,
    batch_size: int,
    max_grad_norm: float,
    *,
    makes: Sequence[Path],
) -> dict[str, Any]:
    """Train `task` as the request asks; return the report. `makes`: as `train_as_asked`."""
    loop = LoopConfig(
        passes=passes,
        batch_size=min(batch_size, task.n_train),
        max_grad_norm=max_grad_norm,
        seed=request.seed,
    )
    report = train_as_asked(task, loop, request, engine=engine_for(request, auto="no"), makes=makes)
    task.module.cpu()
    return report
