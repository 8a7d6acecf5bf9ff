"""LPIPS: how far apart two pictures look to AlexNet (Zhang et al., arXiv 1801.03924).

Owns the network in torchvision's layout, the published weights of its channels and the formula.
Everything is folded into one vector a picture whose squared distances are the measure, so that a
picture is computed once however many it is compared with. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoints import CheckpointError, load_checkpoint

TAPS = (1, 4, 7, 9, 11)
"""Activations that are compared: after each of AlexNet's five convolutions."""
CHANNELS = (64, 192, 384, 256, 256)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of pictures from -1 to 1, as published."""
_EPSILON = 1e-10


class AlexNet(nn.Module):
    """The five convolutions of AlexNet in torchvision's layout (Krizhevsky, arXiv 1404.5997)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )

    def activations(self, x: Tensor) -> list[Tensor]:
        """Give what each of `TAPS` gives, (n, n_channels, height, width) each."""
        found = []
        for k, layer in enumerate(self.features):
            x = layer(x)
            if k in TAPS:
                found.append(x)
        return found

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give what `features.4` and `features.11` give, flattened."""
        found = self.activations(x)
        return found[1].flatten(1), found[-1].flatten(1)


class Lpips(nn.Module):
    """Makes a picture a vector; two vectors' squared distance is their LPIPS.

    Parameters
    ----------
    network : AlexNet
    weights : sequence of Tensor, shape (n_channels,)
        How much each channel of each layer counts, 0 or more.
    """

    def __init__(self, network: AlexNet, weights: list[Tensor]) -> None:
        super().__init__()
        self.network = network
        self.weights = nn.ParameterList([nn.Parameter(each.sqrt()) for each in weights])

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """Vectors (n, n_features) of images (n, 3, height, width) from 0 to 1."""
        shift, scale = (torch.tensor(each)[:, None, None] for each in (_SHIFT, _SCALE))
        parts = []
        layers = self.network.activations((2 * images - 1 - shift) / scale)
        for root, layer in zip(self.weights, layers, strict=True):
            unit = layer / (layer.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
            n_places = layer.shape[2] * layer.shape[3]
            parts.append((unit * root[:, None, None] / n_places**0.5).flatten(1))
        return torch.cat(parts, dim=1)


def load_alexnet(path: Path) -> AlexNet:
    """Load AlexNet from a checkpoint in torchvision's layout, ready to run.

    Raises
    ------
    CheckpointError
        The file cannot be read or is no AlexNet.
    """
    state = {k: v for k, v in load_checkpoint(path).items() if k.startswith("features.")}
    network = AlexNet()
    try:
        network.load_state_dict({k: torch.as_tensor(v).float() for k, v in state.items()})
    except (RuntimeError, TypeError, ValueError):
        raise CheckpointError(
            f"{path} does not hold AlexNet's features.0 to features.10, expected torchvision's "
            "alexnet-owt-7be5be79.pth or the same tensors as safetensors."
        ) from None
    return network.eval().requires_grad_(False)


def load_lpips(network: AlexNet, path: Path) -> Lpips:
    """Load the published weights of AlexNet's channels (v0.1) beside the network.

    Raises
    ------
    CheckpointError
        The file cannot be read, or holds something else.
    """
    state = load_checkpoint(path)
    weights = []
    for k, n_channels in enumerate(CHANNELS):
        found = state.get(f"lin{k}.model.1.weight")
        if not isinstance(found, Tensor) or found.shape != (1, n_channels, 1, 1):
            raise CheckpointError(
                f"{path} has no lin{k}.model.1.weight of shape (1, {n_channels}, 1, 1), expected "
                "LPIPS' weights/v0.1/alex.pth of richzhang/PerceptualSimilarity, or the same "
                "tensors as safetensors."
            )
        weights.append(functional.relu(found.float().flatten()))
    return Lpips(network, weights).eval().requires_grad_(False)
