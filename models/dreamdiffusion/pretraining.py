"""Stage A: temporal masked signal modelling on any EEG.

Owns the task that the training loop runs and the folder it leaves (an encoder that stage B and
`phosphene import` share). Knows nothing of file formats or of generation.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from configs.guard import read_text
from configs.published import MaskedAutoencoderConfig, MaskedTrainingConfig
from models.checkpoints import CheckpointError, load_checkpoint, save_tensors
from models.dreamdiffusion.recordings import RecordingFolder
from models.masked_autoencoder import MaskedAutoencoder, SignalEncoder, import_encoder
from models.masked_autoencoder.schedule import learning_rate, make_optimizer
from models.training.loop import Batch, Indices, LoopConfig
from models.weights import write_hashes

VAL_PART = 20
"""About one window in this many validates."""


class _Losses(nn.Module):
    def __init__(self, autoencoder: MaskedAutoencoder, mask_ratio: float) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.mask_ratio = mask_ratio

    def forward(self, signal: Tensor, mask_noise: Tensor) -> dict[str, Tensor]:
        return {"loss": self.autoencoder(signal, mask_noise, mask_ratio=self.mask_ratio).loss}


class MaskedModelling:
    """The `Task` of stage A."""

    def __init__(
        self,
        recordings: RecordingFolder,
        *,
        model: MaskedAutoencoderConfig,
        training: MaskedTrainingConfig,
        seed: int = 0,
    ) -> None:
        self.autoencoder = MaskedAutoencoder(model)
        self.autoencoder.initialise(torch.Generator().manual_seed(seed))
        self.module: nn.Module = _Losses(self.autoencoder, training.mask_ratio)
        self._train, self._held = recordings.split(VAL_PART)
        self._training = training
        self.n_train, self.n_val = len(self._train), len(self._held)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW in two groups, by decay."""
        return make_optimizer(self.module, self._training)

    def learning_rate(self, progress: float) -> float:
        """Warm-up, then half a cosine."""
        return learning_rate(progress, self._training)

    def batch(self, indices: Indices, generator: torch.Generator, *, training: bool) -> Batch:
        """Signals and the noise of their masks."""
        signal = (self._train if training else self._held).batch(indices, generator)
        n_tokens = self.autoencoder.config.n_tokens
        noise = torch.rand(len(indices), n_tokens, generator=generator)
        return {"signal": signal, "mask_noise": noise}


def loop_config(training: MaskedTrainingConfig, *, seed: int) -> LoopConfig:
    """Settings of the loop for stage A."""
    return LoopConfig(
        passes=training.passes,
        batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_grad_norm=training.max_grad_norm,
        ema_decay=training.ema_decay,
        seed=seed,
    )


def save_autoencoder(model: MaskedAutoencoder, folder: Path) -> None:
    """Write `model.safetensors` (published names), `config.json` and their hashes."""
    save_tensors(folder / "model.safetensors", model.state_dict())
    config = {"schema": 1, "model": model.config.model_dump()}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_hashes(folder)


def load_trained_encoder(folder: Path) -> SignalEncoder:
    """Load the encoder of a stage A folder.

    Raises
    ------
    CheckpointError
        No such folder, or not of stage A.
    """
    try:
        table = json.loads(read_text(folder / "config.json"))
        config = MaskedAutoencoderConfig.model_validate(table["model"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{folder} holds no trained encoder ({error}), expected config.json and "
            "model.safetensors: make it with `phosphene train dreamdiffusion a`."
        ) from None
    return import_encoder(load_checkpoint(folder / "model.safetensors"), num_heads=config.num_heads)
