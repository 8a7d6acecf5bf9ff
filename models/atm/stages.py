"""What is trained: the encoder and the prior, as tasks of `models.training`.

Owns the wiring of objectives to data: a task makes batches, its module turns one into losses.
Dropout is seeded by a number in the batch, so that a resumed run repeats the uninterrupted one.
Knows nothing of loops, devices or checkpoints.
"""

from __future__ import annotations

import math

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional

from configs.atm import PriorTrainingConfig, RetrievalTrainingConfig
from models.atm.data import EpochSet
from models.atm.errors import AtmError
from models.atm.folder import AnyEncoder
from models.atm.losses import clip_loss, multi_positive_clip_loss
from models.atm.prior import DiffusionPriorUNet
from models.training.draws import Draws, Indices
from models.training.together import gathered

WARMUP_STEPS = 500
CONDITION_DROPOUT = 0.1


def seed_dropout(module: nn.Module, seed: Tensor) -> None:
    """Seed torch for the forward pass of a module in training."""
    if module.training:
        torch.manual_seed(int(seed))


class EncoderLoss(nn.Module):
    """An encoder and its objective."""

    def __init__(
        self, encoder: AnyEncoder, config: RetrievalTrainingConfig, *, n_subjects: int = 1
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self._config = config
        # Of layers that are mixed; equal shares to begin with, and rows as subjects' numbers.
        self.mixture = nn.Embedding(n_subjects, len(config.layers)) if config.layers else None
        if self.mixture is not None:
            nn.init.zeros_(self.mixture.weight)

    def forward(
        self,
        *,
        eeg: Tensor,
        subject_ids: Tensor,
        image_ids: Tensor,
        image: Tensor,
        seed: Tensor,
        text: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch; `image` and `text` (n, n_features) are as CLIP gives them.

        With layers `image` is (n, n_layers, n_features).
        """
        seed_dropout(self, seed)
        if self.mixture is not None:
            image = self.mixed(image, subject_ids)
        vectors = self.encoder(eeg, subject_ids)
        config = self._config
        if config.objective == "reconstruction":
            contrast = self._contrast(vectors, image, image_ids)
            mse = functional.mse_loss(vectors, image)
            loss = 10 * (config.mse_weight * mse + (1 - config.mse_weight) * contrast)
            return {"loss": loss, "mse": mse, "contrast": contrast}
        if config.normalise == "both":
            vectors = functional.normalize(vectors, dim=-1)
        contrast = self._contrast(vectors, functional.normalize(image, dim=-1), image_ids)
        loss = config.image_weight * contrast
        if text is not None:
            other = self._contrast(vectors, functional.normalize(text, dim=-1), image_ids)
            loss = loss + (1 - config.image_weight) * other
        return {"loss": loss, "contrast": contrast}

    def mixed(self, image: Tensor, subject_ids: Tensor) -> Tensor:
        """Each subject's mixture of the layers' directions, (n, n_features)."""
        if self.mixture is None:
            return image
        shares = self.mixture(subject_ids).softmax(dim=1)
        mixed: Tensor = (shares[:, :, None] * functional.normalize(image, dim=-1)).sum(dim=1)
        return mixed

    def _contrast(self, vectors: Tensor, target: Tensor, image_ids: Tensor) -> Tensor:
        # Of all that a step's processes hold: rows stand against each other.
        vectors, target = gathered(vectors), gathered(target)
        scale: Tensor = self.encoder.logit_scale
        if self._config.normalise == "both":
            scale = scale.exp()  # else logits of two unit vectors stay within 2.7
        if self._config.multi_positive:
            return multi_positive_clip_loss(vectors, target, scale, gathered(image_ids))
        return clip_loss(vectors, target, scale)


class EncoderTask:
    """Training of ATM-S on epochs; a `models.training.Task`.

    Data need targets named as `config.targets`, and may have texts as `<features>.text`.
    """

    def __init__(
        self,
        encoder: AnyEncoder,
        data: EpochSet,
        config: RetrievalTrainingConfig,
        *,
        seed: int = 0,
    ) -> None:
        self._config = config
        self._train, self._val = data.split(config.validation_fraction, seed=seed)
        if config.average_repetitions:
            self._train = self._train.averaged()
        if len(self._train) < 2:
            raise AtmError(f"{len(self._train)} samples to train on, expected at least two.")
        n_subjects = int(data.subject_ids.max()) + 1
        self.module = EncoderLoss(encoder, config, n_subjects=n_subjects)
        self.n_train, self.n_val = len(self._train), len(self._val)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW over everything, the scale of ATM-S's logits included."""
        return torch.optim.AdamW(
            self.module.parameters(),
            lr=self._config.lr,
            weight_decay=self._config.weight_decay,
            fused=True,
        )

    def learning_rate(self, progress: float) -> float:  # noqa: ARG002 - constant as published
        """Return the constant rate."""
        return self._config.lr

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> dict[str, Tensor]:
        """Read a batch."""
        made = (self._train if training else self._val).batch(indices)
        images = [made.targets[name] for name in self._config.targets]
        batch = {
            "eeg": made.eeg,
            "subject_ids": made.subject_ids,
            "image_ids": made.image_ids,
            "image": torch.stack(images, dim=1) if self._config.layers else images[0],
            "seed": draws.seed(),
        }
        text = f"{self._config.features}.text"
        if text in made.targets:
            batch["text"] = made.targets[text]
        return batch


def prior_rate(
    step: int, *, base: float, n_steps: int, n_warmup: int = WARMUP_STEPS, offset: int = 1
) -> float:
    """Rate of step 0, 1, ...: linear warm-up, then half a cosine to 0 at `n_steps`.

    `offset` 1 as published: the original advances its schedule before the optimiser's step, so
    the first update has 1/500 of the rate instead of none.
    """
    at = step + offset
    if at < n_warmup:
        return base * at / max(1, n_warmup)
    progress = (at - n_warmup) / max(1, n_steps - n_warmup)
    return base * max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))


