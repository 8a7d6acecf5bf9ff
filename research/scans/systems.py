"""The systems of the table, each trained on one person: voxels in, vectors of the gallery out.

Owns the reduced sizes, and what stands where a part is too large to be trained here. MindEye's
backbone and objectives are its own; its targets are the gallery's vectors as two tokens, since no
CLIP is here. MinD-Vis and Contrast, Attend and Diffuse learn by masked modelling as they do; of
their second stage only the half that reads the scan is trained, through a linear layer from the
context to the vector instead of a U-Net.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from configs.mindeye import BackboneConfig, MindEyeTrainingConfig
from configs.published import (
    ConditionConfig,
    ContrastConfig,
    MaskedAutoencoderConfig,
    MaskedTrainingConfig,
)
from configs.ridge import RidgeConfig
from models.contrast_attend_diffuse.tasks import Phase1
from models.latent_diffusion.conditioning import ConditionStage, alignment_loss
from models.masked_autoencoder import MaskedAutoencoder, import_encoder
from models.masked_autoencoder.training import MaskedModelling, fresh_autoencoder, loop_config
from models.mind_vis.data import Faults, VoxelSignals, fit
from models.mindeye.backbone import Backbone
from models.mindeye.nsd import PICTURE, PICTURE_ID, VOXELS, Shards, open_split
from models.mindeye.targets import ClipTokens
from models.mindeye.training import HighLevelLosses, HighLevelTask
from models.ridge.fitting import fit_ridge
from models.training import LoopConfig, make_engine, train
from models.training.draws import Draws, Indices
from models.training.loop import Batch, Task
from pipeline.values import Float32, Float64
from research.scans.people import Person, Trials

N_TOKENS, MINDEYE_BATCH = 2, 32
"""Of MindEye's reduced targets (published: 257 tokens), and its published batch."""

SIZES = MaskedAutoencoderConfig(
    n_channels=1,
    n_times=4672,
    patch_size=64,
    embed_dim=64,
    depth=2,
    num_heads=4,
    decoder_embed_dim=32,
    decoder_depth=1,
    decoder_num_heads=4,
)
"""Of MinD-Vis and Contrast, Attend and Diffuse (published: patches of 16 voxels,
width 1024, 24 blocks, 16 heads)."""
CONDITION = ConditionConfig(context_tokens=36, context_dim=64, image_embed_dim=0)
READOUT_LR = 1e-3
BATCH = 32


@dataclass(frozen=True, slots=True)
class Passes:
    """How long each network learns, in passes over the person's trials."""

    mindeye: int = 40
    masked: int = 10
    readout: int = 20


Vectors = Float32 | Float64
Decode = Callable[[Person, Passes, Path, int], Vectors]
"""`(person, passes, folder for what is trained, seed)`: a vector (n, n_features) a test trial."""


def ridge(person: Person, _passes: Passes, _out: Path, seed: int) -> Vectors:
    """The baseline, as `phosphene train fmri-ridge fit` fits it."""
    given = person.train
    settings = RidgeConfig()
    found = fit_ridge(
        given.voxels,
        given.targets,
        given.rows,
        alphas=settings.alphas,
        n_folds=settings.n_folds,
        seed=seed,
    )
    return found.ridge.predict(person.test.voxels)


class _GivenTokens(HighLevelLosses):
    """MindEye's objectives on targets that the batch brings instead of pictures for CLIP."""

    def targets(self, images: Tensor) -> Tensor:
        """The tokens themselves."""
        return images


class _GivenTask(HighLevelTask):
    """MindEye's training with each picture's vector in its place."""

    def __init__(
        self, module: HighLevelLosses, shards: Shards, table: Tensor, config: MindEyeTrainingConfig
    ) -> None:
        super().__init__(module, shards, None, config)
        self._table = table

    def _images(self, shards: Shards, indices: Indices, draws: Draws, *, training: bool) -> Tensor:
        del draws, training
        return self._table[[shards.picture_id(int(i)) for i in indices]]


def mindeye(person: Person, passes: Passes, out: Path, seed: int) -> Vectors:
    """Backbone and projector by BiMixCo, then SoftCLIP; read from shards in NSD's layout."""
    given = person.train
    width = given.targets.shape[1] // N_TOKENS
    write_shard(out / "shards" / "train" / "train_subj01_0.tar", given)
    shards = open_split(out / "shards", "train", subject=1)
    config = MindEyeTrainingConfig(
        passes=passes.mindeye, batch_size=MINDEYE_BATCH, prior_weight=0.0, augment=False
    )
    torch.manual_seed(seed)
    backbone = Backbone(
        BackboneConfig(
            n_voxels=shards.n_voxels,
            hidden=256,
            n_blocks=2,
            n_tokens=N_TOKENS,
            width=width,
            projector=64,
        )
    )
    module = _GivenTokens(backbone, None, cast("ClipTokens", nn.Identity()), config)
    table = torch.zeros(int(given.rows.max()) + 1, N_TOKENS, width)
    table[torch.from_numpy(given.rows)] = torch.from_numpy(given.targets).view(-1, N_TOKENS, width)
    task = _GivenTask(module, shards, table, config)
    _train(task, LoopConfig(passes.mindeye, task.batch_size, seed=seed), out / "high-level")
    with torch.inference_mode():
        made = backbone.eval()(torch.from_numpy(person.test.voxels))
    return np.asarray(made.projected.flatten(1).numpy())


