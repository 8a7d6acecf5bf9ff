"""Train the upscaler on what the shipped decoder gives of renders at twice the pixels.

    python -m research.embedded.train_upscaler --renders TGZ --cache DIR --out DIR

Pairs are made once, into `--cache`: renders of training in the gallery's pose, and half as many
in others, through the shipped autoencoder with some noise on the latents, flattened as the app
does; and the same render composed at 256 px. Pictures kept apart (`renders.split`) are measured
only. The run is `models.training`'s: killed and begun again, it is the run that was not killed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.embedded.flatness import flattened
from models.embedded.generator import FILE, WEIGHTS
from models.embedded.upscaler import FACTOR, Upscaler, UpscalerConfig, bicubic
from models.training.draws import Draws, Indices
from models.training.loop import Batch
from pipeline.values import Uint8
from research.embedded import renders as pictures
from research.embedded.autoencoding import psnr, reconstruction_loss, texture_loss
from research.embedded.runs import DrawnTask, Recipe, Run, parse_recipe
from research.embedded.train_autoencoder import random_picture, to_tensor

SIDE, LARGE = 128, 128 * FACTOR
CROP = 32
"""Side of what a step sees of a small picture, pixels."""
NOISE = 0.08
"""Largest noise on the latents: those that are drawn are never exact."""
TEXTURE = 0.5
N_TEST = 50
Renders = Mapping[str, Image.Image]
Pair = tuple[Image.Image, Image.Image]


def pairs(package: Path, *, apart: bool, n_most: int) -> Iterator[Pair]:
    """Each picture at 128 and at 256 px: those to learn from, or those kept apart.

    About `n_most` renders, evenly chosen: neighbours are variants of one.
    """
    small = pictures.read_renders(package)
    large = pictures.read_renders(package, side=LARGE)
    names = pictures.split(list(small))[int(apart)]
    names = names[:: max(1, len(names) // n_most)][:n_most]
    plain = [pictures.flat_background(side) for side in (SIDE, LARGE)]
    for name in names:
        yield (
            pictures.compose(small[name], pictures.Pose(), plain[0]),
            pictures.compose(large[name], pictures.Pose(), plain[1]),
        )
    for seed in range(0 if apart else len(names) // 2):
        yield (
            random_picture(np.random.default_rng([7, seed]), small, names, SIDE),
            random_picture(np.random.default_rng([7, seed]), large, names, LARGE),
        )


@torch.inference_mode()
def through(vae: AutoencoderDC, shown: list[Uint8], *, noise: Tensor) -> Uint8:
    """Pictures as the app would draw them, (n, 128, 128, 3); `noise` is as large as the latents."""
    latents = vae.encoder(to_tensor(shown))
    made = vae.decoder(latents + noise).clamp(-1, 1)
    levels = ((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return np.stack([flattened(each) for each in levels])


def make_cache(package: Path, folder: Path, *, n_pictures: int, say: Callable[[str], None]) -> None:
    """Write `train.npz` and `test.npz`: `small` and `large`, uint8 (n, side, side, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderDC.from_pretrained(WEIGHTS / "vae", local_files_only=True).float().eval()
    for name in ("test", "train"):
        rng = torch.Generator().manual_seed(3)
        small, large = [], []
        apart = name == "test"
        shown = pairs(package, apart=apart, n_most=N_TEST if apart else n_pictures)
        for count, (low, high) in enumerate(shown):
            amount = NOISE * torch.rand(1, generator=rng)
            noise = amount * torch.randn(1, 16, SIDE // 8, SIDE // 8, generator=rng)
            small.append(through(vae, [pictures.to_array(low)], noise=noise)[0])
            large.append(pictures.to_array(high))
            if count % 200 == 0:
                say(f"{name}: {count}")
        np.savez(folder / f"{name}.part.npz", small=np.stack(small), large=np.stack(large))
        (folder / f"{name}.part.npz").replace(folder / f"{name}.npz")


class Enlarging(nn.Module):
    """The upscaler with its losses."""

    def __init__(self, upscaler: Upscaler) -> None:
        super().__init__()
        self.upscaler = upscaler

    def forward(self, small: Tensor, large: Tensor) -> dict[str, Tensor]:
        """Losses of crops in [-1, 1], (n, 3, side, side) and twice as large."""
        small = small.contiguous(memory_format=torch.channels_last)
        made = self.upscaler(small).float()
        losses = {"reconstruction": reconstruction_loss(made, large)}
        losses["texture"] = texture_loss(made, large)
        losses["loss"] = losses["reconstruction"] + TEXTURE * losses["texture"]
        return losses


class UpscalerTask(DrawnTask):
    """Crops of pairs, mirrored and turned by chance."""

    def __init__(self, upscaler: Upscaler, recipe: Recipe, small: Uint8, large: Uint8) -> None:
        super().__init__(Enlarging(upscaler), recipe, weight_decay=1e-5, betas=(0.9, 0.99))
        self._small, self._large = small, large

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Crops that are not of the background alone, both sizes."""
        del training
        rng = np.random.default_rng(draws.generator.initial_seed())
        low: list[Uint8] = []
        high: list[Uint8] = []
        while len(low) < len(indices):
            row = rng.integers(len(self._small))
            y, x = rng.integers(0, SIDE - CROP + 1, 2)
            cut = self._small[row, y : y + CROP, x : x + CROP]
            if cut.std() < 3 and rng.random() < 0.9:
                continue
            wide = slice(FACTOR * y, FACTOR * (y + CROP)), slice(FACTOR * x, FACTOR * (x + CROP))
            turn, mirror = int(rng.integers(4)), bool(rng.integers(2))
            for made, part in ((low, cut), (high, self._large[row][wide])):
                turned = np.rot90(part, turn)
                made.append(np.ascontiguousarray(turned[:, ::-1] if mirror else turned))
        return {"small": to_tensor(low), "large": to_tensor(high)}


@torch.no_grad()
def compare(upscaler: Upscaler, small: Uint8, large: Uint8) -> dict[str, float]:
    """Mean dB of the upscaler and of bicubic over whole pictures."""
    wanted = to_tensor(list(large))
    found: dict[str, Callable[[Tensor], Tensor]] = {"upscaler": upscaler, "bicubic": bicubic}
    return {
        f"{name}_db": round(
            float(
                psnr(
                    torch.cat([make(to_tensor([each])).clamp(-1, 1) for each in small]), wanted
                ).mean()
            ),
            3,
        )
        for name, make in found.items()
    }


def main() -> None:
    """Train; log the loss, and dB against bicubic's of pictures kept apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True, help="fluent-emoji-3d npm tarball")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the pairs")
    parser.add_argument("--pictures", type=int, default=1000, help="renders to learn from")
    parser.add_argument("--init", type=Path, help="folder of an upscaler to go on from")
    recipe, options = parse_recipe(parser, steps=3000, batch=16, lr=1e-3, seed=2)
    torch.manual_seed(recipe.seed)
    if not (options.cache / "train.npz").is_file():
        make_cache(
            options.renders,
            options.cache,
            n_pictures=options.pictures,
            say=lambda text: print(text, flush=True),
        )
    train, test = (dict(np.load(options.cache / f"{name}.npz")) for name in ("train", "test"))
    upscaler = Upscaler(UpscalerConfig())
    for parameter in upscaler.conv_out.parameters():
        nn.init.zeros_(parameter)  # it begins as bicubic
    upscaler.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.init is not None:
        upscaler.load_state_dict({k: v.float() for k, v in load_file(options.init / FILE).items()})

    def save(folder: Path) -> None:
        made = folder / "upscaler"
        made.mkdir(exist_ok=True)
        state = {k: v.half().contiguous() for k, v in upscaler.state_dict().items()}
        save_file(state, made / FILE)
        (made / "config.json").write_text(json.dumps(upscaler.settings()) + "\n", encoding="utf-8")

    Run.of(recipe, options).train(
        UpscalerTask(upscaler, recipe, train["small"], train["large"]),
        save=save,
        judge=lambda: compare(upscaler, test["small"], test["large"]),
    )


if __name__ == "__main__":
    main()
