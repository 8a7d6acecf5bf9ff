"""What is trained: backbone, projector and prior together; and the low-level pipeline.

Owns the wiring of objectives to data: a task makes batches, its module turns one into losses.
Every draw is in the batch, dropout's seed among them, so that a resumed run repeats the
uninterrupted one. Knows nothing of loops, devices or checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from configs.mindeye import LowLevelTrainingConfig, MindEyeTrainingConfig
from models.mindeye import losses
from models.mindeye.augmentation import augmented, coloured, draw_changes, draw_four
from models.mindeye.backbone import Backbone
from models.mindeye.low_level import LowLevelNetwork
from models.mindeye.nsd import Shards, mean_voxels
from models.mindeye.prior import TokenPrior
from models.mindeye.prior_diffusion import prior_loss
from models.mindeye.reconstruction import SCALING_FACTOR
from models.mindeye.repetitions import chosen
from models.mindeye.schedule import OneCycle, make_optimizer
from models.mindeye.targets import ClipTokens, clip_normalised
from models.training.draws import Draws, Indices
from models.training.together import gathered, own


def pixels_of(picture: Image.Image) -> Tensor:
    """Picture as (3, height, width) float32 in 0..1."""
    pixels = np.asarray(picture, dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


class HighLevelLosses(nn.Module):
    """Backbone and prior with their two objectives; the CLIP tower is frozen.

    Parameters
    ----------
    backbone : Backbone
    prior : TokenPrior or None
        None trains the contrast alone.
    clip : ClipTokens
    config : MindEyeTrainingConfig
    """

    def __init__(
        self,
        backbone: Backbone,
        prior: TokenPrior | None,
        clip: ClipTokens,
        config: MindEyeTrainingConfig,
    ) -> None:
        super().__init__()
        self.backbone, self.prior = backbone, prior
        self.clip = clip
        self._config = config

    def train(self, mode: bool = True) -> HighLevelLosses:
        """Set the mode of what is trained; the tower never leaves evaluation."""
        super().train(mode)
        self.clip.eval()
        return self

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """CLIP tokens (n, n_tokens, width), or the image vector as the only one."""
        if self.backbone.config.n_tokens == 1:
            return self.clip.vectors(images)[:, None].float()
        tokens: Tensor = self.clip(images)
        return tokens.float()

    def forward(
        self,
        *,
        voxels: Tensor,
        images: Tensor,
        temperature: Tensor,
        share: Tensor,
        partner: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        keeps_brain: Tensor,
        keeps_image: Tensor,
        seed: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of a batch; a `temperature` () of 0 says BiMixCo.

        `share` and `partner` are of what all processes have in common of a step.
        """
        target = self.targets(images)
        everyones = gathered(target)
        soft = float(temperature)
        mix = losses.Mix(share, partner)
        if self.training:
            torch.manual_seed(int(seed))
        made = self.backbone(voxels if soft else own(mix(gathered(voxels))))
        predicted = gathered(functional.normalize(made.projected.float().flatten(1), dim=-1))
        unit = functional.normalize(everyones.flatten(1), dim=-1)
        if soft:
            contrast = losses.soft_clip(predicted, unit, soft)
        else:
            contrast = losses.mixco(predicted, unit, losses.TEMPERATURE, mix=mix)
        if self.prior is None:
            return {"loss": contrast, "contrast": contrast}
        is_mixed = not soft and self._config.mix_targets
        error, _ = prior_loss(
            self.prior,
            brain=made.tokens,
            target=own(mix(everyones)) if is_mixed else target,
            noise=noise,
            timesteps=timesteps,
            keeps_brain=keeps_brain,
            keeps_image=keeps_image,
        )
        loss = contrast + self._config.prior_weight * error
        return {"loss": loss, "contrast": contrast, "prior": error}


