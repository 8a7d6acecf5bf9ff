"""Moments of features and targets, and the closed forms that need no more.

Owns ridge regression, the linear discriminant that follows from it, and the discriminant of two
means; knows nothing of EEG.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_NOISE = 1e-4
"""Part of the targets' covariance that an estimate is taken to miss by at least."""


class Mean:
    """Mean of rows that come in batches."""

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self._n = 0

    def add(self, rows: Tensor) -> None:
        """Add a batch, (n, n_inputs)."""
        self._sum = self._sum + rows.double().sum(dim=0)
        self._n += len(rows)

    @property
    def value(self) -> Tensor:
        """The mean, (n_inputs,) float64."""
        return torch.as_tensor(self._sum) / max(self._n, 1)


class Moments:
    """Second moments of features (with a constant) and centred targets, summed over batches."""

    def __init__(self) -> None:
        self.gram: Tensor | float = 0.0
        self.cross: Tensor | float = 0.0
        self.targets: Tensor | float = 0.0
        self.n = 0

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Add a batch, (n, n_inputs) and (n, n_features)."""
        # In double from the start: a montage of few electrodes leaves directions empty, and the
        # rounding of single precision there would drown a small penalty.
        rows = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
        goals = targets.double()
        self.gram = self.gram + rows.T @ rows
        self.cross = self.cross + rows.T @ goals
        self.targets = self.targets + goals.T @ goals
        self.n += len(rows)

    def ridge(self, shrinkage: float) -> Tensor:
        """Ridge regression of the targets: (n_inputs + 1, n_features), the constant unpunished."""
        gram = torch.as_tensor(self.gram)
        penalty = shrinkage * gram.diagonal()[:-1].mean() * torch.ones(len(gram)).double()
        penalty[-1] = 0
        weights: Tensor = torch.linalg.solve(
            gram + torch.diag(penalty), torch.as_tensor(self.cross)
        )
        return weights

    def discriminant(self, shrinkage: float) -> Tensor:
        """Ridge regression followed by a discriminant: (n_inputs + 1, n_features).

        The ridge estimate V of the targets Y is noisy in some directions more than in others;
        with V = Y H + noise of covariance S, the best inner product with an embedding is that of
        V S^-1 H^T (linear discriminant analysis with a common covariance).
        """
        weights = self.ridge(shrinkage)
        gram, goal = torch.as_tensor(self.gram), torch.as_tensor(self.targets)
        slope = torch.linalg.solve(goal, torch.as_tensor(self.cross).T @ weights)
        noise = (weights.T @ gram @ weights - slope.T @ goal @ slope) / self.n
        # With fewer epochs than inputs nothing is left over: the weights must stay finite.
        noise = noise + LEAST_NOISE * goal / self.n
        solution: Tensor = weights @ torch.linalg.solve(noise, slope.T)
        return solution

    def against(self, other: Tensor, shrinkage: float) -> Tensor:
        """Discriminant of these features against others with mean `other`: (n_inputs,).

        Fisher's, with the covariance of these: its inner product with features is their log
        likelihood ratio, up to a constant.
        """
        gram = torch.as_tensor(self.gram)
        mean = gram[:-1, -1] / self.n
        covariance = gram[:-1, :-1] / self.n - torch.outer(mean, mean)
        covariance += shrinkage * covariance.diagonal().mean() * torch.eye(len(mean)).double()
        solution: Tensor = torch.linalg.solve(covariance, mean - other)
        return solution
