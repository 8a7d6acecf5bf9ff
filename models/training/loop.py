"""The training loop: passes, batches, steps, checkpoints; resumed bit for bit.

Owns the order of the data and every draw, both pure functions of (seed, step): a run that was
killed and continued is the run that was not, and one of several processes is the run of one.
Knows nothing of what is trained (a `Task`) or where (an `Engine`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from models.training.average import WeightAverage
from models.training.division import DIVIDES, Division
from models.training.draws import Draws, Indices
from models.training.engine import Engine
from models.training.errors import TrainingError
from models.training.state import list_runs, load_run, read_run, save_run
from models.training.together import Parts, has_norms, joined

Batch = Mapping[str, Tensor]


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

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Make a batch of items on the CPU; chance comes from `draws`, whose rows they are."""
        ...


@runtime_checkable
class CountsSteps(Protocol):
    """A task whose schedule is published in steps, not in passes."""

    def count_steps(self, steps_per_pass: int) -> None:
        """Take how many steps a pass has, before the first one."""
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
    """One step, as it is shown: losses are means over all processes."""

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
    on_note: Callable[[str], None] = lambda _: None,
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
    on_note : callable
        Told, in the first process, what of the settings a checkpoint overrules.
    stop : callable
        Whether to end early, with a checkpoint; asked after each step. Of several processes all
        end after the step in which one was asked to.

    Returns
    -------
    dict
        `step`, `n_steps`, `first_losses` and `losses` (of this call's first and last step),
        `val_loss` (None without validation) and `precision`. The module holds the averaged
        weights where the configuration asks for them.

    Raises
    ------
    TrainingError
        No data, a checkpoint of other settings, a loss that is not finite, or another process
        of this training that is gone.
    """
    if task.n_train < 1:
        raise TrainingError("there are no training items: check --data.")
    checkpoint = resume or next(reversed(list_runs(out)), None)
    division = _division(config, engine, checkpoint, on_note)
    steps_per_pass = math.ceil(task.n_train / division.n_items)
    n_steps = config.passes * steps_per_pass
    if isinstance(task, CountsSteps):
        task.count_steps(steps_per_pass)
    torch.manual_seed(config.seed)
    module = engine.prepare(task.module)
    optimizer = task.make_optimizer()
    average = WeightAverage(task.module, config.ema_decay) if config.ema_decay else None
    kept: dict[str, Any] = {
        "module": task.module,
        "optimizer": optimizer,
        "facts": {
            "loop": {k: v for k, v in asdict(config).items() if k not in DIVIDES},
            "n_items": division.n_items,
            "n_train": task.n_train,
            "precision": engine.precision,
        },
        "average": average,
    }
    # Batch norms are a part's own, and there is no end to what parts would have in common.
    parts = None if division.n_parts == 1 or has_norms(task.module) else Parts(division.n_parts)
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
            losses, stopped, parts = _step(
                task,
                config,
                engine,
                division,
                parts=parts,
                module=module,
                optimizer=optimizer,
                step=step,
                lr=lr,
                stop=stop,
            )
        first = first or losses
        step += 1
        if average is not None:
            average.update(step)
        if engine.rank == 0:
            on_step(Progress(step, n_steps, lr, losses))
        engine.log({**losses, "lr": lr}, step)
        if stopped:
            end = step
        if step % save_every == 0 or step == end:
            save_run(out, step=step, writes=engine.rank == 0, **kept)
            engine.wait()
    if average is not None:
        average.put()
    val_loss = _validate(task, config, engine) if step == n_steps else None
    if val_loss is not None:
        engine.log({"val_loss": val_loss}, step)
    engine.release(task.module)
    engine.finish()
    report = {"step": step, "n_steps": n_steps, "losses": losses, "val_loss": val_loss}
    return report | {"first_losses": first, "precision": engine.precision}


def _step(
    task: Task,
    config: LoopConfig,
    engine: Engine,
    division: Division,
    *,
    parts: Parts | None,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    lr: float,
    stop: Callable[[], bool],
) -> tuple[dict[str, float], bool, Parts | None]:
    """Make one step; return its losses, whether a process was asked to stop, and `parts`.

    None instead of these, where nothing of a part depends on the others.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    n_parts = division.n_parts
    sums: dict[str, Tensor] = {}

    @lru_cache(maxsize=None if parts is not None else 1)
    def batch(part: int) -> Batch:
        draws = step_draws(task.n_train, config.seed, division, step=step, part=part)
        return task.batch(draws.indices, draws, training=True)

    def forward(part: int) -> dict[str, Tensor]:
        with engine.autocast(), joined(division.rank, division.n_processes, parts):
            made: dict[str, Tensor] = module(**_moved(batch(part), engine.device))
            return made

    if parts is not None and not parts.settle(forward):
        parts = None
    for part in range(n_parts):
        if parts is not None:
            parts.begin(part)
        with engine.accumulate(module, last=part == n_parts - 1):
            losses = forward(part)
            engine.backward(losses["loss"] / n_parts)
        for name, value in losses.items():
            each = value.detach().float() / n_parts
            sums[name] = sums[name] + each if name in sums else each
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    if math.isfinite(config.max_grad_norm):
        torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
    optimizer.step()
    # Read once, with the whole step queued: each read waits for the device. Processes agree by the
    # same mean on whether to stop, and on a loss that is not finite.
    asked = next(iter(sums.values())).new_tensor(float(stop()))
    *means, n_asked = engine.mean(torch.stack([*sums.values(), asked])).tolist()
    values = dict(zip(sums, means, strict=True))
    if not math.isfinite(values["loss"]):
        raise TrainingError(
            f"the loss of step {step} is {values['loss']}: the data hold values that are not "
            "finite, or the rate is too high; lower `lr` and continue from the last checkpoint."
        )
    return values, n_asked > 0, parts


def _moved(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """A batch on its device; scalars stay here, where a module reads them without waiting."""
    if device.type != "cuda":
        return {k: v.to(device) for k, v in batch.items()}
    return {
        k: v.pin_memory().to(device, non_blocking=True) if v.ndim else v for k, v in batch.items()
    }


@lru_cache(maxsize=1)
def _order(n_train: int, seed: int, number: int) -> Indices:
    """Order of the items in a pass."""
    return np.random.default_rng((seed, number)).permutation(n_train)


def step_draws(n_train: int, seed: int, division: Division, *, step: int, part: int) -> Draws:
    """Items and draws of one part of one step in this process: a pure function of its arguments."""
    n_items = division.n_items
    number, place = divmod(step, math.ceil(n_train / n_items))
    order = _order(n_train, seed, number)
    # Around the end: the last step of a pass is as large as the others.
    items = order[np.arange(place * n_items, (place + 1) * n_items) % n_train]
    return division.draws(items, _seed(seed, step, 0, 0), part=part)


def _division(
    config: LoopConfig, engine: Engine, checkpoint: Path | None, note: Callable[[str], None]
) -> Division:
    """How steps are divided: those of a checkpoint keep their items."""
    asked = config.batch_size * config.gradient_accumulation_steps * engine.n_processes
    n_items = asked if checkpoint is None else int(read_run(checkpoint)["n_items"])
    division = Division.fit(
        n_items, rank=engine.rank, n_processes=engine.n_processes, at_most=config.batch_size
    )
    if n_items != asked and engine.rank == 0:
        note(
            f"note: steps stay of {n_items} items, as the run began (the settings say {asked}): "
            f"{division}."
        )
    return division


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
        draws = Draws.of(indices, _seed(config.seed, start))
        batch = task.batch(indices, draws, training=False)
        losses = task.module(**_moved(batch, engine.device))
        total += float(losses["loss"]) * len(indices)
    task.module.train()
    return total / task.n_val
