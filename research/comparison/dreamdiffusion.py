"""DreamDiffusion on the virtual pool: masked modelling, then its alignment head.

Owns the reduced sizes and the second task. Stage A is the system's own. Of stage B only the half
that reads EEG is trained (encoder and head against the picture's embedding, by the published
alignment loss); the other half fits a Stable Diffusion that is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from configs.published import ConditionConfig, MaskedAutoencoderConfig, MaskedTrainingConfig
from models.dreamdiffusion.items import SCALE
from models.dreamdiffusion.live import signal_of
from models.dreamdiffusion.recordings import RecordingFolder
from models.latent_diffusion.conditioning import ConditionStage, TokenHead, alignment_loss
from models.masked_autoencoder import import_encoder
from models.masked_autoencoder.training import MaskedModelling, fresh_autoencoder, loop_config
from models.training import LoopConfig, make_engine, train
from models.training.draws import Draws, Indices
from models.training.loop import Batch
from pipeline.values import Epoch, Float64
from research.comparison.pool import (
    BOARD,
    SIGNAL_TIMES,
    SIGNAL_TMAX,
    SIGNAL_TMIN,
    PoolEpochs,
    signal_input,
)
from research.embedded.encoder_batches import MONTAGES

N_CHANNELS = len(MONTAGES[BOARD][0])
SIZES = MaskedAutoencoderConfig(
    n_channels=N_CHANNELS,
    n_times=SIGNAL_TIMES,
    patch_size=4,
    embed_dim=96,
    depth=3,
    num_heads=4,
    decoder_embed_dim=48,
    decoder_depth=1,
    decoder_num_heads=4,
)
"""Published: 128 channels, 512 samples, patch 4, width 1024, 24 blocks, 16 heads."""
CONDITION = ConditionConfig(context_tokens=8, context_dim=64, time_embed_dim=64, image_embed_dim=64)
PREPROCESSING: dict[str, Any] = {
    "ch_names": list(MONTAGES[BOARD][0]),
    "tmin": SIGNAL_TMIN,
    "tmax": SIGNAL_TMAX,
}
Note = Callable[[str], None]


class _Losses(nn.Module):
    def __init__(self, stage: ConditionStage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, signal: Tensor, image_embeds: Tensor) -> dict[str, Tensor]:
        return {"loss": alignment_loss(vectors_of(self.stage, signal), image_embeds)}


def vectors_of(stage: ConditionStage, signal: Tensor) -> Tensor:
    """What the alignment head reads in signals: (n, image_embed_dim)."""
    head = cast("TokenHead", stage.mapping)
    return torch.as_tensor(head(stage.mae(signal)))


class Alignment:
    """The `Task` of the second stage."""

    n_val = 0

    def __init__(self, stage: ConditionStage, pool: PoolEpochs, *, lr: float, passes: int) -> None:
        self.module: nn.Module = _Losses(stage)
        # The mappers lead to the U-Net: nothing here trains them.
        stage.channel_mapper.requires_grad_(False)
        stage.dim_mapper.requires_grad_(False)
        stage.mae.get_parameter("pos_embed").requires_grad_(False)
        self._signal = torch.from_numpy(signal_input(pool.channels))
        self._targets = torch.from_numpy(pool.embeddings[pool.image_ids])
        self._lr, self._passes = lr, passes
        self.n_train = len(self._signal)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with the published decay."""
        trained = [p for p in self.module.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, lr=self._lr, weight_decay=0.01)

    def learning_rate(self, progress: float) -> float:
        """Half a cosine (published: constant, over 300 passes)."""
        return self._lr * 0.5 * (1 + float(np.cos(np.pi * progress / self._passes)))

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Signals and the embeddings of what was shown."""
        del draws, training
        return {"signal": self._signal[indices], "image_embeds": self._targets[indices]}


def train_dreamdiffusion(
    pool: PoolEpochs, out: Path, *, passes_a: int, passes_b: int, seed: int, note: Note
) -> ConditionStage:
    """Train both stages, or pick up where a killed run stopped."""
    engine = make_engine(device="cpu")
    settings = MaskedTrainingConfig(
        passes=passes_a, warmup_passes=max(0.5, 0.08 * passes_a), batch_size=256, lr=1e-3
    )
    recordings = RecordingFolder(
        [SCALE * signal for signal in signal_input(pool.channels)],
        n_channels=N_CHANNELS,
        n_times=SIGNAL_TIMES,
    )
    autoencoder = fresh_autoencoder(SIZES, seed=seed)
    first = MaskedModelling(recordings, autoencoder=autoencoder, training=settings)
    config = loop_config(settings, seed=seed)
    found = train(
        first, config, engine=engine, out=out / "a", save_every=300, on_step=said(note, "stage A")
    )
    note(f"stage A: {found}")
    torch.manual_seed(seed)
    stage = ConditionStage(
        import_encoder(first.autoencoder.state_dict(), num_heads=SIZES.num_heads),
        n_tokens=SIZES.n_tokens,
        embed_dim=SIZES.embed_dim,
        config=CONDITION,
    )
    second = Alignment(stage, pool, lr=1e-3, passes=passes_b)
    loop = LoopConfig(passes=passes_b, batch_size=256, seed=seed)
    found = train(
        second, loop, engine=engine, out=out / "b", save_every=300, on_step=said(note, "stage B")
    )
    note(f"stage B: {found}")
    return stage.eval()


def said(note: Note, name: str, every: int = 50) -> Callable[[Any], None]:
    """Tell of the mean loss now and then."""
    losses: list[float] = []

    def on_step(progress: Any) -> None:
        losses.append(progress.losses["loss"])
        if progress.step % every == 0:
            mean = float(np.mean(losses[-every:]))
            note(f"{name} {progress.step}/{progress.n_steps}: loss {mean:.4f}")

    return on_step


@torch.inference_mode()
def encode(stage: ConditionStage, epochs: Sequence[Epoch]) -> Float64:
    """Vectors (n, 64) of cut epochs, through the live path's own preparation."""
    shape = (N_CHANNELS, SIGNAL_TIMES)
    signals = [signal_of(epoch, preprocessing=PREPROCESSING, shape=shape) for epoch in epochs]
    vectors = vectors_of(stage, torch.from_numpy(np.stack(signals)))
    return vectors.numpy().astype(np.float64)
