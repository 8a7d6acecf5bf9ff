"""Masked signal modelling: the task that the training loop runs.

Owns the draws of windows and masks and the part that validates; signals come from whoever has
them. Knows nothing of file formats or of generation.
"""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor, nn

from configs.published import MaskedAutoencoderConfig, MaskedTrainingConfig
from models.masked_autoencoder.network import MaskedAutoencoder
from models.masked_autoencoder.schedule import learning_rate, make_optimizer
from models.training.draws import Draws, Indices
from models.training.loop import Batch, LoopConfig

VAL_PART = 20
"""About one signal in this many validates."""


class Signals(Protocol):
    """What is modelled: signals by index."""

    def __len__(self) -> int: ...

    def split(self, part: int) -> tuple[Self, Self]:
        """Hold about one signal in `part` out: what trains, and what validates."""
        ...

    def batch(self, indices: Indices, draws: Draws) -> Tensor:
        """Signals (n, n_channels, n_times) float32; chance comes from `draws`."""
        ...


class _Losses(nn.Module):
    def __init__(self, autoencoder: MaskedAutoencoder, mask_ratio: float) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.mask_ratio = mask_ratio

    def forward(self, signal: Tensor, mask_noise: Tensor) -> dict[str, Tensor]:
        return {"loss": self.autoencoder(signal, mask_noise, mask_ratio=self.mask_ratio).loss}


def fresh_autoencoder(model: MaskedAutoencoderConfig, *, seed: int) -> MaskedAutoencoder:
    """Build an autoencoder of the published initial weights."""
    autoencoder = MaskedAutoencoder(model)
    autoencoder.initialise(torch.Generator().manual_seed(seed))
    return autoencoder


class MaskedModelling:
    """The `Task` of masked modelling; `autoencoder` is trained in place."""

    def __init__(
        self,
        signals: Signals,
        *,
        autoencoder: MaskedAutoencoder,
        training: MaskedTrainingConfig,
    ) -> None:
        self.autoencoder = autoencoder
        self.module: nn.Module = _Losses(autoencoder, training.mask_ratio)
        self._train, self._held = signals.split(VAL_PART)
        self._training = training
        self.n_train, self.n_val = len(self._train), len(self._held)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW in two groups, by decay."""
        return make_optimizer(self.module, self._training)

    def learning_rate(self, progress: float) -> float:
        """Warm-up, then half a cosine."""
        return learning_rate(progress, self._training)

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Signals and the noise of their masks."""
        signal = (self._train if training else self._held).batch(indices, draws)
        return {"signal": signal, "mask_noise": draws.rand(self.autoencoder.config.n_tokens)}


def loop_config(training: MaskedTrainingConfig, *, seed: int) -> LoopConfig:
    """Settings of the loop."""
    return LoopConfig(
        passes=training.passes,
        batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_grad_norm=training.max_grad_norm,
        ema_decay=training.ema_decay,
        seed=seed,
    )
