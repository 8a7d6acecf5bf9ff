"""The training loop: passes, batches, steps, checkpoints; resumed bit for bit.

Owns the order of the data and every draw, both pure functions of (seed, step, process): a run
that was killed and continued is the run that was not. Knows nothing of what is trained (a
`Task`) or where (an `Engine`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training.average import WeightAverage
from models.training.engine import Engine
from models.training.errors import TrainingError
from models.training.state import list_runs, load_run, save_run

Batch = Mapping[str, Tensor]
Indices = NDArray[np.int64]


class Task(Protocol):
    """What is trained: a module whose forward gives losses, its data and its optimiser."""

    @property
    def module(self) -> nn.Module:
        """Called with the tensors of a batch as keywords; returns losses by name, with `loss`."""
        ...

    @property
    def n_train(self) -> int:
        """Count of training items."""
        ...

    @property
    def n_val(self) -> int:
        """Count of validation items (never of the test split); 0: no validation."""
        ...

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Build the optimiser over the module's trained parameters."""
        ...

    def learning_rate(self, progress: float) -> float:
        """Rate at `progress` passes."""
        ...

    def batch(self, indices: Indices, generator: torch.Generator, *, training: bool) -> Batch:
        """Make a batch on the CPU; every draw comes from `generator`."""
        ...


@runtime_checkable
class ChangesOnTheWay(Protocol):
    """A task whose objective or optimiser changes as it goes on: a pure function of `progress`."""

    def begin_step(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Make ready for the step at `progress` passes, before its batch is drawn."""
        ...


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How long and how: see `configs.published` for the published numbers."""

    passes: int
    batch_size: int
    gradient_accumulation_steps: int = 1
    max_grad_norm: float = 1.0
    ema_decay: float = 0.0
    """Decay of the average of the weights; 0: none."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """One step, as it is shown: losses are of this process."""

    step: int
    n_steps: int
    lr: float
    losses: Mapping[str, float]


def train(
    task: Task,
    config: LoopConfig,
    *,
    engine: Engine,
    out: Path,
    save_every: int = 1000,
    stop_after: int | None = None,
    resume: Path | None = None,
    on_step: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train, or continue the newest checkpoint in `out` (or `resume`).

    Parameters
    ----------
    save_every : int
        Steps between checkpoints; the last step always makes one.
    stop_after : int, optional
        End early after this step, with a checkpoint.
    on_step : callable
        Told of each step, in the first process.
    stop : callable
        Whether to end early, with a checkpoint; asked after each step. Not asked of several
        processes, which would have to agree on the step.

    Returns
    -------
    dict
        `step`, `n_steps`, `first_losses` and `losses` (of this call's first and last step),
        `val_loss` (None without validation) and `precision`. The module holds the averaged
        weights where the configuration asks for them.

    Raises
    ------
    TrainingError
        No data, a checkpoint of other settings, or a loss that is not finite.
    """
    each = config.batch_size * config.gradient_accumulation_steps * engine.n_processes
    if task.n_train < 1:
        raise TrainingError("there are no training items: check --data.")
    steps_per_pass = math.ceil(task.n_train / each)
    n_steps = config.passes * steps_per_pass
    torch.manual_seed(config.seed)
    module, optimizer = engine.prepare(task.module, task.make_optimizer())
    average = WeightAverage(task.module, config.ema_decay) if config.ema_decay else None
    facts = {
        "loop": asdict(config),
        "n_train": task.n_train,
        "n_processes": engine.n_processes,
        "precision": engine.precision,
    }
    kept: dict[str, Any] = {
        "module": task.module,
        "optimizer": optimizer,
        "facts": facts,
        "average": average,
    }
    checkpoint = resume or next(reversed(list_runs(out)), None)
    step = 0 if checkpoint is None else load_run(checkpoint, **kept)["step"]
    end = min(n_steps, stop_after or n_steps)
    losses: dict[str, float] = {}
    first: dict[str, float] = {}
    task.module.train()
    while step < end:
        lr = task.learning_rate(step / steps_per_pass)
        if isinstance(task, ChangesOnTheWay):
            task.begin_step(optimizer, step / steps_per_pass)
        # A decoder in the same process may have turned gradients off for good.
        with torch.enable_grad():
            losses = _step(
                task,
                config,
                engine,
                module=module,
                optimizer=optimizer,
                step=step,
                steps_per_pass=steps_per_pass,
                lr=lr,
            )
        first = first or losses
        step += 1
        if average is not None:
            average.update(step)
        if engine.rank == 0:
            on_step(Progress(step, n_steps, lr, losses))
        engine.log({**losses, "lr": lr}, step)
        if engine.n_processes == 1 and stop():
            end = step
        if step % save_every == 0 or step == end:
            if engine.rank == 0:
                save_run(out, step=step, **kept)
            engine.wait()
    if average is not None:
        average.put()
    val_loss = _validate(task, config, engine) if step == n_steps else None
    if val_loss is not None:
        engine.log({"val_loss": val_loss}, step)
    engine.finish()
    report = {"step": step, "n_steps": n_steps, "losses": losses, "val_loss": val_loss}
    return report | {"first_losses": first, "precision": engine.precision}


def _step(
    task: Task,
    config: LoopConfig,
    engine: Engine,
    *,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    steps_per_pass: int,
    lr: float,
) -> dict[str, float]:
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    n_parts = config.gradient_accumulation_steps
    sums: dict[str, Tensor] = {}
    for part in range(n_parts):
        batch = step_batch(
            task, config, engine, step=step, steps_per_pass=steps_per_pass, part=part
        )
        with engine.accumulate(module, last=part == n_parts - 1):
            with engine.autocast():
                losses = module(**_moved(batch, engine.device))
            engine.backward(losses["loss"] / n_parts)
        for name, value in losses.items():
            each = value.detach().float() / n_parts
            sums[name] = sums[name] + each if name in sums else each
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    if math.isfinite(config.max_grad_norm):
        torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
    optimizer.step()
    # Read once, with the whole step queued: each read waits for the device.
    values = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))
    if not math.isfinite(values["loss"]):
        raise TrainingError(
            f"the loss of step {step} is {values['loss']}: the data hold values that are not "
            "finite, or the rate is too high; lower `lr` and continue from the last checkpoint."
        )
    return values


