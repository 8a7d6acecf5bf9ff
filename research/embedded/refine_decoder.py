"""Freeze the encoder with normalised latents, then refine the decoder alone.

    python -m research.embedded.refine_decoder --renders TGZ --vae DIR --out DIR

The latents' means and spreads over the training renders are folded into the encoder's last and the
decoder's first convolution, so that every latent channel has mean 0 and spread 1 without a word in
the config. From then on latents can be cached for the UNet while the decoder still improves.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderDC

from research.embedded import renders as pictures
from research.embedded.train_autoencoder import (
    CONFIG,
    held_out_pictures,
    loss_of,
    psnr,
    random_crops,
    split,
    to_tensor,
)

PEAK_LR = 1.2e-3


@torch.no_grad()
def fold(vae: AutoencoderDC, sample: torch.Tensor) -> AutoencoderDC:
    """Return the same autoencoder with normalised latents and without shortcuts at the latents.

    Exact but for the one-latent border, where the decoder's zero padding now means the mean.
    """
    latents = torch.cat([vae.encoder(batch) for batch in torch.split(sample, 16)])
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    folded = AutoencoderDC(
        **{**CONFIG, "encoder_out_shortcut": False, "decoder_in_shortcut": False},
        scaling_factor=1.0,
    )
    folded.load_state_dict(vae.state_dict())
    last, first = folded.encoder.conv_out, folded.decoder.conv_in
    group = last.in_channels // last.out_channels
    for channel in range(last.out_channels):
        members = slice(channel * group, (channel + 1) * group)
        last.weight[channel, members, 1, 1] += 1.0 / group
        first.weight[members, channel, 1, 1] += 1.0
    last.weight.div_(spread[:, None, None, None])
    last.bias.sub_(mean).div_(spread)
    first.bias.add_(first.weight.sum((2, 3)) @ mean)
    first.weight.mul_(spread[None, :, None, None])
    return folded.to(memory_format=torch.channels_last)


class Refinement:
    """A run that can stop and go on."""

    def __init__(self, out: Path, vae: AutoencoderDC, seed: int) -> None:
        torch.manual_seed(seed)
        self.out, self.seed, self.vae = out, seed, vae
        self.optimizer = torch.optim.AdamW(
            vae.decoder.parameters(), lr=PEAK_LR, betas=(0.9, 0.98), weight_decay=1e-4
        )
        self.step, spent = 0, 0.0
        if (out / "state.pt").exists():
            state = torch.load(out / "state.pt", weights_only=True)
            vae.load_state_dict(state["vae"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, spent = state["step"], state["spent"]
        self.started = time.monotonic() - spent

    @property
    def minutes(self) -> float:
        """Minutes of training so far, over all sittings."""
        return (time.monotonic() - self.started) / 60

    def advance(self, crops: torch.Tensor, lr: float) -> float:
        """One optimizer step; returns the loss."""
        self.optimizer.param_groups[0]["lr"] = lr
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latents = self.vae.encoder(crops)
            # The UNet's latents are never exact.
            made = self.vae.decoder(latents + 0.05 * torch.randn_like(latents))
        loss = loss_of(made.float(), crops, latents.float())
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.vae.decoder.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return float(loss.item())

    def keep(self) -> None:
        """Write the state to resume from, and the weights."""
        state: dict[str, Any] = {
            "vae": self.vae.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent": time.monotonic() - self.started,
        }
        torch.save(state, self.out / "state.tmp")
        (self.out / "state.tmp").replace(self.out / "state.pt")
        self.vae.save_pretrained(self.out / "vae")


def parse() -> argparse.Namespace:
    """Options of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True, help="of train_autoencoder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1900)
    parser.add_argument("--minutes", type=float, default=math.inf, help="anneal to end by then")
    parser.add_argument("--seed", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Fold, then refine until the steps or the minutes are used up."""
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    renders = pictures.read_renders(options.renders)
    train, held_out = split(list(renders))
    test = held_out_pictures(renders, held_out)
    rng = np.random.default_rng([options.seed, 1 << 20])
    sample = to_tensor(
        [
            pictures.to_array(
                pictures.compose(renders[train[i]], pictures.Pose(), pictures.flat_background(128))
            )
            for i in rng.integers(0, len(train), 256)
        ]
    )
    run = Refinement(
        options.out,
        fold(AutoencoderDC.from_pretrained(options.vae, local_files_only=True), sample),
        options.seed,
    )
    run.keep()
    log = (options.out / "log.jsonl").open("a")
    line: dict[str, Any] = {"step": run.step, "psnr_db": float(psnr(run.vae, test[::4]).mean())}
    print(json.dumps(line), file=log, flush=True)
    losses: list[float] = []
    while (progress := max(run.step / options.steps, run.minutes / options.minutes)) < 1.0:
        rng = np.random.default_rng([options.seed, run.step])
        crops = random_crops(rng, renders, train, n_crops=16, size=64)
        losses.append(run.advance(crops, PEAK_LR * (0.01 + 0.99 * (1 - progress))))
        if run.step % 100 == 0:
            line = {"step": run.step, "minutes": round(run.minutes, 2)}
            line["loss"], losses = round(sum(losses) / len(losses), 5), []
            if run.step % 500 == 0:
                line["psnr_db"] = round(float(psnr(run.vae, test[::4]).mean()), 3)
                run.keep()
            print(json.dumps(line), file=log, flush=True)
    run.keep()
    values = psnr(run.vae, test)
    line = {"step": run.step, "held_out_pictures": len(values)}
    line["psnr_db_mean"] = round(float(values.mean()), 3)
    line["psnr_db_p5"] = round(float(values.quantile(0.05)), 3)
    print(json.dumps(line), file=log, flush=True)


if __name__ == "__main__":
    main()
