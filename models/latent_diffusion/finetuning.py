"""Fine-tuning of conditioned latent diffusion: the task that the training loop runs.

Owns pictures as tensors, the crop, and the draws of noise and time. Knows nothing of files' formats
or of how the model was loaded: a system gives examples.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from configs.published import DiffusionTrainingConfig
from models.latent_diffusion.model import LatentDiffusion
from models.training.draws import Draws, Indices
from models.training.loop import Batch, LoopConfig
from pipeline.values import Float32

CROP = 0.2
"""Part of the side that a random crop takes off."""
CROP_CHANCE = 0.5


class Examples(Protocol):
    """What is trained on: pairs of a brain signal and the picture that was seen, by index."""

    def __len__(self) -> int: ...

    def signal(self, index: int) -> Float32:
        """Signal (n_channels, n_times) that the encoder reads."""
        ...

    def picture(self, index: int) -> Image.Image:
        """Picture, RGB."""
        ...

    def target(self, index: int) -> Tensor | None:
        """CLIP image embedding (image_embed_dim,); None: no alignment."""
        ...


class _Losses(nn.Module):
    def __init__(self, model: LatentDiffusion, alignment_weight: float) -> None:
        super().__init__()
        self.model = model
        self.alignment_weight = alignment_weight

    def forward(
        self,
        *,
        signal: Tensor,
        image: Tensor,
        posterior_noise: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        kept: Tensor,
        image_embeds: Tensor | None = None,
    ) -> dict[str, Tensor]:
        losses = self.model.losses(
            latents=self.model.encode_image(image, posterior_noise),
            signal=signal,
            timesteps=timesteps,
            noise=noise,
            image_embeds=image_embeds,
            alignment_weight=self.alignment_weight,
            kept=kept,
        )
        return {"loss": losses.total, "noise": losses.noise, "alignment": losses.alignment}


def image_tensor(picture: Image.Image, side: int) -> Tensor:
    """Picture as (3, side, side) in -1..1, its aspect ignored as published."""
    pixels = np.asarray(picture, dtype=np.float32) / 127.5 - 1.0
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return functional.interpolate(batch, size=(side, side), mode="bilinear", antialias=True)[0]


def draw_crop(side: int, generator: torch.Generator) -> tuple[int, int] | None:
    """Draw, with probability 0.5, the top and left of a crop; None: no crop."""
    chance = float(torch.rand((), generator=generator))
    top, left = torch.randint(0, int(CROP * side) + 1, (2,), generator=generator).tolist()
    return (top, left) if chance < CROP_CHANCE else None


def crop(image: Tensor, place: tuple[int, int] | None) -> Tensor:
    """Cut a square of 80 % of the side at a place, if any, and resize it back."""
    if place is None:
        return image
    side = image.shape[-1]
    cut, (top, left) = side - int(CROP * side), place
    part = image[None, :, top : top + cut, left : left + cut]
    return functional.interpolate(part, size=(side, side), mode="bilinear", antialias=True)[0]


class Finetuning:
    """The `Task` of conditioned latent diffusion."""

    def __init__(
        self,
        model: LatentDiffusion,
        *,
        train: Examples,
        val: Examples,
        training: DiffusionTrainingConfig,
        side: int,
    ) -> None:
        self.model = model
        self.trained_names = model.select_trained()
        self.module: nn.Module = _Losses(model, training.alignment_weight)
        self.n_train, self.n_val = len(train), len(val)
        self._examples = {True: train, False: val}
        self._training = training
        self._side = side

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW over the trained parameters, each once."""
        trained = [p for p in self.module.parameters() if p.requires_grad]
        settings = self._training
        return torch.optim.AdamW(
            trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )

    def learning_rate(self, progress: float) -> float:
        """Constant."""
        del progress
        return self._training.lr

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Signals, pictures, targets and every draw of a batch."""
        given, at = self._examples[training], [int(index) for index in indices]
        images = [image_tensor(given.picture(i), self._side) for i in at]
        if training:
            places = draws.each(lambda _, generator: draw_crop(self._side, generator))
            images = [crop(image, place) for image, place in zip(images, places, strict=True)]
        batch = {
            "signal": torch.from_numpy(np.stack([given.signal(i) for i in at])),
            "image": torch.stack(images),
            **self._noise(draws, training=training),
        }
        targets = [target for i in at if (target := given.target(i)) is not None]
        return batch | {"image_embeds": torch.stack(targets)} if targets else batch

    def _noise(self, draws: Draws, *, training: bool) -> dict[str, Tensor]:
        shape = self.model.latent_shape((self._side, self._side))
        dropped = draws.rand() < self._training.condition_dropout
        return {
            "posterior_noise": draws.randn(*shape),
            "noise": draws.randn(*shape),
            "timesteps": draws.randint(self.model.scheduler.config.num_train_timesteps),
            "kept": ~dropped if training else torch.ones_like(dropped),
        }


def loop_config(training: DiffusionTrainingConfig, *, seed: int) -> LoopConfig:
    """Settings of the loop."""
    return LoopConfig(
        passes=training.passes,
        batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_grad_norm=training.max_grad_norm,
        ema_decay=training.ema_decay,
        seed=seed,
    )