class PriorLoss(nn.Module):
    """The prior and the squared error of its noise."""

    def __init__(self, prior: DiffusionPriorUNet) -> None:
        super().__init__()
        self.prior = prior
        self._scheduler = DDPMScheduler()

    def forward(
        self,
        *,
        vectors: Tensor,
        targets: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        drop: Tensor,
        seed: Tensor,
    ) -> dict[str, Tensor]:
        """Loss of a batch; `drop` () takes the condition of the whole batch away."""
        seed_dropout(self, seed)
        noisy = self._scheduler.add_noise(targets, noise, timesteps)
        predicted = self.prior(noisy, timesteps, None if bool(drop) else vectors)
        return {"loss": functional.mse_loss(predicted, noise)}


class PriorTask:
    """Training of the prior on pairs of EEG vector and CLIP vector, (n, n_features) each."""

    n_val = 0

    def __init__(
        self,
        prior: DiffusionPriorUNet,
        vectors: Tensor,
        targets: Tensor,
        config: PriorTrainingConfig,
    ) -> None:
        if len(vectors) != len(targets) or not len(vectors):
            raise AtmError(
                f"{len(vectors)} EEG vectors and {len(targets)} targets, expected one each: "
                "encode the training epochs first."
            )
        self.module = PriorLoss(prior)
        self._vectors, self._targets, self._config = vectors, targets, config
        self.n_train = len(vectors)
        self.count_steps(math.ceil(len(vectors) / config.batch_size))

    def count_steps(self, steps_per_pass: int) -> None:
        """Take the unit of the schedule: its warm-up is counted in steps."""
        self._steps_per_pass = steps_per_pass

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Adam without decay."""
        return torch.optim.Adam(self.module.parameters(), lr=self._config.lr, fused=True)

    def learning_rate(self, progress: float) -> float:
        """Warm-up, then half a cosine."""
        return prior_rate(
            round(progress * self._steps_per_pass),
            base=self._config.lr,
            n_steps=self._config.passes * self._steps_per_pass,
        )

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> dict[str, Tensor]:
        """Draw a batch."""
        del training  # there is no validation split of vectors
        targets = self._targets[indices]
        return {
            "vectors": self._vectors[indices],
            "targets": targets,
            "noise": draws.randn(*targets.shape[1:]),
            "timesteps": draws.randint(1000),
            "drop": draws.one_rand() < CONDITION_DROPOUT,
            "seed": draws.seed(),
        }
