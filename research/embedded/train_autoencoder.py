"""Train the small autoencoder (`autoencoding.py`) on object renders, whole or its decoder alone.

    python -m research.embedded.train_autoencoder --renders TGZ --out DIR
    python -m research.embedded.train_autoencoder --renders TGZ --out DIR --init VAE --part decoder

With `--part decoder` the encoder is frozen, so that latents can be cached for the UNet, and what
was trained on them stays good, while the decoder still improves; `--fold` first brings the latents
to mean 0 and spread 1. Trained on random crops: the network is fully convolutional, and a 64 px
crop costs a quarter of a 128 px picture. `--whole` is for the end: whole pictures, most of them as
the gallery shows them, each judged in decibels, as the figures judge it. Pictures kept apart
(`renders.split`) are never seen. The run is `models.training`'s: killed and begun again, it is the
run that was not killed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from PIL import Image

from models.embedded.fog import veiled
from models.training.draws import Draws, Indices
from models.training.loop import Batch
from research.embedded import renders as pictures
from research.embedded.autoencoding import (
    Reconstruction,
    fold,
    new_autoencoder,
    psnr,
    round_trip,
)
from research.embedded.runs import DrawnTask, Recipe, Run, parse_recipe

SIDE = 64
GALLERY_SHARE = 0.7
"""Whole pictures in the gallery's own pose, half of them mirrored."""
JITTER, WHOLE_JITTER = 0.05, 0.03
"""Noise on the latents that the decoder learns from: those that it is asked for are never exact."""
N_FOLD = 256
"""Pictures over which the latents are brought to mean 0 and spread 1."""


def random_picture(
    rng: np.random.Generator, renders: Mapping[str, Image.Image], names: list[str], size: int
) -> Image.Image:
    """One training picture: a render in a random pose, or now and then a checkerboard."""
    if rng.random() < 0.04:
        side = ("left", "right", "full")[rng.integers(3)]
        picture = pictures.checkerboard(size, side, n_cells=8, swap=bool(rng.integers(2)))
        return veiled(picture, float(rng.choice([0.0, 0.0, rng.random()])))
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
    return veiled(picture, float(rng.random())) if rng.random() < 0.12 else picture


def to_tensor(batch: list[pictures.Uint8]) -> torch.Tensor:
    """(n, 3, height, width) float32 in [-1, 1] from uint8 pictures."""
    stacked = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float()
    return (stacked / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


def random_crops(
    rng: np.random.Generator,
    renders: Mapping[str, Image.Image],
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


def whole_pictures(
    rng: np.random.Generator, renders: Mapping[str, Image.Image], names: list[str], n: int
) -> torch.Tensor:
    """A batch of whole pictures: most in the gallery's own pose, or its mirror image."""
    made: list[pictures.Uint8] = []
    for _ in range(n):
        if rng.random() < GALLERY_SHARE:
            pose = pictures.Pose(mirror=bool(rng.integers(2)))
            render = renders[names[rng.integers(len(names))]]
            picture = pictures.compose(render, pose, pictures.flat_background(128))
        else:
            picture = random_picture(rng, renders, names, 128)
        made.append(pictures.to_array(picture))
    return to_tensor(made)


def canonical(renders: Mapping[str, Image.Image], names: list[str]) -> torch.Tensor:
    """Renders in the gallery's own pose and background."""
    background = pictures.flat_background(128)
    return to_tensor(
        [
            pictures.to_array(pictures.compose(renders[n], pictures.Pose(), background))
            for n in names
        ]
    )


def held_out_pictures(renders: Mapping[str, Image.Image], names: list[str]) -> torch.Tensor:
    """Up to 200 of the pictures kept apart."""
    return canonical(renders, names[:: max(1, len(names) // 200)][:200])


class AutoencoderTask(DrawnTask):
    """Crops of posed renders, or whole pictures, reconstructed."""

    def __init__(
        self,
        vae: AutoencoderDC,
        renders: Mapping[str, Image.Image],
        recipe: Recipe,
        *,
        texture: float,
        whole: bool,
    ) -> None:
        module = Reconstruction(vae, texture=texture, decibels=whole)
        super().__init__(module, recipe, weight_decay=1e-4, betas=(0.9, 0.98))
        self._renders = renders
        self._names = pictures.split(list(renders))[0]
        self._whole = whole

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Crops, and the noise on their latents."""
        del training
        rng = np.random.default_rng(draws.generator.initial_seed())
        n = len(indices)
        if self._whole:
            crops = whole_pictures(rng, self._renders, self._names, n)
            return {"crops": crops, "noise": WHOLE_JITTER * draws.randn(16, 16, 16)}
        crops = random_crops(rng, self._renders, self._names, n_crops=n, size=SIDE)
        return {"crops": crops, "noise": JITTER * draws.randn(16, SIDE // 8, SIDE // 8)}


def main() -> None:
    """Train; log the loss, and the PSNR of pictures kept apart at every saved state."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True, help="fluent-emoji-3d npm tarball")
    parser.add_argument("--init", type=Path, help="folder of an autoencoder to go on from")
    parser.add_argument("--part", choices=("all", "decoder"), default="all")
    parser.add_argument("--fold", action="store_true", help="bring latents to mean 0, spread 1")
    parser.add_argument("--whole", action="store_true", help="whole pictures, judged in decibels")
    parser.add_argument("--texture", type=float, default=0.0, help="weight of the fine amplitudes")
    recipe, options = parse_recipe(parser, steps=2500, batch=16, lr=2e-3, seed=1)
    torch.manual_seed(recipe.seed)
    renders = pictures.read_renders(options.renders)
    train, held_out = pictures.split(list(renders))
    vae = new_autoencoder()
    if options.init is not None:
        vae = AutoencoderDC.from_pretrained(options.init, local_files_only=True).float()
    if options.fold:
        rng = np.random.default_rng([recipe.seed, 1 << 20])
        vae = fold(vae, canonical(renders, [train[i] for i in rng.integers(0, len(train), N_FOLD)]))
    vae.to(memory_format=torch.channels_last)
    vae.encoder.requires_grad_(options.part == "all")
    test = held_out_pictures(renders, held_out)[::4]
    run = Run.of(recipe, options)

    def judge() -> dict[str, float]:
        values = psnr(round_trip(vae, test), test)
        values = values[torch.isfinite(values)]
        return {
            "held_out_pictures": len(values),
            "psnr_db_mean": round(float(values.mean()), 3),
            "psnr_db_p5": round(float(values.quantile(0.05)), 3),
        }

    run.train(
        AutoencoderTask(vae, renders, recipe, texture=options.texture, whole=options.whole),
        save=lambda folder: vae.save_pretrained(folder / "vae"),
        judge=judge,
    )


if __name__ == "__main__":
    main()
