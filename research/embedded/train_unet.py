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
import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection, PixArtAlphaTextProjection
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from pipeline.gallery import load_gallery
from research.embedded.latents import BLIND, CLEAR, FOG_LEVELS, SCALING

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
PEAK_LR = 1.5e-3
PRIOR = {"in_features": 64, "hidden_size": 1024, "out_features": 16 * 16 * 16}
PROJECTION = {"image_embed_dim": 64, "cross_attention_dim": 128, "num_image_text_embeds": 4}


class Pool:
    """Cached latents, and batches of (condition, noise, latent) drawn from them."""

    def __init__(self, path: Path, *, extras: float = 0.08) -> None:
        self._share = extras
        with safe_open(path, "pt") as file:
            self.n_gallery = int(file.metadata()["n_gallery"])
            self.latents = file.get_tensor("latents").float() * SCALING
            self.numbers = file.get_tensor("numbers")
            self.conditions = file.get_tensor("conditions")
            owners, levels = file.get_tensor("owners"), file.get_tensor("levels")
        self._rows: dict[tuple[int, int], Tensor] = {}
        for level in range(len(FOG_LEVELS)):
            here = (levels == level).nonzero()[:, 0]
            for owner in owners[here].unique().tolist():
                self._rows[owner, level] = here[owners[here] == owner]
        self._outside = sorted({owner for owner, _ in self._rows if owner >= self.n_gallery})
        gallery = load_gallery()
        groups: dict[tuple[str, str], list[int]] = {}
        for row, each in enumerate(gallery.stimuli):
            groups.setdefault((each.category, each.kind), []).append(row)
        self._groups = [torch.tensor(rows) for rows in groups.values() if len(rows) > 2]

    def batch(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Conditions (size, 64), noise and latents (size, 16, 16, 16)."""
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
        return (
            torch.stack(conditions) + jitter * strength,
            couple(noise, numbers),
            self.latents[picked],
        )

    def _one(self, kind: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        free = float(torch.randn((), generator=generator))
        if kind < self._share:
            return (*self._extra(generator), free)
        if kind < self._share + 0.05:
            return self._pair(free, generator)
        if kind < self._share + 0.10:
            return (*self._crowd(generator), free)
        owner = int(torch.randint(self.n_gallery, (), generator=generator))
        length = float(torch.rand((), generator=generator))
        # Most conditions are clear; the rest cover every length evenly.
        length = 0.85 + 0.3 * length if kind < 0.78 else length
        return self.conditions[owner] * length, self._pick(owner, length, generator), free

    def _extra(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        owner = self._outside[int(torch.randint(len(self._outside), (), generator=generator))]
        return self.conditions[owner], self._pick(owner, 1.0, generator)

    def _pair(self, free: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        """Between two stimuli: which one is drawn is decided by the fifth number of the noise."""
        first, second = torch.randint(self.n_gallery, (2,), generator=generator).sort()[0].tolist()
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
        rows = self._rows[owner, level if owner < self.n_gallery else 0]
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


def save(out: Path, vae: AutoencoderDC, modules: dict[str, Any]) -> None:
    """Write the modules as fp16 safetensors in diffusers' layout."""
    copy.deepcopy(vae).half().save_pretrained(out / "vae")
    copy.deepcopy(modules["unet"]).half().save_pretrained(out / "unet")
    save_projection(out / "projection", copy.deepcopy(modules["projection"]).half())


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


@torch.no_grad()
def _follow(averages: Any, values: Any, count: Any) -> None:
    """Exponential moving average; shorter memory at first, so that the start is forgotten."""
    decay = min(0.998, (1 + float(count)) / (10 + float(count)))
    torch._foreach_lerp_(averages, values, 1 - decay)


class Run:
    """A training run that can stop and go on: networks, their averages, optimizer, clock."""

    def __init__(self, out: Path, prior: Path, seed: int) -> None:
        torch.manual_seed(seed)
        self.out = out
        self.prior_folder = prior
        self.prior: Any = PixArtAlphaTextProjection(**PRIOR)
        self.prior.load_state_dict(load_file(prior / "diffusion_pytorch_model.safetensors"))
        self.prior.float().requires_grad_(False)
        unet = UNet2DConditionModel(**UNET).to(memory_format=torch.channels_last)
        # No correction at first: training starts from the prior's picture and can only gain.
        torch.nn.init.zeros_(unet.conv_out.weight)
        torch.nn.init.zeros_(unet.conv_out.bias)
        self.modules: Any = torch.nn.ModuleDict(
            {"unet": unet, "projection": ImageProjection(**PROJECTION)}
        )
        self.average: Any = torch.optim.swa_utils.AveragedModel(self.modules, multi_avg_fn=_follow)
        self.optimizer = torch.optim.AdamW(
            self.modules.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=1e-3
        )
        self.step, self.spent = 0, 0.0
        if (out / "state.pt").exists():
            state = torch.load(out / "state.pt", weights_only=True)
            self.modules.load_state_dict(state["modules"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.spent = state["step"], state["spent"]
        self.started = time.monotonic() - self.spent

    @property
    def minutes(self) -> float:
        """Minutes of training so far, over all sittings."""
        return (time.monotonic() - self.started) / 60

    def advance(self, batch: tuple[Tensor, Tensor, Tensor], sigma: Tensor, lr: float) -> float:
        """One optimizer step; returns the loss."""
        conditions, noise, clean = batch
        wide = sigma[:, None, None, None]
        noisy = ((1 - wide) * clean + wide * noise).contiguous(memory_format=torch.channels_last)
        self.optimizer.param_groups[0]["lr"] = lr
        guess = self.prior(conditions).view_as(clean)
        with torch.autocast("cpu", torch.bfloat16):
            tokens = self.modules["projection"](conditions)
            made = self.modules["unet"](
                torch.cat([noisy, guess], 1),
                1000 * sigma,
                encoder_hidden_states=tokens,
                class_labels=conditions,
            ).sample
        loss = (guess + made.float() - clean).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.modules)
        self.step += 1
        return float(loss.item())

    def keep(self, vae: AutoencoderDC) -> None:
        """Write the state to resume from, and the averaged weights as they would ship."""
        state = {
            "modules": self.modules.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent": time.monotonic() - self.started,
        }
        torch.save(state, self.out / "state.tmp")
        (self.out / "state.tmp").replace(self.out / "state.pt")
        save(self.out / "weights", vae, dict(self.average.module.items()))
        shutil.copytree(self.prior_folder, self.out / "weights" / "prior", dirs_exist_ok=True)


def main() -> None:
    """Train until the steps or the minutes are used up, whichever comes first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--minutes", type=float, default=math.inf, help="anneal to end by then")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pool = Pool(options.latents)
    vae = AutoencoderDC.from_pretrained(options.vae, local_files_only=True)
    vae.register_to_config(scaling_factor=SCALING)
    run = Run(options.out, options.prior, options.seed)
    log = (options.out / "log.jsonl").open("a")
    losses: list[float] = []
    saved = run.minutes
    while (progress := max(run.step / options.steps, run.minutes / options.minutes)) < 1.0:
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + run.step)
        batch = pool.batch(generator, options.batch)
        sigma = torch.rand(options.batch, generator=generator)
        sigma = torch.where(torch.rand(options.batch, generator=generator) < 0.4, 1.0, sigma)
        lr = PEAK_LR * min(1.0, (run.step + 1) / 200) * (0.01 + 0.99 * (1 - progress))
        losses.append(run.advance(batch, sigma, lr))
        if run.step % 100 == 0:
            line = {
                "step": run.step, "minutes": round(run.minutes, 2),
                "loss": round(sum(losses) / len(losses), 5), "lr": round(lr, 6),
            }  # fmt: skip
            print(json.dumps(line), file=log, flush=True)
            losses = []
        if run.minutes - saved > 3:
            run.keep(vae)
            saved = run.minutes
    run.keep(vae)


if __name__ == "__main__":
    main()
