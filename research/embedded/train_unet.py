"""Train the conditional UNet (diffusers' `UNet2DConditionModel`) as a rectified flow.

    python -m research.embedded.train_unet --latents FILE --vae DIR --out DIR

One convention throughout, that of diffusers' `FlowMatchEulerDiscreteScheduler`: at noise level
sigma the sample is x = (1 - sigma) x0 + sigma noise, the flow's velocity is v = noise - x0, and the
network is told the time 1000 sigma. What the network itself gives is the correction that leads from
the prior's guess (`train_prior.py`, concatenated to the sample) to x0; the velocity follows as
v = (x - x0) / sigma. So no capacity goes into copying noise, and the untrained network already
draws the prior's picture. Two of five samples are drawn at sigma = 1, where a one-step picture is
decided. Two ways of conditioning: `ImageProjection` makes cross-attention tokens of the embedding,
and the embedding itself joins the time embedding (`class_labels`). See `latents.py` for fog and for
the coupling of pose and noise.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection, PixArtAlphaTextProjection
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from models.embedded.fog import BLIND, CLEAR
from models.embedded.generator import FILE
from models.training.draws import Draws, Indices
from models.training.loop import Batch
from pipeline.gallery import load_gallery
from research.embedded.latents import FOG_LEVELS, SCALING
from research.embedded.runs import DrawnTask, Recipe, Run, parse_recipe

UNET = {
    "sample_size": 16,
    "in_channels": 32,
    "out_channels": 16,
    "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "block_out_channels": (48, 64, 128),
    "layers_per_block": 1,
    "cross_attention_dim": 128,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
    "class_embed_type": "simple_projection",
    "projection_class_embeddings_input_dim": 64,
    "resnet_time_scale_shift": "scale_shift",
}
WEIGHTS_BETWEEN = (0.5, 4.0)
"""Weights of pictures in the loss: the mean contrast over the picture's own, within these."""
PRIOR = {"in_features": 64, "hidden_size": 2048, "out_features": 16 * 16 * 16}
PROJECTION = {"image_embed_dim": 64, "cross_attention_dim": 128, "num_image_text_embeds": 4}


