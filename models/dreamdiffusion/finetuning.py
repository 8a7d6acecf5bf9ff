"""Stage B: EEG conditions Stable Diffusion; CLIP keeps the EEG's vector near the picture's.

Owns the task that the training loop runs: pictures, CLIP targets, the crop, the draws of noise
and time. Knows nothing of files' formats or of how the model was loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from configs.published import DiffusionTrainingConfig
from models.dreamdiffusion.errors import DatasetError
from models.dreamdiffusion.imagenet40 import Trial, item_of
from models.latent_diffusion.model import LatentDiffusion
from models.masked_autoencoder import SignalEncoder
from models.training.loop import Batch, Indices, LoopConfig

CROP = 0.2
"""Part of the side that a random crop takes off."""
CROP_CHANCE = 0.5


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


class Pictures:
    """The pictures of the trials: `<folder>/<synset>/<name>.JPEG`, read when they are needed."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._paths = {name: folder / name.split("_")[0] / f"{name}.JPEG" for name in set(names)}
        absent = [path for path in sorted(self._paths.values()) if not path.is_file()]
        if absent:
            # The published code trained on random noise here, and said nothing.
            raise DatasetError(
                f"{absent[0]} is missing ({len(absent)} of {len(self._paths)} pictures are): get "
                f"them from ImageNet into {folder}/<synset>/."
            )

    def open(self, name: str) -> Image.Image:
        """Picture of a name, RGB."""
        with Image.open(self._paths[name]) as picture:
            return picture.convert("RGB")

    @property
    def names(self) -> list[str]:
        """Every picture once, sorted."""
        return sorted(self._paths)


def image_tensor(picture: Image.Image, side: int) -> Tensor:
    """Picture as (3, side, side) in -1..1, its aspect ignored as published."""
    pixels = np.asarray(picture, dtype=np.float32) / 127.5 - 1.0
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return functional.interpolate(batch, size=(side, side), mode="bilinear", antialias=True)[0]


def crop(image: Tensor, generator: torch.Generator) -> Tensor:
    """With probability 0.5, a random square of 80 % of the side, resized back."""
    side = image.shape[-1]
    cut = side - int(CROP * side)
    chance = float(torch.rand((), generator=generator))
    top, left = torch.randint(0, side - cut + 1, (2,), generator=generator).tolist()
    if chance >= CROP_CHANCE:
        return image
    part = image[None, :, top : top + cut, left : left + cut]
    return functional.interpolate(part, size=(side, side), mode="bilinear", antialias=True)[0]


@torch.no_grad()
def clip_targets(pictures: Pictures, folder: Path) -> dict[str, Tensor]:
    """CLIP image embeddings (image_embed_dim,) of every picture, from a local Hugging Face folder.

    Frozen and made once: the published code thawed parts of CLIP by accident, and its target
    drifted.

    Raises
    ------
    DatasetError
        No CLIP in the folder, or transformers is not installed.
    """
    try:
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
    except ImportError:
        raise DatasetError("CLIP needs transformers: pip install 'phosphene[published]'.") from None
    try:
        tower = CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True).eval()
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        raise DatasetError(
            f"{folder} holds no CLIP vision model, expected Hugging Face's folder of "
            "openai/clip-vit-large-patch14: download it there and name it with `clip`."
        ) from None
    targets: dict[str, Tensor] = {}
    for name in pictures.names:
        given: Any = processor(images=pictures.open(name), return_tensors="pt")
        targets[name] = tower(**given).image_embeds[0].float()
    return targets


class Finetuning:
    """The `Task` of stage B."""

    def __init__(
        self,
        model: LatentDiffusion,
        *,
        train_trials: Sequence[Trial],
        val_trials: Sequence[Trial],
        pictures: Pictures,
        targets: dict[str, Tensor] | None,
        training: DiffusionTrainingConfig,
        side: int,
    ) -> None:
        self.model = model
        self.trained_names = model.select_trained()
        self.module: nn.Module = _Losses(model, training.alignment_weight)
        self.n_train, self.n_val = len(train_trials), len(val_trials)
        self._trials = {True: train_trials, False: val_trials}
        self._pictures = pictures
        self._targets = targets
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

    def batch(self, indices: Indices, generator: torch.Generator, *, training: bool) -> Batch:
        """Signals, pictures, targets and every draw of a batch."""
        trials = [self._trials[training][int(index)] for index in indices]
        n_times = cast("SignalEncoder", self.model.condition_stage.mae).config.n_times
        images = [image_tensor(self._pictures.open(t.image), self._side) for t in trials]
        if training:
            images = [crop(image, generator) for image in images]
        batch = {
            "signal": torch.from_numpy(np.stack([item_of(t, n_times=n_times) for t in trials])),
            "image": torch.stack(images),
            **self._draws(len(trials), generator, training=training),
        }
        if self._targets is not None:
            batch["image_embeds"] = torch.stack([self._targets[t.image] for t in trials])
        return batch

    def _draws(self, n: int, generator: torch.Generator, *, training: bool) -> dict[str, Tensor]:
        config = self.model.vae.config
        side = self._side // 2 ** (len(config.block_out_channels) - 1)
        shape = (n, config.latent_channels, side, side)
        dropped = torch.rand(n, generator=generator) < self._training.condition_dropout
        steps = self.model.scheduler.config.num_train_timesteps
        return {
            "posterior_noise": torch.randn(shape, generator=generator),
            "noise": torch.randn(shape, generator=generator),
            "timesteps": torch.randint(0, steps, (n,), generator=generator),
            "kept": ~dropped if training else torch.ones(n, dtype=torch.bool),
        }


def loop_config(training: DiffusionTrainingConfig, *, seed: int) -> LoopConfig:
    """Settings of the loop for stage B."""
    return LoopConfig(
        passes=training.passes,
        batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_grad_norm=training.max_grad_norm,
        ema_decay=training.ema_decay,
        seed=seed,
    )
