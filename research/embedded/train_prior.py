"""Train the prior: an embedding's picture in the gallery's own pose, as latents.

    python -m research.embedded.train_prior --latents FILE --out DIR

A UNet sees where things are only through its borders, and so is slow to learn *where* an embedding
puts its colours. A two-layer perceptron (diffusers' `PixArtAlphaTextProjection`) learns that at
once, for a hundredth of the cost. Its guess, the mean of what the embedding may stand for, goes to
the UNet beside the noise; the UNet turns it into one picture in the pose that the noise asks for.

What the perceptron gives is linear in its second layer, so that layer's best weights for a squared
error are solved for at the end, over batches as training drew them (`solve`): no number of steps
does better with the same first layer.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import PixArtAlphaTextProjection
from safetensors.torch import save_file
from torch import Tensor, nn

from models.embedded.generator import FILE
from models.training.draws import Draws, Indices
from models.training.loop import Batch
from research.embedded.latents import FOG_LEVELS, length_of
from research.embedded.runs import DrawnTask, Recipe, Run, parse_recipe
from research.embedded.train_unet import PRIOR, Pool, read_prior

SHRINKAGE = 1e-5
"""Penalty of the solved layer, of its features' mean power."""
EXACT, OTHERS = 10.0, 0.03
"""Weight of an exact clear stimulus against a drawn one, and of another render against it."""


class Guess(nn.Module):
    """The prior; its forward gives the loss."""

    def __init__(self, prior: Any) -> None:
        super().__init__()
        self.prior = prior

    def forward(
        self, conditions: Tensor, noise: Tensor, clean: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        """Weighted squared error of the clean latents."""
        del noise
        errors = (self.prior(conditions) - clean.flatten(1)).square().mean(1)
        return {"loss": (errors * weights).mean(), "even": errors.mean()}


class PriorTask(DrawnTask):
    """Latents of conditions, guessed."""

    def __init__(self, prior: Any, pool: Pool, recipe: Recipe) -> None:
        super().__init__(Guess(prior), recipe, weight_decay=1e-3)
        self._pool = pool

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """A batch of the pool."""
        del training
        return self._pool.batch(draws.generator, len(indices))


def widened(narrow: Any, width: int, seed: int) -> Any:
    """A prior of more hidden units: those that there are, and turned copies of them.

    The second layer means nothing until it is solved for.
    """
    source = torch.Generator().manual_seed(seed)
    wide = PixArtAlphaTextProjection(**{**PRIOR, "hidden_size": width})
    with torch.no_grad():
        weight, bias = narrow.linear_1.weight, narrow.linear_1.bias
        weights, biases = [weight], [bias]
        while sum(map(len, biases)) < width:
            turn = torch.linalg.qr(torch.randn(weight.shape[1], weight.shape[1], generator=source))
            weights.append(weight @ turn.Q)
            biases.append(bias[torch.randperm(len(bias), generator=source)])
        wide.linear_1.weight.copy_(torch.cat(weights)[:width])
        wide.linear_1.bias.copy_(torch.cat(biases)[:width])
    return wide


def drawn_batches(pool: Pool, *, n: int, size: int, seed: int) -> Iterator[Batch]:
    """Batches as training draws them: jittered, mixed, at any length."""
    for number in range(n):
        yield pool.batch(torch.Generator().manual_seed(seed * 1_000_003 + number), size)


def exact_batches(pool: Pool, *, size: int, weight: float) -> Iterator[Batch]:
    """Every stimulus at each of its fogs, and every other render, as they are, once.

    Training jitters conditions, so that near ones look alike; that alone would leave the pictures
    themselves blurred. Fogged ones count less than clear ones, other renders least.
    """
    shares = {True: (1.0, 0.3), False: (OTHERS, OTHERS)}
    table = [
        (owner, int(rows[0]), float(length_of(FOG_LEVELS[level])) if level else 1.0,
         weight * shares[owner < pool.n_gallery][level > 0])
        for (owner, level), rows in pool.rows.items()
    ]  # fmt: skip
    for start in range(0, len(table), size):
        owners, rows, lengths, shared = zip(*table[start : start + size], strict=True)
        picked = torch.tensor(rows)
        yield {
            "conditions": pool.conditions[list(owners)] * torch.tensor(lengths)[:, None],
            "clean": pool.latents[picked],
            "weights": pool.weights[picked] * torch.tensor(shared),
        }


@torch.no_grad()
def solve(prior: Any, batches: Iterable[Batch]) -> None:
    """Give the second layer the weights of least weighted squared error over these batches."""
    n = prior.linear_1.out_features + 1
    gram = torch.zeros(n, n, dtype=torch.float64)
    cross = torch.zeros(n, prior.linear_2.out_features, dtype=torch.float64)
    for drawn in batches:
        hidden = prior.act_1(prior.linear_1(drawn["conditions"]))
        rows = torch.cat([hidden, torch.ones(len(hidden), 1)], dim=1)
        heavy = rows * drawn["weights"][:, None]
        gram += (heavy.T @ rows).double()
        cross += (heavy.T @ drawn["clean"].flatten(1)).double()
    penalty = SHRINKAGE * gram.diagonal()[:-1].mean() * torch.ones(n, dtype=torch.float64)
    penalty[-1] = 0
    weights = torch.linalg.solve(gram + torch.diag(penalty), cross).float()
    prior.linear_2.weight.copy_(weights[:-1].T)
    prior.linear_2.bias.copy_(weights[-1])


def main() -> None:
    """Train, then solve for the second layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=Path, required=True, help="made with --canonical")
    parser.add_argument("--init", type=Path, help="folder of a prior to go on from")
    parser.add_argument("--extras", type=float, default=0.05, help="share of other renders")
    parser.add_argument("--solve", type=int, default=100, help="batches to solve over; 0: do not")
    recipe, options = parse_recipe(parser, steps=5400, batch=128, lr=2e-3, seed=11)
    torch.manual_seed(recipe.seed)
    pool = Pool(options.latents, extras=options.extras)
    prior: Any = PixArtAlphaTextProjection(**PRIOR)
    if options.init is not None:
        prior = read_prior(options.init)
        if prior.linear_1.out_features < PRIOR["hidden_size"]:
            prior = widened(prior, PRIOR["hidden_size"], recipe.seed)

    def save(out: Path) -> None:
        final = copy.deepcopy(prior)
        if options.solve:
            drawn = drawn_batches(pool, n=options.solve, size=recipe.batch, seed=recipe.seed + 1)
            exact = exact_batches(pool, size=recipe.batch, weight=EXACT)
            solve(final, itertools.chain(drawn, exact))
        half = {name: value.half().contiguous() for name, value in final.state_dict().items()}
        save_file(half, out / FILE)
        config = {"_class_name": "PixArtAlphaTextProjection", **PRIOR}
        (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    Run.of(recipe, options).train(PriorTask(prior, pool, recipe), save=save)


if __name__ == "__main__":
    main()
