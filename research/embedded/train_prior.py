"""Train the prior: an embedding's picture in the gallery's own pose, as latents.

    python -m research.embedded.train_prior --latents FILE --out DIR

A UNet sees where things are only through its borders, and so is slow to learn *where* an embedding
puts its colours. A two-layer perceptron (diffusers' `PixArtAlphaTextProjection`) learns that at
once, for a hundredth of the cost. Its guess, the mean of what the embedding may stand for, goes to
the UNet beside the noise; the UNet turns it into one picture in the pose that the noise asks for.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from diffusers.models.embeddings import PixArtAlphaTextProjection
from safetensors.torch import load_file, save_file

from research.embedded.train_unet import PRIOR, Pool


def main() -> None:
    """Train against the clock or to the last step, whichever comes first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=Path, required=True, help="made with --canonical")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5400)
    parser.add_argument("--minutes", type=float, default=math.inf, help="anneal to end by then")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--init", type=Path, help="weights to go on from")
    parser.add_argument("--extras", type=float, default=0.02, help="share of other concepts")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    pool = Pool(options.latents, extras=options.extras)
    prior = PixArtAlphaTextProjection(**PRIOR)
    if options.init is not None:
        prior.load_state_dict(load_file(options.init))
    optimizer = torch.optim.AdamW(prior.parameters(), lr=1.0, weight_decay=1e-3)
    log = (options.out / "log.jsonl").open("a")
    started, step = time.monotonic(), 0
    losses: list[float] = []
    while True:
        minutes = (time.monotonic() - started) / 60
        progress = max(step / options.steps, minutes / options.minutes)
        if progress >= 1.0:
            break
        optimizer.param_groups[0]["lr"] = (
            2e-3 * min(1.0, (step + 1) / 50) * (0.01 + 0.99 * (1 - progress))
        )
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        conditions, _, wanted = pool.batch(generator, options.batch)
        loss = (prior(conditions) - wanted.flatten(1)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.item()))
        step += 1
        if step % 100 == 0:
            line = {"step": step, "minutes": round(minutes, 2), "loss": round(sum(losses) / 100, 5)}
            print(json.dumps(line), file=log, flush=True)
            losses = []
    half = {name: value.half().contiguous() for name, value in prior.state_dict().items()}
    save_file(half, options.out / "diffusion_pytorch_model.safetensors")
    config = {"_class_name": "PixArtAlphaTextProjection", **PRIOR}
    (options.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
