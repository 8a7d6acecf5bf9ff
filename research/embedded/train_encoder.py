"""Trains the EEG encoder on the virtual pool: `python -m research.embedded.train_encoder`.

Owns the recipe, in three stages: a closed form for each expert's straight path, masked-signal
pretraining of the trunk, alignment with the gallery (contrastive and regression loss together).
Seeds are fixed; a checkpoint is written every few minutes and picked up again.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from models.embedded.encoder_network import (
    TEMPERATURE,
    UNMEASURED,
    EncoderNetwork,
    NetworkConfig,
    montage_place,
)
from models.embedded.time_warps import WARPS, log_prior, window_matrix
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Float64
from research.embedded.encoder_batches import (
    EXPERT_MONTAGES,
    POOL_SUBJECTS,
    Batch,
    BatchMaker,
    held_out_concepts,
)
from research.embedded.encoder_pool import EpochPool
from research.embedded.moments import Mean, Moments

BATCH = 256
MASK_PART = 0.4
MASK_SAMPLES = 14
EMA = 0.998
REGRESSION_WEIGHT = 1.0
UPRIGHT_SHARE = 0.85
NOISE_SHRINKAGE = 1e-3
"""Part of the evidence's noise covariance that is white."""


def log(message: str) -> None:
    """Print a line with the time, at once."""
    print(f"{datetime.datetime.now().astimezone():%H:%M:%S} {message}", flush=True)


def tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Give `x`, `conditions`, `targets` as tensors."""
    return (
        torch.from_numpy(batch.x),
        torch.from_numpy(batch.conditions),
        torch.from_numpy(batch.targets),
    )


@torch.no_grad()
def place_gallery(network: EncoderNetwork, gallery: Gallery) -> None:
    """Tell the network the known pictures, and how often which kind is shown.

    The memory holds every picture that can be shown, those that training leaves out included:
    they are told apart by their embeddings alone. The centre is what is expected beforehand.
    """
    upright = torch.tensor([s.kind == "upright" for s in gallery.stimuli])
    network.memory.copy_(torch.from_numpy(gallery.embeddings.copy()))
    share = torch.where(
        upright, UPRIGHT_SHARE / upright.sum(), (1 - UPRIGHT_SHARE) / (~upright).sum().clamp(min=1)
    )
    network.log_prior.copy_(share.log())
    network.centre.copy_(share @ network.memory)
    network.radius.copy_((network.memory[upright] - network.centre).norm(dim=1).mean())


@torch.no_grad()
def solve_straight(
    network: EncoderNetwork,
    maker: BatchMaker,
    *,
    n_epochs: int,
    seed: int,
    shrinkage: float = 2e-5,
    temperature: float = TEMPERATURE,
) -> None:
    """Set each expert's straight path in closed form on its own kind of montage.

    Training knows each epoch's timing: the discriminant of pictures is fitted to windows that
    follow it, that of timings to those against windows at a timing of `WARPS` drawn at random.

    The discriminant's own scale is that of log probabilities; times `temperature` it gives a norm
    of about 0.5 for 32 channels, less for montages that see less.
    """
    each = min(512, n_epochs)
    for expert, kind in enumerate(EXPERT_MONTAGES):
        rng = np.random.default_rng([seed, 1, expert])
        moments, astray = Moments(), Mean()
        homes = []
        for _ in range(max(1, n_epochs // each)):
            batch = maker.draw(rng, each, kind=kind)
            coverage = torch.from_numpy(batch.conditions[:, : network.config.n_virtual])
            homes.append(montage_place(coverage).mean(dim=0))
            keep = batch.snr > 0.3
            x, targets = (torch.from_numpy(each[keep]) for each in (batch.x, batch.targets))
            features = timed_features(x, batch.scale[keep], batch.shift[keep])
            moments.add(features, targets - network.centre)
            scale, shift = np.array(WARPS)[rng.integers(len(WARPS), size=len(x))].T
            astray.add(timed_features(x, scale, shift))
        solution = temperature * moments.discriminant(shrinkage).float()
        network.straight[expert] = solution[:-1]
        network.straight_bias[expert] = solution[-1]
        network.timing[expert] = moments.against(astray.value, shrinkage).float()
        network.homes[expert] = torch.stack(homes).mean(dim=0)
        norm = (features @ solution[:-1] + solution[-1]).norm(dim=1).mean()
        log(f"closed form for {kind}: mean norm {float(norm):.3f}")
    network.log_sharpness.fill_(np.log(0.7))
    network.log_warp_prior.copy_(torch.from_numpy(log_prior(*np.array(WARPS).T)))


@torch.no_grad()
def measure_noise(network: EncoderNetwork, maker: BatchMaker, *, n_epochs: int, seed: int) -> None:
    """Learn what evidence is like without information, and how strange the pool's epochs get.

    A limit is what all but one in a hundred epochs of the expert's own kind of montage stay
    below.
    """
    was_training = network.training
    network.eval()
    network.strange_from.fill_(UNMEASURED)
    each = min(512, n_epochs)
    n_batches = max(1, n_epochs // each)
    limits = []
    for expert, kind in enumerate(EXPERT_MONTAGES):
        rng = np.random.default_rng([seed, 3, expert])
        silent = [
            network.evidence(*tensors(maker.draw(rng, each, kind=kind, strength=0.0))[:2])
            for _ in range(n_batches)
        ]
        noise = torch.cat(silent).double()
        covariance = torch.cov(noise.T)
        covariance += NOISE_SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance))
        network.noise_mean[expert] = noise.mean(dim=0).float()
        network.noise_root[expert] = torch.linalg.cholesky(covariance).float()
    for expert, kind in enumerate(EXPERT_MONTAGES):
        rng = np.random.default_rng([seed, 4, expert])
        strange = []
        for _ in range(n_batches):
            x, conditions, _ = tensors(maker.draw(rng, each, kind=kind))
            evidence = network.evidence(x, conditions)
            strange.append(network.strangeness(evidence, network.mixture(conditions)))
        limits.append(float(torch.cat(strange).quantile(0.99)))
    network.strange_from.copy_(torch.tensor(limits))
    log("strange from " + ", ".join(f"{limit:.1f}" for limit in limits))
    network.train(was_training)


def timed_features(x: Tensor, scale: Float64, shift: Float64) -> Tensor:
    """Windowed means of each epoch at a timing of its own: (n, n_straight)."""
    windows = torch.from_numpy(window_matrix(scale, shift).astype(np.float32))
    return torch.bmm(x, windows).flatten(1)


def masked_loss(network: EncoderNetwork, batch: Batch, generator: torch.Generator) -> Tensor:
    """Hide spans of time on all electrodes, or whole electrodes, and rebuild what was hidden."""
    x, conditions, _ = tensors(batch)
    n, n_virtual, n_times = x.shape
    n_spans = n_times // MASK_SAMPLES
    spans = torch.rand(n, 1, n_spans, generator=generator) < MASK_PART
    hidden = spans.repeat_interleave(MASK_SAMPLES, dim=2)
    hidden = functional.pad(hidden, (0, n_times - hidden.shape[2]))
    lost = torch.rand(n, n_virtual, 1, generator=generator) < MASK_PART / 2
    mask = (hidden | lost).float()
    rebuilt = network.reconstruct(x * (1 - mask), conditions)
    return ((rebuilt - x).square() * mask).sum() / mask.sum()


def alignment_loss(
    network: EncoderNetwork, batch: Batch, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    """Contrastive loss of the evidence against known pictures, regression of the embedding."""
    x, conditions, targets = tensors(batch)
    evidence = network.evidence(x, conditions)
    regression = (network.recall(evidence) - targets).square().sum(dim=1).mean()
    rows = torch.from_numpy(batch.rows)
    place = torch.full((len(network.memory),), -1)
    place[candidates] = torch.arange(len(candidates))
    named = (rows >= 0) & (place[rows.clamp(min=0)] >= 0)
    sharp = torch.exp(-network.log_temperature)
    logits = evidence[named] @ network.memory[candidates].T * sharp
    contrastive = functional.cross_entropy(logits, place[rows[named]])
    made = rows < 0  # made-up embeddings are told apart among themselves
    between = evidence[made] @ targets[made].T * sharp
    contrastive = contrastive + 0.3 * functional.cross_entropy(
        between, torch.arange(int(made.sum()))
    )
    return contrastive + REGRESSION_WEIGHT * regression, contrastive.detach()


class Trainer:
    """State of a run: network, its running average, optimiser, step, generators."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.args = args
        self.gallery = load_gallery()
        log("making the noise banks")
        self.maker = BatchMaker(EpochPool(seed=args.seed, seconds=args.bank_seconds), self.gallery)
        self.network = EncoderNetwork(NetworkConfig(n_memory=len(self.gallery)))
        place_gallery(self.network, self.gallery)
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.step = 0
        self.folder = Path(args.out)
        self.folder.mkdir(parents=True, exist_ok=True)
        # The closed form's weights are small numbers: a step of Adam's usual size would wipe them.
        straight = [self.network.straight, self.network.straight_bias, self.network.timing]
        fixed = {id(p) for p in [*straight, self.network.log_temperature]}
        others = [p for p in self.network.parameters() if id(p) not in fixed]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": others, "lr": args.lr, "weight_decay": 0.02},
                {"params": straight, "lr": args.lr * 0.02, "weight_decay": 0.0},
                {"params": [self.network.log_temperature], "lr": args.lr, "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        )
        self._rates = [group["lr"] for group in self.optimiser.param_groups]

    @property
    def checkpoint(self) -> Path:
        """File of the checkpoint."""
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint and the running average, each by rename."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)
        self.export(self.folder / "weights")

    def resume(self) -> bool:
        """Pick up the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])
        log(f"resumed at step {self.step}")
        return True

    def export(self, folder: Path) -> None:
        """Write the averaged weights (float16) and their description."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            k: v.to(torch.float16).contiguous()
            for k, v in self.average.items()
            if not k.startswith("rebuild")
        }
        path = folder / "model.safetensors"
        path.write_bytes(save(weights))
        (folder / "config.json").write_text(json.dumps(self.description(path), indent=2) + "\n")

    def description(self, path: Path) -> dict[str, Any]:
        """Describe the weights: sizes, pool, seeds, when and where."""
        return {
            "schema": 2,
            "name": "embedded",
            "network": dataclasses.asdict(self.network.config),
            "temperature": self.args.rank_temperature,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "gallery_sha256": self.gallery.sha256,
            "training": {
                "step": self.step,
                "batch": BATCH,
                "seed": self.args.seed,
                "pool_subjects": POOL_SUBJECTS,
                "held_out_concepts": list(held_out_concepts(self.gallery)),
                "finished": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
                "machine": f"{platform.machine()}, {torch.get_num_threads()} CPU thread(s)",
                "torch": torch.__version__,
            },
        }

    def _set_rate(self, total: int) -> None:
        warm = min(1.0, (self.step + 1) / 100)
        left = max(0.0, 1 - self.step / total)
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * warm * max(0.02, min(1.0, 1.6 * left))

    def _update(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        keep = min(EMA, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def steps(self, until: int) -> Iterator[np.random.Generator]:
        """Count steps up to `until`, each with a generator of its own (so a resume repeats)."""
        total = self.args.pretrain_steps + self.args.steps
        last = time.monotonic()
        while self.step < until:
            self._set_rate(total)
            yield np.random.default_rng([self.args.seed, 2, self.step])
            self.step += 1
            if self.step % self.args.save_every == 0:
                self.save()
                pace = (time.monotonic() - last) / self.args.save_every
                log(f"step {self.step}: saved, {pace:.2f} s a step")
                last = time.monotonic()

    def pretrain(self) -> None:
        """Stage 2: masked-signal pretraining of the trunk."""
        mean = 0.0
        for rng in self.steps(self.args.pretrain_steps):
            generator = torch.Generator().manual_seed(self.step)
            loss = masked_loss(self.network, self.maker.draw(rng, BATCH), generator)
            self._update(loss)
            mean += float(loss.detach())
            if (self.step + 1) % 50 == 0:
                log(f"pretrain {self.step + 1}: masked error {mean / 50:.3f} of variance about 1")
                mean = 0.0

    def measure_noise(self) -> None:
        """Stage 4: what evidence is like without information, of the averaged weights."""
        averaged = EncoderNetwork(self.network.config)
        averaged.load_state_dict(self.average)
        measure_noise(averaged, self.maker, n_epochs=self.args.noise_epochs, seed=self.args.seed)
        self.average = averaged.state_dict()

    def align(self) -> None:
        """Stage 3: contrastive and regression alignment."""
        everything = torch.from_numpy(self.maker.train_rows)
        upright = torch.from_numpy(self.maker.upright_rows)
        sums = np.zeros(2)
        for rng in self.steps(self.args.pretrain_steps + self.args.steps):
            candidates = upright if rng.random() < 0.75 else everything
            batch = self.maker.draw(rng, BATCH)
            loss, contrastive = alignment_loss(self.network, batch, candidates)
            self._update(loss)
            sums += float(loss.detach()), float(contrastive)
            if (self.step + 1) % 50 == 0:
                total, part = sums / 50
                temperature = float(self.network.log_temperature.detach().exp())
                log(
                    f"align {self.step + 1}: {total:.4f} contrastive {part:.4f} T {temperature:.3f}"
                )
                sums[:] = 0


def parser() -> argparse.ArgumentParser:
    """Options of the script."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", default="out/encoder", help="folder of checkpoint and weights")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--ridge-epochs", type=int, default=98304)
    options.add_argument("--noise-epochs", type=int, default=8192)
    options.add_argument("--pretrain-steps", type=int, default=150)
    options.add_argument("--steps", type=int, default=2400)
    options.add_argument("--lr", type=float, default=4e-4)
    options.add_argument("--save-every", type=int, default=100)
    options.add_argument("--bank-seconds", type=float, default=240.0, help="noise a bank, s")
    options.add_argument(
        "--rank-temperature", type=float, default=0.06, help="for Gallery.rank, from evaluation"
    )
    options.add_argument("--threads", type=int, default=1)
    return options


def main(argv: list[str] | None = None) -> int:
    """Train, or go on training."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    trainer = Trainer(args)
    if not trainer.resume():
        solve_straight(
            trainer.network,
            trainer.maker,
            n_epochs=args.ridge_epochs,
            seed=args.seed,
        )
        trainer.average = {k: v.clone() for k, v in trainer.network.state_dict().items()}
        trainer.save()
    trainer.pretrain()
    trainer.align()
    trainer.measure_noise()
    trainer.save()
    log("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
