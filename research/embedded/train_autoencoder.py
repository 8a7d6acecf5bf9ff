"""Train the small autoencoder (diffusers' `AutoencoderDC`) on object renders.

    python -m research.embedded.train_autoencoder --renders TGZ --out DIR

Of diffusers' autoencoders this one has linear shortcuts (pixel shuffles) through every level and
no layer at full resolution: it reached in 150 steps what `AutoencoderTiny` of equal cost reached in
1000 (docs/decisions/0003). Trained on random crops: the network is fully convolutional, and a 64 px
crop costs a quarter of a 128 px picture. One emoji in sixteen is held out with all its variants;
PSNR is measured on those.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from PIL import Image

from research.embedded import renders as pictures

CONFIG = {
    "latent_channels": 16,
    "encoder_block_types": "ResBlock",
    "decoder_block_types": "ResBlock",
    # Nothing at full resolution: the first level is a convolution and a pixel (un)shuffle.
    "encoder_block_out_channels": (32, 32, 64, 128),
    "decoder_block_out_channels": (32, 32, 64, 128),
    "encoder_layers_per_block": (0, 1, 1, 1),
    "decoder_layers_per_block": (0, 1, 2, 2),
    "encoder_qkv_multiscales": ((), (), (), ()),
    "decoder_qkv_multiscales": ((), (), (), ()),
}
PEAK_LR = 2e-3


def split(names: list[str]) -> tuple[list[str], list[str]]:
    """Training and held-out code points: whole emoji with all their variants, 6 % held out.

    Variants of one emoji (skin tones, genders) share their first code point, so the split is by
    that: a held-out picture has no sibling in training.
    """
    stems = sorted({name.split("-")[0] for name in names})
    held_out = set(stems[7::16])
    return (
        [name for name in names if name.split("-")[0] not in held_out],
        [name for name in names if name.split("-")[0] in held_out],
    )


def random_picture(
    rng: np.random.Generator, renders: dict[str, Image.Image], names: list[str], size: int
) -> Image.Image:
    """One training picture: a render in a random pose, or now and then a checkerboard."""
    if rng.random() < 0.04:
        side = ("left", "right", "full")[rng.integers(3)]
        picture = pictures.checkerboard(size, side, n_cells=8, swap=bool(rng.integers(2)))
        return pictures.fog(picture, float(rng.choice([0.0, 0.0, rng.random()])))
    pose = pictures.Pose(
        angle=float(rng.normal(0, 14) + 180 * rng.integers(2)),
        scale=float(rng.uniform(0.6, 1.5)),
        shift=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        mirror=bool(rng.integers(2)),
        saturation=float(rng.uniform(0.7, 1.25)),
        brightness=float(rng.uniform(0.8, 1.15)),
    )
    plain = rng.random() < 0.5
    background = pictures.flat_background(size) if plain else pictures.random_background(rng, size)
    picture = pictures.compose(renders[names[rng.integers(len(names))]], pose, background)
    return pictures.fog(picture, float(rng.random())) if rng.random() < 0.12 else picture


def to_tensor(batch: list[pictures.Uint8]) -> torch.Tensor:
    """(n, 3, height, width) float32 in [-1, 1] from uint8 pictures."""
    stacked = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float()
    return (stacked / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


def random_crops(
    rng: np.random.Generator,
    renders: dict[str, Image.Image],
    names: list[str],
    *,
    n_crops: int,
    size: int,
) -> torch.Tensor:
    """A batch of crops: four from each picture, whose composition costs more than the cut."""
    crops: list[pictures.Uint8] = []
    while len(crops) < n_crops:
        pixels = pictures.to_array(random_picture(rng, renders, names, 128))
        for _ in range(4):
            y, x = rng.integers(0, 128 - size + 1, 2)
            crops.append(pixels[y : y + size, x : x + size])
    return to_tensor(crops[:n_crops])


def loss_of(made: torch.Tensor, wanted: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Absolute and squared error, error of the gradients, and a leash on the latents' size."""
    error = made - wanted
    dx = error[..., 1:] - error[..., :-1]
    dy = error[..., 1:, :] - error[..., :-1, :]
    edges = dx.abs().mean() + dy.abs().mean()
    return error.abs().mean() + 2.0 * error.square().mean() + edges + 1e-4 * latents.square().mean()


