"""Second moments of features and targets, and the two closed forms that need no more.

Owns ridge regression and the linear discriminant that follows from it; knows nothing of EEG.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Second moments of features (with a constant) and centred targets, summed over batches."""

    def __init__(self) -> None:
        self.gram: Tensor | float = 0.0
        self.cross: Tensor | float = 0.0
        self.targets: Tensor | float = 0.0
        self.n = 0

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Add a batch, (n, n_inputs) and (n, n_features)."""
        rows = torch.cat([features, torch.ones(len(features), 1)], dim=1)
        self.gram = self.gram + (rows.T @ rows).double()
        self.cross = self.cross + (rows.T @ targets).double()
        self.targets = self.targets + (targets.T @ targets).double()
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
        solution: Tensor = weights @ torch.linalg.solve(noise, slope.T)
        return solution