class Pool:
    """Cached latents, and batches of (condition, noise, latent) drawn from them."""

    def __init__(self, path: Path, *, extras: float = 0.08) -> None:
        with safe_open(path, "pt") as file:
            self.n_gallery = int(file.metadata()["n_gallery"])
            self.latents = file.get_tensor("latents").float() * SCALING
            self.numbers = file.get_tensor("numbers")
            self.conditions = file.get_tensor("conditions")
            owners, levels = file.get_tensor("owners"), file.get_tensor("levels")
        clear = levels == 0
        # A faint picture's error is small, so an even loss would leave it to the last.
        contrast = self.latents[clear].var((2, 3)).mean(1)
        wanted = (contrast.mean() / contrast).clamp(*WEIGHTS_BETWEEN)
        by_owner = torch.ones(int(owners.max()) + 1)
        by_owner[owners[clear]] = wanted
        self.weights = by_owner[owners]
        self.rows: dict[tuple[int, int], Tensor] = {}
        for level in range(len(FOG_LEVELS)):
            here = (levels == level).nonzero()[:, 0]
            for owner in owners[here].unique().tolist():
                self.rows[owner, level] = here[owners[here] == owner]
        self._inside = sorted({owner for owner, _ in self.rows if owner < self.n_gallery})
        self._outside = sorted({owner for owner, _ in self.rows if owner >= self.n_gallery})
        self._share = extras if self._outside else 0.0
        gallery = load_gallery()
        groups: dict[tuple[str, str], list[int]] = {}
        for row, each in enumerate(gallery.stimuli):
            if (row, 0) in self.rows:
                groups.setdefault((each.category, each.kind), []).append(row)
        self._groups = [torch.tensor(rows) for rows in groups.values() if len(rows) > 2]
        self._groups = self._groups or [torch.tensor(self._inside)]

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Conditions (size, 64), noise and clean latents (size, 16, 16, 16), weights (size,)."""
        kinds = torch.rand(size, generator=generator).tolist()
        conditions, rows, fifth = [], [], []
        for kind in kinds:
            condition, row, number = self._one(kind, generator)
            conditions.append(condition)
            rows.append(row)
            fifth.append(number)
        picked = torch.stack(rows)
        noise = torch.randn(size, *self.latents.shape[1:], generator=generator)
        numbers = torch.cat([self.numbers[picked], torch.tensor(fifth)[:, None]], dim=1)
        jitter = torch.randn(size, 64, generator=generator) * (0.25 / 8)
        strength = torch.rand(size, 1, generator=generator)
        return {
            "conditions": torch.stack(conditions) + jitter * strength,
            "noise": couple(noise, numbers),
            "clean": self.latents[picked],
            "weights": self.weights[picked],
        }

    def _one(self, kind: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        free = float(torch.randn((), generator=generator))
        if kind < self._share:
            return (*self._extra(generator), free)
        if kind < self._share + 0.05:
            return self._pair(free, generator)
        if kind < self._share + 0.10:
            return (*self._crowd(generator), free)
        owner = self._inside[int(torch.randint(len(self._inside), (), generator=generator))]
        length = float(torch.rand((), generator=generator))
        # Most conditions are clear; the rest cover every length evenly.
        length = 0.85 + 0.3 * length if kind < 0.78 else length
        return self.conditions[owner] * length, self._pick(owner, length, generator), free

    def _extra(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        owner = self._outside[int(torch.randint(len(self._outside), (), generator=generator))]
        return self.conditions[owner], self._pick(owner, 1.0, generator)

    def _pair(self, free: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        """Between two stimuli: which one is drawn is decided by the fifth number of the noise."""
        drawn = torch.randint(len(self._inside), (2,), generator=generator).sort()[0].tolist()
        first, second = (self._inside[each] for each in drawn)
        weight = float(torch.rand((), generator=generator))
        condition = weight * self.conditions[first] + (1 - weight) * self.conditions[second]
        share = 0.5 * (1 + torch.erf(torch.tensor(free / 2**0.5)))
        owner = first if float(share) < weight else second
        return condition, self._pick(owner, float(condition.norm()), generator), free

    def _crowd(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A belief spread over one category, and one picture drawn from that belief."""
        group = self._groups[int(torch.randint(len(self._groups), (), generator=generator))]
        weights = torch.rand(len(group), generator=generator).pow(4)
        weights /= weights.sum()
        owner = int(group[torch.multinomial(weights, 1, generator=generator)])
        condition = weights @ self.conditions[group]
        return condition, self._pick(owner, float(condition.norm()), generator)

    def _pick(self, owner: int, length: float, generator: torch.Generator) -> Tensor:
        fog = min(1.0, max(0.0, (CLEAR - length) / (CLEAR - BLIND)))
        level = min(range(len(FOG_LEVELS)), key=lambda i: abs(FOG_LEVELS[i] - fog))
        rows = self.rows[owner, level if owner < self.n_gallery else 0]
        return rows[int(torch.randint(len(rows), (), generator=generator))]


def couple(noise: Tensor, numbers: Tensor) -> Tensor:
    """Write numbers (n, k) into the means of the first k channels of noise (n, c, h, w).

    The mean of h * w standard normals times sqrt(h * w) is a standard normal: if the numbers are,
    the result is distributed exactly as the noise was.
    """
    k = numbers.shape[1]
    root = (noise.shape[2] * noise.shape[3]) ** 0.5
    shift = numbers / root - noise[:, :k].mean((2, 3))
    coupled = noise.clone()
    coupled[:, :k] += shift[..., None, None]
    return coupled


