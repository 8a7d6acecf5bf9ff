"""EEGNet: the paper's network, faster; it learns from the pool and knows nothing at SNR 0."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from research.baselines.eegnet import Eegnet, EegnetConfig, each_filtered
from research.embedded import train_eegnet

PAPER = EegnetConfig(n_channels=64, n_times=128, n_outputs=4)


def test_it_has_the_parameters_of_the_papers_table() -> None:
    first, spatial, separable = 8 * 64, 16 * 64 + 2 * 16, 16 * 16 + 16 * 16 + 2 * 16
    dense = 16 * (128 // 32) * 4 + 4
    count = sum(p.numel() for p in Eegnet(PAPER).parameters())
    assert count == first + spatial + separable + dense == 2372
    assert count + 2 * 8 == 2388, "with the first batch norm, which is left out"


class AsPrinted(nn.Module):
    """The layers in the paper's order, batch norm after the temporal filters included."""

    def __init__(self, ours: Eegnet) -> None:
        super().__init__()
        c = ours.config
        self.ours = ours
        self.temporal_norm = nn.BatchNorm2d(c.n_temporal)

    def forward(self, x: Tensor) -> Tensor:
        ours, c = self.ours, self.ours.config
        padded = functional.pad(x[:, None], (31, 32))
        hidden = self.temporal_norm(functional.conv2d(padded, ours.temporal[:, :, None]))
        spatial = ours.spatial.weight.transpose(1, 2)[:, :, :, None].transpose(1, 2)
        weight = spatial.reshape(c.n_temporal * c.depth, 1, c.n_channels, 1)
        hidden = functional.conv2d(hidden, weight, groups=c.n_temporal)[:, :, 0]
        hidden = functional.avg_pool1d(functional.elu(ours.spatial_norm(hidden)), 4)
        separable = functional.conv1d(
            functional.pad(hidden, (7, 8)), ours.separable, groups=len(ours.separable)
        )
        hidden = functional.elu(ours.separable_norm(ours.pointwise(separable)))
        out: Tensor = ours.output(functional.avg_pool1d(hidden, 8).flatten(1))
        return out


def test_the_order_of_its_linear_layers_changes_nothing() -> None:
    torch.manual_seed(0)
    network = Eegnet(EegnetConfig(n_channels=6, n_times=64, n_outputs=3, dropout=0.0))
    x = torch.randn(20, 6, 64)
    torch.testing.assert_close(network(x), AsPrinted(network)(x), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("n_taps", [16, 64])
def test_banded_products_are_a_depthwise_convolution(n_taps: int) -> None:
    x, kernels = torch.randn(2, 3, 40), torch.randn(3, 1, n_taps)
    padded = functional.pad(x, ((n_taps - 1) // 2, n_taps // 2))
    expected = functional.conv1d(padded, kernels, groups=3)
    torch.testing.assert_close(each_filtered(x, kernels), expected)


def test_spatial_filters_are_held_to_norm_1() -> None:
    network = Eegnet(PAPER)
    with torch.no_grad():
        network.spatial.weight[0] *= 100
        small = network.spatial.weight[1].clone().mul_(1e-3)
        network.spatial.weight[1] = small
    network.constrain()
    norms = network.spatial.weight.detach().flatten(1).norm(dim=1)
    assert norms[0] == pytest.approx(1.0)
    torch.testing.assert_close(network.spatial.weight.detach()[1], small)


def test_training_writes_a_network_that_loads_and_skips_what_is_there(tmp_path: Path) -> None:
    words = ["--out", str(tmp_path), "--boards", "cyton", "--steps", "2", "--bank-seconds", "16"]
    words += ["--pool-epochs", "256"]
    assert train_eegnet.main(words) == 0
    network = train_eegnet.load_board(tmp_path / "cyton")
    assert not network.training
    assert network(torch.randn(3, 8, 126)).shape == (3, 64)
    path = tmp_path / "cyton" / "model.safetensors"
    before = path.stat().st_mtime_ns
    assert train_eegnet.main(words) == 0
    assert path.stat().st_mtime_ns == before