class _Readout(nn.Module):
    """A linear layer from the context to the gallery's space, and its loss."""

    def __init__(self, stage: ConditionStage, n_features: int) -> None:
        super().__init__()
        self.stage = stage
        self.linear = nn.Linear(CONDITION.context_tokens * CONDITION.context_dim, n_features)

    def vectors(self, signal: Tensor) -> Tensor:
        """Vectors (n, n_features) of rows (n, 1, n_voxels)."""
        context, _ = self.stage(signal)
        return torch.as_tensor(self.linear(context.flatten(1)))

    def forward(self, signal: Tensor, image_embeds: Tensor) -> dict[str, Tensor]:
        return {"loss": alignment_loss(self.vectors(signal), image_embeds)}


class _ReadoutTask:
    """The `Task` of the second stage's half."""

    n_val = 0

    def __init__(self, module: _Readout, voxels: Float64, targets: Float32, passes: int) -> None:
        self.module: nn.Module = module
        self._signal = torch.from_numpy(voxels.astype(np.float32))[:, None]
        self._targets = torch.from_numpy(targets)
        self._passes = passes
        self.n_train = len(voxels)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with the published decay."""
        trained = [p for p in self.module.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, lr=READOUT_LR, weight_decay=0.01)

    def learning_rate(self, progress: float) -> float:
        """Half a cosine."""
        return READOUT_LR * 0.5 * (1 + float(np.cos(np.pi * progress / self._passes)))

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Responses and the vectors of what was shown."""
        del draws, training
        return {"signal": self._signal[indices], "image_embeds": self._targets[indices]}


def mind_vis(person: Person, passes: Passes, out: Path, seed: int) -> Vectors:
    """Stage A1 on the person's training trials, then the context by its readout."""

    def modelling(
        signals: VoxelSignals, autoencoder: MaskedAutoencoder, training: MaskedTrainingConfig
    ) -> Task:
        return MaskedModelling(signals, autoencoder=autoencoder, training=training)

    return _masked_then_read(modelling, person, passes, out, seed)


def contrast_attend_diffuse(person: Person, passes: Passes, out: Path, seed: int) -> Vectors:
    """Phase 1 (masked modelling and both contrasts), then the context by its readout."""

    def modelling(
        signals: VoxelSignals, autoencoder: MaskedAutoencoder, training: MaskedTrainingConfig
    ) -> Task:
        return Phase1(
            signals, autoencoder=autoencoder, contrast=ContrastConfig(), training=training
        )

    return _masked_then_read(modelling, person, passes, out, seed)


def _masked_then_read(
    modelling: Callable[[VoxelSignals, MaskedAutoencoder, MaskedTrainingConfig], Task],
    person: Person,
    passes: Passes,
    out: Path,
    seed: int,
) -> Vectors:
    given = person.train
    learnt, asked, _ = fit(given.voxels, person.test.voxels, Faults(), patch_size=SIZES.patch_size)
    sizes = SIZES.model_copy(update={"n_times": learnt.shape[1]})
    autoencoder = fresh_autoencoder(sizes, seed=seed)
    training = MaskedTrainingConfig(
        passes=passes.masked, warmup_passes=0.1 * passes.masked, batch_size=BATCH, lr=1e-3
    )
    first = modelling(VoxelSignals(learnt), autoencoder, training)
    _train(first, loop_config(training, seed=seed), out / "first")
    torch.manual_seed(seed)
    stage = ConditionStage(
        import_encoder(autoencoder.state_dict(), num_heads=sizes.num_heads),
        n_tokens=sizes.n_tokens,
        embed_dim=sizes.embed_dim,
        config=CONDITION,
    )
    stage.mae.get_parameter("pos_embed").requires_grad_(False)
    module = _Readout(stage, given.targets.shape[1])
    second = _ReadoutTask(module, learnt, given.targets, passes.readout)
    _train(second, LoopConfig(passes.readout, BATCH, seed=seed), out / "second")
    rows = torch.from_numpy(asked.astype(np.float32))[:, None]
    with torch.inference_mode():
        return np.asarray(module.eval().vectors(rows).numpy())


def _train(task: Task, loop: LoopConfig, out: Path) -> None:
    """Train, or pick up where a killed run stopped."""
    train(task, loop, engine=make_engine(device="cpu"), out=out, save_every=1_000_000)


def write_shard(path: Path, trials: Trials) -> None:
    """Write trials as NSD's shards hold them: a picture a sample, with every look at it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blank = io.BytesIO()
    Image.new("RGB", (8, 8)).save(blank, "JPEG")
    with tarfile.open(path, "w") as shard:
        for number, picture in enumerate(np.unique(trials.rows)):
            looks = trials.voxels[trials.rows == picture]
            for name, value in ((VOXELS, looks), (PICTURE_ID, np.array([picture]))):
                held = io.BytesIO()
                np.save(held, value)
                _add(shard, f"sample{number:09d}.{name}", held.getvalue())
            _add(shard, f"sample{number:09d}.{PICTURE}", blank.getvalue())


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


SYSTEMS: dict[str, Decode] = {
    "ridge": ridge,
    "MindEye, reduced": mindeye,
    "MinD-Vis, reduced": mind_vis,
    "Contrast, Attend and Diffuse, reduced": contrast_attend_diffuse,
}
"""Every row of the table."""
