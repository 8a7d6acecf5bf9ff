"""Train the small autoencoder (diffusers' `AutoencoderTiny`) on object renders.

    python -m models.embedded.training.train_autoencoder --renders TGZ --out DIR

Trained on random crops: the network is fully convolutional, and a 64 px crop costs a quarter of a
128 px picture. Every tenth code point is held out and never seen; PSNR is measured on those.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from models.embedded.training import renders as pictures

CONFIG = {
    "latent_channels": 8,
    "encoder_block_out_channels": (48, 48, 48, 48),
    "decoder_block_out_channels": (48, 48, 48, 48),
    "num_encoder_blocks": (1, 2, 2, 3),
    "num_decoder_blocks": (3, 2, 2, 1),
}


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


def to_tensor(batch: list[np.ndarray]) -> torch.Tensor:
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
    """A batch of crops: two from each picture, whose composition costs more than the cut."""
    crops = []
    while len(crops) < n_crops:
        pixels = pictures.to_array(random_picture(rng, renders, names, 128))
        for _ in range(2):
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
def psnr(vae: AutoencoderTiny, wanted: torch.Tensor) -> torch.Tensor:
    """(n,) peak signal-to-noise ratio of each picture, dB, peak 255."""
    values = []
    for batch in wanted.split(16):
        made = vae.decode(vae.encode(batch).latents).sample.clamp(-1, 1)
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


def main() -> None:
    """Train, log a line every hundred steps, and keep the last state to resume from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True, help="fluent-emoji-3d npm tarball")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--minutes", type=float, default=32.0, help="anneal to end by then")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    renders = pictures.read_renders(options.renders)
    train, held_out = split(list(renders))
    test = held_out_pictures(renders, held_out)
    vae = AutoencoderTiny(**CONFIG).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=1e-4)
    state_path, step, spent = options.out / "state.pt", 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    started = time.monotonic() - spent
    log = (options.out / "log.jsonl").open("a")
    running = 0.0
    while True:
        elapsed = (time.monotonic() - started) / 60
        progress = max(step / options.steps, elapsed / options.minutes)
        if progress >= 1.0:
            break
        warm = min(1.0, (step + 1) / 200)
        optimizer.param_groups[0]["lr"] = 1.5e-3 * warm * (1e-2 + 0.99 * (1 - progress) ** 1.2)
        rng = np.random.default_rng([options.seed, step])
        crops = random_crops(rng, renders, train, n_crops=16, size=64)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encoder(crops)
            # Latents that survive a little noise are easier to hit for the UNet.
            made = vae.decoder(latents + 0.03 * torch.randn_like(latents))
        loss = loss_of(made.float(), crops, latents.float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        running += loss.item()
        step += 1
        if step % 100 == 0:
            line = {"step": step, "minutes": round(elapsed, 2), "loss": round(running / 100, 5)}
            if step % 500 == 0:
                line["psnr_db"] = round(float(psnr(vae, test[::4]).mean()), 3)
                line["latent_std"] = round(float(latents.detach().float().std()), 3)
                state = {
                    "vae": vae.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                    "spent": time.monotonic() - started,
                }
                torch.save(state, options.out / "state.tmp")
                os.replace(options.out / "state.tmp", state_path)
                vae.save_pretrained(options.out / "vae")
            print(json.dumps(line), file=log, flush=True)
            running = 0.0
    vae.save_pretrained(options.out / "vae")
    values = psnr(vae, test)
    summary = {
        "step": step,
        "held_out_pictures": len(values),
        "psnr_db_mean": round(float(values.mean()), 3),
        "psnr_db_p5": round(float(values.quantile(0.05)), 3),
    }
    print(json.dumps(summary), file=log, flush=True)


if __name__ == "__main__":
    main()