@torch.no_grad()
def psnr(vae: AutoencoderDC, wanted: torch.Tensor) -> torch.Tensor:
    """(n,) peak signal-to-noise ratio of each picture, dB, peak 255."""
    values = []
    for batch in torch.split(wanted, 16):
        made = vae.decoder(vae.encoder(batch)).clamp(-1, 1)
        values.append(-10 * torch.log10((made - batch).square().mean((1, 2, 3)) / 4))
    return torch.cat(values)


def held_out_pictures(renders: dict[str, Image.Image], names: list[str]) -> torch.Tensor:
    """Up to 200 held-out renders in the gallery's own pose and background."""
    chosen = names[:: max(1, len(names) // 200)][:200]
    return to_tensor(
        [
            pictures.to_array(
                pictures.compose(renders[name], pictures.Pose(), pictures.flat_background(128))
            )
            for name in chosen
        ]
    )


class Run:
    """A training run that can stop and go on: the network, its optimizer, its clock."""

    def __init__(self, out: Path, seed: int) -> None:
        torch.manual_seed(seed)
        self.out, self.seed = out, seed
        self.vae = AutoencoderDC(**CONFIG).to(memory_format=torch.channels_last)
        for name, parameter in self.vae.named_parameters():
            if name.endswith("norm.weight"):
                # Residual blocks start almost silent: what is left is linear and learns fast.
                torch.nn.init.constant_(parameter, 0.1)
        self.optimizer = torch.optim.AdamW(
            self.vae.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=1e-4
        )
        self.step, self.spent = 0, 0.0
        if (out / "state.pt").exists():
            state = torch.load(out / "state.pt", weights_only=True)
            self.vae.load_state_dict(state["vae"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.spent = state["step"], state["spent"]
        self.started = time.monotonic() - self.spent

    @property
    def minutes(self) -> float:
        """Minutes of training so far, over all sittings."""
        return (time.monotonic() - self.started) / 60

    def advance(self, crops: torch.Tensor, lr: float) -> float:
        """One optimizer step; returns the loss."""
        self.optimizer.param_groups[0]["lr"] = lr
        with torch.autocast("cpu", torch.bfloat16):
            latents = self.vae.encoder(crops)
            # Latents that survive a little noise are easier to hit for the UNet.
            made = self.vae.decoder(latents + 0.05 * torch.randn_like(latents))
        loss = loss_of(made.float(), crops, latents.float())
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return float(loss.item())

    def keep(self) -> None:
        """Write the state to resume from, and the weights."""
        state = {
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
    parser.add_argument("--renders", type=Path, required=True, help="fluent-emoji-3d npm tarball")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--minutes", type=float, default=math.inf, help="anneal to end by then")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--stop", type=int, default=1000, help="leave the annealing to refine_decoder from here on"
    )
    return parser.parse_args()


def main() -> None:
    """Train, log a line every hundred steps, and keep the last state to resume from."""
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    renders = pictures.read_renders(options.renders)
    train, held_out = split(list(renders))
    test = held_out_pictures(renders, held_out)
    run = Run(options.out, options.seed)
    log = (options.out / "log.jsonl").open("a")
    losses: list[float] = []
    while run.step < options.stop:
        progress = min(1.0, max(run.step / options.steps, run.minutes / options.minutes))
        lr = PEAK_LR * min(1.0, (run.step + 1) / 100) * (1e-2 + 0.99 * (1 - progress) ** 1.2)
        rng = np.random.default_rng([options.seed, run.step])
        crops = random_crops(rng, renders, train, n_crops=16, size=64)
        losses.append(run.advance(crops, lr))
        if run.step % 50 == 0:
            line = {
                "step": run.step,
                "minutes": round(run.minutes, 2),
                "loss": round(sum(losses) / len(losses), 5),
            }
            losses = []
            if run.step % 250 == 0:
                line["psnr_db"] = round(float(psnr(run.vae, test[::4]).mean()), 3)
                run.keep()
            print(json.dumps(line), file=log, flush=True)
    run.keep()
    values = psnr(run.vae, test)
    summary = {
        "step": run.step,
        "held_out_pictures": len(values),
        "psnr_db_mean": round(float(values.mean()), 3),
        "psnr_db_p5": round(float(values.quantile(0.05)), 3),
    }
    print(json.dumps(summary), file=log, flush=True)


if __name__ == "__main__":
    main()
