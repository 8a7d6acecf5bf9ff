"""Joint training of one encoder and five priors, as a task of `models.training`.

Owns the module that holds all six, and a step's draws.
"""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from configs.atm import MultimodalTrainingConfig
from models.atm.data import EpochSet
from models.atm.encoder import AtmsEncoder
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.stages import seed_dropout
from models.multimodal.errors import MultimodalError
from models.multimodal.modalities import Modality
from models.multimodal.training import StepDraws, multimodal_loss, named_priors
from models.training.draws import Draws, Indices


class MultimodalModel(nn.Module):
    """The shared encoder and a prior for each modality."""

    def __init__(self, encoder: AtmsEncoder, prior: PriorConfig | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.priors = nn.ModuleDict({str(m): DiffusionPriorUNet(prior) for m in Modality})

    def forward(self, eeg: Tensor, subject_ids: Tensor) -> Tensor:
        """Conditions (n, cond_dim) of the priors."""
        return self.encoder(eeg, subject_ids)  # type: ignore[no-any-return]


class MultimodalLoss(nn.Module):
    """The six networks and their weighted objective."""

    def __init__(self, model: MultimodalModel, *, pair_all_conditions: bool = False) -> None:
        super().__init__()
        self.model = model
        self._pair_all_conditions = pair_all_conditions
        self._scheduler = DDPMScheduler()

    def forward(
        self, eeg: Tensor, subject_ids: Tensor, seed: Tensor, **draws: Tensor
    ) -> dict[str, Tensor]:
        """Losses of a batch; `draws` holds `target_M`, `noise_M` and `t_M` of each modality M."""
        seed_dropout(self, seed)
        total, losses = multimodal_loss(
            named_priors(self.model.priors),
            self._scheduler,
            {m: draws[f"target_{m}"] for m in Modality},
            self.model(eeg, subject_ids),
            {m: StepDraws(draws[f"t_{m}"], draws[f"noise_{m}"]) for m in Modality},
            pair_all_conditions=self._pair_all_conditions,
        )
        return {"loss": total} | {str(m): loss.total for m, loss in losses.items()}


class MultimodalTask:
    """Joint training, a `models.training.Task`; targets are named as modalities are published."""

    n_val = 0

    def __init__(
        self, model: MultimodalModel, data: EpochSet, config: MultimodalTrainingConfig
    ) -> None:
        missing = [m.published_name for m in Modality if m.published_name not in data.targets]
        if missing:
            raise MultimodalError(f"the data lack targets for {', '.join(missing)}.")
        self.module = MultimodalLoss(model, pair_all_conditions=config.pair_all_conditions)
        self._data, self._config = data, config
        self.n_train = len(data)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """One Adam over everything, as published."""
        return torch.optim.Adam(self.module.parameters(), lr=self._config.lr, fused=True)

    def learning_rate(self, progress: float) -> float:  # noqa: ARG002 - constant as published
        """Return the constant rate."""
        return self._config.lr

    def batch(self, indices: Indices, draws: Draws, *, training: bool) -> dict[str, Tensor]:
        """Read a batch and draw its noise."""
        del training  # no validation split is published for this system
        made = self._data.batch(indices)
        batch = {"eeg": made.eeg, "subject_ids": made.subject_ids, "seed": draws.seed()}
        for modality in Modality:
            target = made.targets[modality.published_name]
            batch[f"target_{modality}"] = target
            batch[f"noise_{modality}"] = draws.randn(*target.shape[1:])
            batch[f"t_{modality}"] = draws.randint(1000)
        return batch
