"""Trains EEGNet on the encoder's own pool: `python -m research.embedded.train_eegnet`.

Owns the baseline's recipe: one network a board (it is bound to a montage), the same people,
pictures and strengths as the encoder's batches, the same two losses. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from models.embedded.encoder_input import N_TIMES
from pipeline.gallery import Gallery, load_gallery
from research.baselines.eegnet import Eegnet, EegnetConfig
from research.embedded.encoder_batches import BoardBatch, board_pool, upright_rows
from research.embedded.train_encoder import log

BOARDS = ("cyton", "daisy", "cap32", "cap63")
BATCH = 128
TEMPERATURE = 0.1
"""Where that of the contrastive loss starts; it is learnt."""
REGRESSION_WEIGHT = 1.0


def board_loss(
    vectors: Tensor,
    sharpness: Tensor,
    targets: Tensor,
    rows: Tensor,
    *,
    gallery: Tensor,
    candidates: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sum of contrast and squared error, and the contrast alone.

    Parameters
    ----------
    vectors, targets : Tensor, shape (n, n_features)
    sharpness : Tensor, scalar
        What inner products with pictures are multiplied by.
    rows : Tensor, shape (n,), int64
        Of the gallery; -1 for a made-up embedding.
    gallery : Tensor, shape (n_stimuli, n_features)
    candidates : Tensor, shape (n_candidates,), int64
        Rows of the pictures to tell apart.
    """
    regression = (vectors - targets).square().sum(dim=1).mean()
    place = torch.full((len(gallery),), -1)
    place[candidates] = torch.arange(len(candidates))
    named = (rows >= 0) & (place[rows.clamp(min=0)] >= 0)
    logits = vectors[named] @ gallery[candidates].T * sharpness
    contrast = functional.cross_entropy(logits, place[rows[named]])
    return contrast + REGRESSION_WEIGHT * regression, contrast.detach()


def train_board(
    pool: BoardBatch,
    gallery: Gallery,
    config: EegnetConfig,
    *,
    n_steps: int,
    lr: float,
    seed: int,
    note: Callable[[str], None] = log,
) -> Eegnet:
    """Train one board's network; the rate rises over 100 steps, then falls by half a cosine."""
    torch.manual_seed(seed)
    network = Eegnet(config)
    with torch.no_grad():  # start from "nothing understood", as the encoder does
        network.output.weight.mul_(0.1)
    log_sharpness = torch.tensor(-math.log(TEMPERATURE), requires_grad=True)
    pictures = torch.from_numpy(gallery.embeddings.copy())
    candidates = torch.from_numpy(upright_rows(gallery))
    channels, targets, rows = (
        torch.from_numpy(each) for each in (pool.channels, pool.targets, pool.rows)
    )
    optimiser = torch.optim.Adam([*network.parameters(), log_sharpness], lr=lr)
    sums = np.zeros(2)
    for step in range(n_steps):
        rate = min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        for group in optimiser.param_groups:
            group["lr"] = lr * rate
        chosen = torch.from_numpy(_chosen(step, len(rows), seed))
        loss, contrast = board_loss(
            network(channels[chosen]),
            log_sharpness.exp(),
            targets[chosen],
            rows[chosen],
            gallery=pictures,
            candidates=candidates,
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        network.constrain()
        sums += float(loss.detach()), float(contrast)
        if (step + 1) % 100 == 0:
            total, part = sums / 100
            sharp = float(log_sharpness.detach().exp())
            note(f"{step + 1}: {total:.4f} contrast {part:.4f} sharpness {sharp:.1f}")
            sums[:] = 0
    return network.eval()


def _chosen(step: int, n: int, seed: int) -> NDArray[np.int64]:
    """Rows of a step's batch: every pass in an order of its own."""
    steps_per_pass = max(1, n // BATCH)
    number, place = divmod(step, steps_per_pass)
    order = np.random.default_rng([seed, 3, number]).permutation(n)
    return order[place * BATCH : (place + 1) * BATCH]


def save_board(network: Eegnet, folder: Path) -> None:
    """Write the weights and their sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    sizes = json.dumps(dataclasses.asdict(network.config), indent=2)
    (folder / "config.json").write_text(sizes + "\n", encoding="utf-8")


def load_board(folder: Path) -> Eegnet:
    """Read what `save_board` wrote, ready to run."""
    config = EegnetConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    network = Eegnet(config)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def main(argv: list[str] | None = None) -> int:
    """Train the boards that are not there yet; write OUT/BOARD."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("out/eegnet"))
    options.add_argument("--boards", nargs="+", choices=BOARDS, default=list(BOARDS))
    options.add_argument("--steps", type=int, default=2000)
    options.add_argument("--pool-epochs", type=int, default=32768)
    options.add_argument("--lr", type=float, default=3e-3)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--n-temporal", type=int, default=8, help="F1")
    options.add_argument("--depth", type=int, default=2, help="D")
    options.add_argument("--bank-seconds", type=float, default=240.0, help="noise a bank, s")
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    gallery = load_gallery()
    for board in args.boards:
        folder = args.out / board
        if (folder / "model.safetensors").is_file():
            log(f"{board}: there already")
            continue
        log(f"{board}: drawing the pool")
        pool = board_pool(
            board,
            gallery,
            n_epochs=args.pool_epochs,
            seed=args.seed,
            bank_seconds=args.bank_seconds,
        )
        n_channels = pool.channels.shape[1]
        network = train_board(
            pool,
            gallery,
            EegnetConfig(n_channels, N_TIMES, gallery.n_features, args.n_temporal, args.depth),
            n_steps=args.steps,
            lr=args.lr,
            seed=args.seed,
        )
        save_board(network, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
