"""Train the published systems at reduced size, write the table: `python -m research.comparison`.

Owns the command: sizes, seeds, order. What is trained already is not trained again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from models.embedded.encoder import load_encoder
from pipeline.gallery import Gallery, load_gallery
from research.comparison.atm import AtmSystems, train_encoder, train_multimodal, train_prior
from research.comparison.dreamdiffusion import train_dreamdiffusion
from research.comparison.pool import draw_pool
from research.comparison.table import Systems, write_comparison
from research.embedded.train_encoder import log


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser(prog="python -m research.comparison", description=__doc__)
    options.add_argument("--out", type=Path, default=Path("out/comparison"))
    options.add_argument("--document", type=Path, help="where the table goes; in OUT if not given")
    options.add_argument("--images", type=Path, help="where the pictures go; OUT/img if not given")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--epochs", type=int, default=32768, help="epochs of the pool")
    options.add_argument("--bank-seconds", type=float, default=240.0, help="noise a bank, s")
    options.add_argument("--passes-a", type=int, default=3, help="DreamDiffusion, stage A")
    options.add_argument("--passes-b", type=int, default=7, help="DreamDiffusion, head")
    options.add_argument("--passes-atm", type=int, default=10)
    options.add_argument("--passes-prior", type=int, default=10)
    options.add_argument("--passes-multimodal", type=int, default=4)
    options.add_argument("--people", type=int, default=10, help="held-out people of the test")
    options.add_argument("--stimuli", type=int, default=60, help="pictures for each of them")
    return options


def train_systems(args: argparse.Namespace, gallery: Gallery) -> Systems:
    """Train one after the other, on the same pool."""
    pool = draw_pool(gallery, n_epochs=args.epochs, seed=args.seed, bank_seconds=args.bank_seconds)
    log(f"pool: {len(pool.image_ids)} epochs, {len(pool.embeddings)} pictures")
    out, seed = args.out, args.seed
    encoder = train_encoder(pool, out / "atm", passes=args.passes_atm, seed=seed, note=log)
    prior = train_prior(pool, encoder, out / "atm", passes=args.passes_prior, seed=seed, note=log)
    multimodal = train_multimodal(
        pool,
        encoder,
        prior,
        gallery,
        out / "atm",
        passes=args.passes_multimodal,
        seed=seed,
        note=log,
    )
    stage = train_dreamdiffusion(
        pool,
        out / "dreamdiffusion",
        passes_a=args.passes_a,
        passes_b=args.passes_b,
        seed=seed,
        note=log,
    )
    return Systems(load_encoder(), stage, AtmSystems(encoder, prior, multimodal))


def main(argv: list[str] | None = None) -> int:
    """Train, test, draw."""
    args = parser().parse_args(argv)
    torch.set_num_threads(1)
    gallery = load_gallery()
    systems = train_systems(args, gallery)
    write_comparison(
        systems,
        gallery,
        args.document or args.out / "comparison.md",
        args.images or args.out / "img",
        n_people=args.people,
        n_stimuli=args.stimuli,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
