"""A training run on disk: trained parameters, the optimiser and the place, without pickle.

Owns the folder `checkpoints/step-NNNNNNNN` and its atomic writing: a kill leaves the last whole
one. Knows nothing of how a step is made.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from models.checkpoints import save_tensors
from models.training.average import WeightAverage
from models.training.division import DIVIDES
from models.training.errors import TrainingError
from models.training.sharding import share, whole

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""Buffers of batch norms, which training changes as well."""
KEPT = 2
"""Checkpoints that are kept: the newest, and one before it."""


class _NoRun(TrainingError):  # noqa: N818 - of the error's kind
    def __init__(self, checkpoint: Path, cause: Exception) -> None:
        super().__init__(f"{checkpoint} is no checkpoint of a training run ({cause}).")


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """The trained parameters and the running statistics; frozen ones are not kept here."""
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    kept = {n: v for n, v in module.named_buffers() if n.rsplit(".", 1)[-1] in RUNNING}
    return trained | kept


def save_run(
    folder: Path,
    *,
    step: int,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    facts: dict[str, Any],
    average: WeightAverage | None = None,
    writes: bool = True,
) -> None:
    """Write the checkpoint of a step to the disk, whole or not at all; drop the oldest.

    Where processes hold shards, each of them calls this, and the one that `writes` does.
    """
    root = folder / "checkpoints"
    target = root / f"step-{step:08d}"
    moments = {
        f"{index}.{key}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }
    tables = {"trained": trained_state(module), "optimizer": moments}
    if average is not None:
        tables["average"] = dict(average.values)
    for table in tables.values():
        for name, value in table.items():
            if isinstance(value, DTensor):
                # Gathered one by one, and kept off the GPU.
                table[name] = whole(value.detach()).cpu() if writes else whole(value).new_empty(0)
    if not writes:
        return
    partial = root / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, table in tables.items():
        save_tensors(partial / f"{name}.safetensors", table)
    (partial / "run.json").write_text(json.dumps({"step": step, **facts}, indent=2) + "\n")
    for path in partial.iterdir():
        _keep(path)
    _keep(partial)
    # A step that was saved before, from which another run went on: never neither of the two.
    before = root / f".{target.name}.before"
    shutil.rmtree(before, ignore_errors=True)
    if target.exists():
        target.rename(before)
    partial.rename(target)
    _keep(root)
    shutil.rmtree(before, ignore_errors=True)
    for old in list_runs(folder)[:-KEPT]:
        shutil.rmtree(old)


def _keep(path: Path) -> None:
    """Have the system write a file or a folder to the disk: a power cut leaves what is named."""
    if path.is_dir() and os.name == "nt":  # where no folder can be opened
        return
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def list_runs(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted((folder / "checkpoints").glob("step-*"))


def read_run(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint's `run.json`: `step`, and the facts of its run.

    Raises
    ------
    TrainingError
        Missing or damaged.
    """
    try:
        saved: dict[str, Any] = json.loads((checkpoint / "run.json").read_text())
        if "n_items" not in saved:  # of a version that told processes and parts apart
            saved["n_items"] = saved.pop("n_processes")
            for name in DIVIDES:
                saved["n_items"] *= saved["loop"].pop(name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _NoRun(checkpoint, error) from None
    return saved


def load_run(
    checkpoint: Path,
    *,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    facts: dict[str, Any],
    average: WeightAverage | None = None,
) -> dict[str, Any]:
    """Load a checkpoint into a module and its optimiser; return its `run.json`.

    Raises
    ------
    TrainingError
        Missing or damaged, or of a run with other settings.
    """
    saved = read_run(checkpoint)
    try:
        trained = load_file(checkpoint / "trained.safetensors")
        moments = load_file(checkpoint / "optimizer.safetensors")
        means = {} if average is None else load_file(checkpoint / "average.safetensors")
    except (OSError, ValueError) as error:
        raise _NoRun(checkpoint, error) from None
    changed = [key for key in facts if saved.get(key) != facts[key]]
    own = trained_state(module)
    if changed or sorted(own) != sorted(trained):
        raise TrainingError(
            f"{checkpoint} is of another run ({', '.join(changed) or 'other parameters'} differ): "
            "continue with the settings it began with, or give a new --out."
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(share(trained[name], value))
    if average is not None:
        average.load(means)
    table = optimizer.state_dict()
    table["state"] = {}
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for key, value in moments.items():
        index, name = key.split(".", 1)
        of = parameters[int(index)]
        moment = share(value, of) if value.shape == of.shape else value
        table["state"].setdefault(int(index), {})[name] = moment
    optimizer.load_state_dict(table)
    return saved