class _OneCycleTask:
    """What both stages share: the schedule, the optimiser, the data."""

    def __init__(
        self,
        train: Shards,
        val: Shards | None,
        config: MindEyeTrainingConfig | LowLevelTrainingConfig,
    ) -> None:
        self._train, self._val = train, val
        self.n_train, self.n_val = len(train), 0 if val is None else len(val)
        self.batch_size = min(config.batch_size, self.n_train)
        self._cycle = OneCycle(config.lr, config.passes, math.ceil(self.n_train / self.batch_size))
        self._decay = config.weight_decay
        self._progress = 0.0

    def count_steps(self, steps_per_pass: int) -> None:
        """Take the unit of the schedule: its peak is at the end of a step."""
        self._cycle = replace(self._cycle, steps_per_pass=steps_per_pass)

    def begin_step(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Turn the first moment against the rate, and remember how far the training is."""
        self._progress = progress
        beta1 = self._cycle.beta1(self._step(progress))
        for group in optimizer.param_groups:
            group["betas"] = (beta1, group["betas"][1])

    def learning_rate(self, progress: float) -> float:
        """One cycle."""
        return self._cycle.rate(self._step(progress))

    def _step(self, progress: float) -> int:
        return round(progress * self._cycle.steps_per_pass)

    def _of(self, *, training: bool) -> Shards:
        return self._train if training or self._val is None else self._val


class HighLevelTask(_OneCycleTask):
    """Training of backbone, projector and prior; a `models.training.Task`."""

    def __init__(
        self,
        module: HighLevelLosses,
        train: Shards,
        val: Shards | None,
        config: MindEyeTrainingConfig,
    ) -> None:
        super().__init__(train, val, config)
        self.module = module
        self._config = config

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW over what is trained."""
        return make_optimizer(self.module, lr=self._cycle.lr, weight_decay=self._decay)

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> dict[str, Tensor]:
        """Draw a batch: one repetition for all in training, their mean in validation."""
        shards = self._of(training=training)
        temperature = self._temperature(training=training)
        if training:
            draw = draws.one_randint(2**31)
            scans = [shards.voxels(i) for i in indices]
            voxels = np.stack([each[draw % len(each)] for each in scans])
        else:
            voxels = mean_voxels(shards, indices.tolist())
        mix = draws.for_step(losses.draw_mix)
        return {
            "voxels": torch.from_numpy(voxels),
            "images": self._images(shards, indices, draws, training=training),
            "temperature": torch.tensor(temperature),
            "share": mix.share,
            "partner": mix.partner,
            **self._noise(draws, training=training),
            "seed": draws.seed(),
        }

    def _temperature(self, *, training: bool) -> float:
        config = self._config
        n_mixed = int(config.mixup_fraction * config.passes)
        at = int(self._progress)
        if training and at < n_mixed:
            return 0.0
        n = config.passes - n_mixed
        return losses.soft_temperature(min(max(at - n_mixed, 0), n - 1), n) if n > 0 else 0.0

    def _images(self, shards: Shards, indices: Indices, draws: Draws, *, training: bool) -> Tensor:
        pictures = [shards.picture(i) for i in indices]
        if training and self._config.augment:
            changes = draws.each(lambda _, generator: draw_changes(generator))
            pictures = [augmented(*each) for each in zip(pictures, changes, strict=True)]
        side = min(min(each.size) for each in pictures)
        square = (side, side)
        return torch.stack(
            [pixels_of(p if p.size == square else p.resize(square)) for p in pictures]
        )

    def _noise(self, draws: Draws, *, training: bool) -> dict[str, Tensor]:
        sizes, prior = self.module.backbone.config, self.module.prior
        dropout = self._config.condition_dropout if training else 0.0
        return {
            "keeps_brain": draws.rand() >= dropout,
            "keeps_image": draws.rand() >= dropout,
            "noise": draws.randn(sizes.n_tokens, sizes.width),
            "timesteps": draws.randint(1 if prior is None else prior.config.n_steps),
        }


class LowLevelLosses(nn.Module):
    """The low-level network, the frozen autoencoder and, if any, the frozen image network.

    Parameters
    ----------
    network : LowLevelNetwork
    vae : AutoencoderKL
        Whose latents are predicted.
    maps : Module or None
        Gives maps (n, channels, side, side) of pictures of 512 pixels (`pixel_values`); None
        leaves the contrast out.
    config : LowLevelTrainingConfig
    """

    def __init__(
        self, network: LowLevelNetwork, vae: Any, maps: Any, config: LowLevelTrainingConfig
    ) -> None:
        super().__init__()
        self.network = network
        self.vae = vae.eval().requires_grad_(False)
        self.maps = None if maps is None else maps.eval().requires_grad_(False)
        self._config = config

    def train(self, mode: bool = True) -> LowLevelLosses:
        """Set the mode of what is trained; frozen parts never leave evaluation."""
        super().train(mode)
        for part in (self.vae, self.maps):
            if part is not None:
                part.eval()
        return self

    @property
    def side(self) -> int:
        """Of the pictures whose latents are predicted, pixels."""
        depth = len(self.vae.config.block_out_channels) - 1
        return int(4 * self.network.config.side * 2**depth)

    def forward(
        self, *, voxels: Tensor, images: Tensor, views: Tensor, seed: Tensor
    ) -> dict[str, Tensor]:
        """Losses of a batch; `images` (n, 3, side, side) in 0..1, `views` the same coloured."""
        with torch.no_grad():
            latents = self.vae.encode(2 * images - 1).latent_dist.mode() * SCALING_FACTOR
        if self.training:
            torch.manual_seed(int(seed))
        made = self.network(voxels)
        error = functional.l1_loss(made.latents, latents) / SCALING_FACTOR
        if self.maps is None:
            return {"loss": error, "latents": error}
        rows = functional.normalize(made.maps.float().flatten(0, 1), dim=-1)
        contrast = losses.soft_contrast(
            gathered(rows),
            gathered(self._rows(self.maps, images)),
            gathered(self._rows(self.maps, views)),
            losses.MAP_TEMPERATURE,
        )
        loss = error + self._config.contrast_weight * contrast
        return {"loss": loss, "latents": error, "contrast": contrast}

    @torch.no_grad()
    def _rows(self, network: Any, images: Tensor) -> Tensor:
        maps: Tensor = network(pixel_values=clip_normalised(images)).last_hidden_state
        side = self.network.config.side
        if maps.shape[-1] != side:
            maps = functional.interpolate(maps, (side, side), mode="bilinear")
        return functional.normalize(maps.flatten(2).transpose(1, 2).flatten(0, 1), dim=-1)


class LowLevelTask(_OneCycleTask):
    """Training of the low-level pipeline; a `models.training.Task`."""

    def __init__(
        self,
        module: LowLevelLosses,
        train: Shards,
        val: Shards | None,
        config: LowLevelTrainingConfig,
    ) -> None:
        super().__init__(train, val, config)
        self.module = module

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW over what is trained."""
        return make_optimizer(self.module, lr=self._cycle.lr, weight_decay=self._decay)

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> dict[str, Tensor]:
        """Draw a batch."""
        shards = self._of(training=training)
        if training:
            voxels = self._chosen(shards, indices, draws)
        else:
            voxels = torch.from_numpy(mean_voxels(shards, indices.tolist()))
        side = self.module.side
        pictures = [shards.picture(i).resize((side, side)) for i in indices]
        colours = draws.each(lambda _, generator: draw_four(generator))
        views = [coloured(*each) for each in zip(pictures, colours, strict=True)]
        return {
            "voxels": voxels,
            "images": torch.stack([pixels_of(each) for each in pictures]),
            "views": torch.stack([pixels_of(each) for each in views]),
            "seed": draws.seed(),
        }

    def _chosen(self, shards: Shards, indices: Indices, draws: Draws) -> Tensor:
        scans = torch.from_numpy(np.stack([shards.voxels(i) for i in indices]))
        n_repetitions = scans.shape[1]
        return chosen(
            scans,
            chance=float(draws.one_rand()),
            weights=draws.rand(n_repetitions),
            pick=draws.randint(n_repetitions),
        )
