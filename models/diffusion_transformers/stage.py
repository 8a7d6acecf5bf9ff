"""`phosphene train sana-sprint|z-image-turbo|flux2-klein projector`: a gallery in, a projector out.

Owns the task: a picture's vector becomes tokens by which the frozen transformer has to predict that
picture from noise. Only the projector is trained and kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.projector import ProjectorSizes, ProjectorTrainingConfig
from models.api import installed_weights
from models.diffusion_transformers.family import Family
from models.diffusion_transformers.parts import Parts, read_parts
from models.diffusion_transformers.projector import (
    FOLDER,
    Projector,
    ProjectorConfig,
    save_projector,
)
from models.stable_diffusion.errors import StableDiffusionError
from models.stages import StageRequest, check_tables, read_table
from models.training.asked import engine_for, train_as_asked
from models.training.draws import Draws, Indices
from models.training.loop import Batch, LoopConfig
from pipeline.gallery import SPACE, Gallery, load_gallery


def run_sana_sprint(request: StageRequest) -> dict[str, Any]:
    """Train a projector for SANA-Sprint."""
    return _run(request, "sana-sprint")


def run_z_image(request: StageRequest) -> dict[str, Any]:
    """Train a projector for Z-Image-Turbo."""
    return _run(request, "z-image-turbo")


def run_flux2(request: StageRequest) -> dict[str, Any]:
    """Train a projector for FLUX.2-klein."""
    return _run(request, "flux2-klein")


def _run(request: StageRequest, name: str) -> dict[str, Any]:
    check_tables(request.table, ("weights", "space", "projector", "training"))
    sizes = read_table(ProjectorSizes, request.table.get("projector"), where="projector")
    training = read_table(ProjectorTrainingConfig, request.table.get("training"))
    space = str(request.table.get("space", SPACE))
    gallery = load_gallery(request.data).demand(space, what="a projector")
    if gallery.embeddings.ndim != 2:
        raise StableDiffusionError(
            f"vectors of {space} have shape {gallery.embeddings.shape[1:]}, expected (n_features,)."
        )
    parts = read_parts(Path(str(request.table.get("weights", installed_weights(name)))))
    if parts.family.name != name:
        raise StableDiffusionError(
            f"{parts.folder} is of {parts.family.name}: `phosphene train {parts.family.name} "
            "projector`."
        )
    if training.size % parts.family.multiple:
        raise StableDiffusionError(
            f"training.size is {training.size}, expected a multiple of {parts.family.multiple}."
        )
    torch.manual_seed(request.seed)
    projector = Projector(
        ProjectorConfig(
            space=space,
            n_features=gallery.n_features,
            width=parts.family.width(parts.transformer),
            **sizes.model_dump(),
        )
    )
    task = ProjectorTask(projector, parts, gallery, training)
    # In float32 unless asked: transformers of this size are published in bf16.
    engine = engine_for(request, auto="no")
    report = train_as_asked(
        task, _loop(training, request.seed), request, engine=engine, makes=[request.out / FOLDER]
    )
    if engine.rank == 0:
        save_projector(projector, request.out / FOLDER)
    return report | {
        "projector": str(request.out / FOLDER),
        "space": space,
        "n_parameters": sum(p.numel() for p in projector.parameters()),
        "n_train": task.n_train,
        "n_val": task.n_val,
    }


def _loop(training: ProjectorTrainingConfig, seed: int) -> LoopConfig:
    return LoopConfig(
        passes=training.passes,
        batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_grad_norm=training.max_grad_norm,
        seed=seed,
    )


class _Loss(nn.Module):
    def __init__(self, projector: Projector, parts: Parts) -> None:
        super().__init__()
        self.projector = projector
        self._family: Family = parts.family
        self.network = self._family.network(parts.transformer, guidance=self._family.guidance)
        self.vae = parts.vae

    def train(self, mode: bool = True) -> _Loss:
        """Frozen parts stay as they draw."""
        super().train(mode)
        self.network.eval()
        self.vae.eval()
        return self

    def forward(
        self, *, vectors: Tensor, images: Tensor, noise: Tensor, at: Tensor
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            clean = self._family.encode(self.vae, images)
        x, told, target = self._family.noised(clean, noise, at)
        predicted = self.network(x, told, self.projector(vectors))
        return {"loss": functional.mse_loss(predicted, target)}


class ProjectorTask:
    """Training of a projector; a `models.training.Task`."""

    def __init__(
        self,
        projector: Projector,
        parts: Parts,
        gallery: Gallery,
        training: ProjectorTrainingConfig,
    ) -> None:
        self.module: nn.Module = _Loss(projector, parts)
        self._gallery, self._training = gallery, training
        self._shape = parts.family.latent_shape(parts.transformer, parts.vae, training.size)
        held = np.arange(len(gallery)) % training.one_in == training.one_in - 1
        self._rows = {True: np.flatnonzero(~held), False: np.flatnonzero(held)}
        self.n_train, self.n_val = len(self._rows[True]), len(self._rows[False])

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW over the projector."""
        trained = [p for p in self.module.parameters() if p.requires_grad]
        settings = self._training
        return torch.optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay)

    def learning_rate(self, progress: float) -> float:
        """Constant."""
        del progress
        return self._training.lr

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> Batch:
        """Vectors and pictures by row, noise and its level."""
        rows, size = self._rows[training][indices], self._training.size
        labels = [self._gallery.labels[row] for row in rows]
        pixels = np.stack([self._gallery.image(label, size=size) for label in labels])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        vectors = torch.from_numpy(np.array(self._gallery.embeddings[rows], dtype=np.float32))
        kept = draws.rand() >= self._training.condition_dropout
        return {
            "vectors": vectors * kept[:, None] if training else vectors,
            "images": images,
            "noise": draws.randn(*self._shape),
            # Of a normal variable's logistic, which dwells on the middle (arXiv 2403.03206).
            "at": draws.randn().sigmoid(),
        }
