"""Runs of the generator's trainings: `models.training`'s loop, a log, and weights to look at.

Owns what the autoencoder's, the prior's and the UNet's runs share: options, rate, log, saved
states. What is trained is theirs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.training import LoopConfig, Task, make_engine, train
from models.training.engine import choose_precision
from models.training.loop import Progress
from models.training.state import list_runs

EMA = 0.999
"""Decay of the average of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a run is made; what it gives is a function of this and of its data alone."""

    steps: int
    batch: int
    lr: float
    seed: int
    ema: float = EMA
    warmup: int = 100
    floor: float = 0.01
    """Part of the rate that is left at the end."""

    def learning_rate(self, step: float) -> float:
        """Rises in `warmup` steps, then falls on a line to `floor`."""
        left = max(0.0, 1.0 - step / self.steps)
        return self.lr * min(1.0, (step + 1) / self.warmup) * (self.floor + (1 - self.floor) * left)


class DrawnTask:
    """What the generator's tasks share: each pass is one step, of a batch that is drawn anew."""

    n_val = 0

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        *,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self._module, self._recipe = module, recipe
        self._weight_decay, self._betas = weight_decay, betas

    @property
    def module(self) -> nn.Module:
        """The networks with their loss."""
        return self._module

    @property
    def n_train(self) -> int:
        """A pass is a step."""
        return self._recipe.batch

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW over what is not frozen."""
        trained = [p for p in self._module.parameters() if p.requires_grad]
        return torch.optim.AdamW(
            trained, lr=1.0, betas=self._betas, weight_decay=self._weight_decay
        )

    def learning_rate(self, progress: float) -> float:
        """As the recipe says."""
        return self._recipe.learning_rate(progress)


def parse_recipe(
    parser: argparse.ArgumentParser, *, steps: int, batch: int, lr: float, seed: int
) -> tuple[Recipe, argparse.Namespace]:
    """Add a run's options to a parser, with these defaults, and read the command line."""
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--lr", type=float, default=lr, help="the highest on the way")
    parser.add_argument("--ema", type=float, default=EMA, help="decay of the average; 0: none")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--stop", type=int, metavar="STEP", help="end there, to go on another day")
    parser.add_argument("--save-every", type=int, default=250, metavar="STEPS")
    options = parser.parse_args()
    recipe = Recipe(
        steps=options.steps,
        batch=options.batch,
        lr=options.lr,
        seed=options.seed,
        ema=options.ema,
    )
    return recipe, options


@dataclass(slots=True)
class Run:
    """A run in a folder: `log.jsonl`, the states to go on from, and what would ship."""

    recipe: Recipe
    out: Path
    save_every: int = 250
    stop: int | None = None
    log_every: int = 50

    @classmethod
    def of(cls, recipe: Recipe, options: argparse.Namespace) -> Run:
        """As the command line says."""
        return cls(recipe, options.out, options.save_every, options.stop)

    def train(
        self,
        task: Task,
        *,
        save: Callable[[Path], object],
        judge: Callable[[], dict[str, float]] = dict,
    ) -> None:
        """Train to the last step, or on from the last saved state.

        Parameters
        ----------
        save : callable
            Writes the weights into the folder; called with the averaged weights in place.
        judge : callable
            Figures for the log, at every saved state, of the averaged weights.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        recipe = self.recipe
        loop = LoopConfig(
            passes=recipe.steps, batch_size=recipe.batch, ema_decay=recipe.ema, seed=recipe.seed
        )
        engine = make_engine(precision=choose_precision("auto"))
        end = min(recipe.steps, self.stop or recipe.steps)
        sums: list[dict[str, float]] = []
        clock = [time.monotonic()]

        def note(progress: Progress) -> None:
            sums.append(dict(progress.losses))
            if progress.step % self.log_every == 0:
                means = {n: round(sum(s[n] for s in sums) / len(sums), 5) for n in sums[0]}
                spent = round((time.monotonic() - clock[0]) / len(sums), 3)
                self._log({"step": progress.step, "s_per_step": spent, **means})
                sums.clear()
                clock[0] = time.monotonic()

        while True:
            # In pieces: only at the end of a piece are the averaged weights in place.
            report = train(
                task, loop, engine=engine, out=self.out, save_every=self.save_every,
                stop_after=self._next_stop(end), on_step=note,
            )  # fmt: skip
            save(self.out)
            self._log({"step": report["step"], **judge()})
            if report["step"] >= end:
                return

    def _next_stop(self, end: int) -> int:
        """The first place to stop at after what is saved."""
        saved = [int(path.name.removeprefix("step-")) for path in list_runs(self.out)]
        last = saved[-1] if saved else 0
        return min(end, (last // self.save_every + 1) * self.save_every)

    def _log(self, line: dict[str, Any]) -> None:
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