def save_projection(folder: Path, projection: ImageProjection) -> None:
    """`ImageProjection` is a plain module: write its weights and a config beside them."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.contiguous() for name, value in projection.state_dict().items()},
        folder / "diffusion_pytorch_model.safetensors",
    )
    config = {"_class_name": "ImageProjection", **PROJECTION}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


class Correction(nn.Module):
    """UNet and projection behind a frozen prior; its forward gives the loss."""

    def __init__(self, unet: UNet2DConditionModel, projection: ImageProjection, prior: Any) -> None:
        super().__init__()
        self.unet, self.projection = unet, projection
        self.prior = prior.float().requires_grad_(False)

    def forward(
        self, conditions: Tensor, noise: Tensor, clean: Tensor, weights: Tensor, sigma: Tensor
    ) -> dict[str, Tensor]:
        """Weighted squared error of the clean latents."""
        wide = sigma[:, None, None, None]
        noisy = ((1 - wide) * clean + wide * noise).contiguous(memory_format=torch.channels_last)
        guess = self.prior(conditions).view_as(clean)
        made = self.unet(
            torch.cat([noisy, guess], 1),
            1000 * sigma,
            encoder_hidden_states=self.projection(conditions),
            class_labels=conditions,
        ).sample
        errors = (guess + made.float() - clean).square().mean((1, 2, 3))
        of_guess = (guess - clean).square().mean()
        return {"loss": (errors * weights).mean(), "even": errors.mean(), "prior": of_guess}


class UNetTask(DrawnTask):
    """Noisy latents of conditions, corrected."""

    def __init__(self, module: Correction, pool: Pool, recipe: Recipe, *, at_noise: float) -> None:
        super().__init__(module, recipe, weight_decay=1e-3)
        self._pool, self._at_noise = pool, at_noise

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """A batch of the pool, each at its noise level."""
        del training
        n = len(indices)
        drawn = self._pool.batch(draws.generator, n)
        sigma = draws.rand()
        at_end = draws.rand() < self._at_noise
        return {**drawn, "sigma": torch.where(at_end, 1.0, sigma)}


def read_prior(folder: Path) -> Any:
    """The prior of a folder, as wide as it is."""
    state = load_file(folder / FILE)
    prior = PixArtAlphaTextProjection(**{**PRIOR, "hidden_size": len(state["linear_1.bias"])})
    prior.load_state_dict(state)
    return prior.float()


def networks(init: Path | None) -> tuple[UNet2DConditionModel, ImageProjection]:
    """UNet and projection: new ones, whose correction is nothing yet, or those of a folder."""
    projection = ImageProjection(**PROJECTION)
    if init is not None:
        projection.load_state_dict(load_file(init / "projection" / FILE))
        unet = UNet2DConditionModel.from_pretrained(init / "unet", local_files_only=True).float()
    else:
        unet = UNet2DConditionModel(**UNET)
        # Training starts from the prior's picture and can only gain.
        torch.nn.init.zeros_(unet.conv_out.weight)
        torch.nn.init.zeros_(unet.conv_out.bias)
    return unet.to(memory_format=torch.channels_last), projection.float()


def main() -> None:
    """Train; every saved state has the weights as they would ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="folder with unet and projection to go on from")
    parser.add_argument("--at-noise", type=float, default=0.4, help="share drawn at sigma = 1")
    recipe, options = parse_recipe(parser, steps=2400, batch=32, lr=1.5e-3, seed=5)
    torch.manual_seed(recipe.seed)
    pool = Pool(options.latents)
    vae = AutoencoderDC.from_pretrained(options.vae, local_files_only=True)
    vae.register_to_config(scaling_factor=SCALING)
    prior = read_prior(options.prior)
    unet, projection = networks(options.init)

    def save(out: Path) -> None:
        copy.deepcopy(vae).half().save_pretrained(out / "weights" / "vae")
        copy.deepcopy(unet).half().save_pretrained(out / "weights" / "unet")
        save_projection(out / "weights" / "projection", copy.deepcopy(projection).half())
        shutil.copytree(options.prior, out / "weights" / "prior", dirs_exist_ok=True)

    task = UNetTask(Correction(unet, projection, prior), pool, recipe, at_noise=options.at_noise)
    Run.of(recipe, options).train(task, save=save)


if __name__ == "__main__":
    main()