def _moved(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """A batch on its device; scalars stay here, where a module reads them without waiting."""
    if device.type != "cuda":
        return {k: v.to(device) for k, v in batch.items()}
    return {
        k: v.pin_memory().to(device, non_blocking=True) if v.ndim else v for k, v in batch.items()
    }


def step_batch(
    task: Task, config: LoopConfig, engine: Engine, *, step: int, steps_per_pass: int, part: int
) -> Batch:
    """The batch of one part of one step in this process: a pure function of its arguments."""
    number, place = divmod(step, steps_per_pass)
    order = np.random.default_rng((config.seed, number)).permutation(task.n_train)
    n_parts = config.gradient_accumulation_steps
    slot = (place * n_parts + part) * engine.n_processes + engine.rank
    # Around the end: the last step of a pass is as large as the others.
    at = np.arange(slot * config.batch_size, (slot + 1) * config.batch_size) % task.n_train
    generator = torch.Generator().manual_seed(_seed(config.seed, step, part, engine.rank))
    return task.batch(order[at], generator, training=True)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


@torch.no_grad()
def _validate(task: Task, config: LoopConfig, engine: Engine) -> float | None:
    if task.n_val == 0:
        return None
    task.module.eval()
    total = 0.0
    for start in range(0, task.n_val, config.batch_size):
        indices = np.arange(start, min(start + config.batch_size, task.n_val))
        # The same draws at every validation: figures of two checkpoints can be compared.
        generator = torch.Generator().manual_seed(_seed(config.seed, start))
        batch = task.batch(indices, generator, training=False)
        losses = task.module(**_moved(batch, engine.device))
        total += float(losses["loss"]) * len(indices)
    task.module.train()
    return total / task.n_val
