"""What is trained in both phases, as tasks of `models.training`.

Owns the wiring of losses to data and every draw. Knows nothing of loops or files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from configs.published import (
    ContrastConfig,
    CrossTuningConfig,
    MaskedTrainingConfig,
)
from models.contrast_attend_diffuse.contrast import DoubleContrast
from models.contrast_attend_diffuse.cross_modal import FmriBranch, ImageBranch, pixel_correlation
from models.latent_diffusion.finetuning import image_tensor
from models.masked_autoencoder import MaskedAutoencoder
from models.masked_autoencoder.schedule import learning_rate, make_optimizer
from models.masked_autoencoder.training import VAL_PART
from models.mind_vis.data import PairedRows, VoxelSignals
from models.training.draws import Draws, Indices
from models.training.loop import Batch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class _ContrastLosses(nn.Module):
    def __init__(self, network: DoubleContrast, mask_ratio: float) -> None:
        super().__init__()
        self.network = network
        self.mask_ratio = mask_ratio

    def forward(self, signal: Tensor, noise_a: Tensor, noise_b: Tensor) -> dict[str, Tensor]:
        made = self.network.losses(signal, noise_a, noise_b, mask_ratio=self.mask_ratio)
        return {
            "loss": made.total,
            "reconstruction": made.reconstruction,
            "contrast": made.contrast,
        }


class _Scheduled:
    """AdamW in two groups by decay, warm-up and half a cosine: of both phases."""

    module: nn.Module
    _training: MaskedTrainingConfig

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW in two groups, by decay."""
        return make_optimizer(self.module, self._training)

    def learning_rate(self, progress: float) -> float:
        """Warm-up, then half a cosine."""
        return learning_rate(progress, self._training)


class Phase1(_Scheduled):
    """The `Task` of phase 1; `autoencoder` is trained in place."""

    def __init__(
        self,
        signals: VoxelSignals,
        *,
        autoencoder: MaskedAutoencoder,
        contrast: ContrastConfig,
        training: MaskedTrainingConfig,
    ) -> None:
        self.module = _ContrastLosses(DoubleContrast(autoencoder, contrast), training.mask_ratio)
        self._training = training
        self._n_tokens = autoencoder.config.n_tokens
        self._train, self._held = signals.split(VAL_PART)
        self.n_train, self.n_val = len(self._train), len(self._held)

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Signals and the noise of both masks."""
        signal = (self._train if training else self._held).batch(indices, draws)
        return {"signal": signal} | {
            name: draws.rand(self._n_tokens) for name in ("noise_a", "noise_b")
        }


class _CrossLosses(nn.Module):
    def __init__(
        self,
        fmri: FmriBranch,
        image: ImageBranch,
        *,
        cross: CrossTuningConfig,
        mask_ratio: float,
    ) -> None:
        super().__init__()
        self.fmri, self.image = fmri, image
        self.cross, self.mask_ratio = cross, mask_ratio

    def forward(
        self,
        *,
        signal: Tensor,
        pixels: Tensor,
        fmri_noise: Tensor,
        image_noise: Tensor,
        fmri_order: Tensor,
        image_order: Tensor,
    ) -> dict[str, Tensor]:
        settings = self.cross
        # Each branch attends to the other's tokens with nothing hidden, and without cross layers.
        seen, _, _ = self.image.encode(pixels, image_order, mask_ratio=0.0, support=None)
        measured = self.fmri.encode(signal, fmri_order, mask_ratio=0.0, support=None).tokens
        fmri = self.fmri(signal, fmri_noise, mask_ratio=self.mask_ratio, support=seen)
        image = self.image(
            pixels, image_noise, mask_ratio=settings.image_mask_ratio, support=measured
        )
        loss = settings.fmri_weight * fmri.loss + settings.image_weight * image.loss
        target = self.image.mae.patchify(pixels)
        return {
            "loss": loss,
            "fmri": fmri.loss,
            "image": image.loss,
            "correlation": pixel_correlation(image.prediction, target).mean(),
        }


class Phase2(_Scheduled):
    """The `Task` of phase 2: both branches on one person's responses and what was seen.

    Trained are the fMRI autoencoder, the image decoder, and what is new in either branch; ViT-MAE's
    encoder stays as it was.
    """

    def __init__(
        self,
        fmri: FmriBranch,
        image: ImageBranch,
        *,
        train: PairedRows,
        val: PairedRows,
        cross: CrossTuningConfig,
        training: MaskedTrainingConfig,
    ) -> None:
        image.mae.vit.requires_grad_(False)
        image.norm.requires_grad_(False)
        self.module = _CrossLosses(fmri, image, cross=cross, mask_ratio=training.mask_ratio)
        self._fmri, self._image = fmri, image
        self._training = training
        self._examples = {True: train, False: val}
        self.n_train, self.n_val = len(train), len(val)

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Signals, pictures, and the noise of every mask."""
        given, at = self._examples[training], [int(index) for index in indices]
        sizes: Any = self._image.mae.config
        n_tokens, n_patches = (
            self._fmri.autoencoder.config.n_tokens,
            (sizes.image_size // sizes.patch_size) ** 2,
        )
        noise = {
            name: draws.rand(n)
            for name, n in (
                ("fmri_noise", n_tokens),
                ("image_noise", n_patches),
                ("fmri_order", n_tokens),
                ("image_order", n_patches),
            )
        }
        pictures = torch.stack([image_tensor(given.picture(i), sizes.image_size) for i in at])
        mean, std = (torch.tensor(each)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
        return noise | {
            "signal": torch.from_numpy(np.stack([given.signal(i) for i in at])),
            "pixels": ((pictures + 1) / 2 - mean) / std,
        }
