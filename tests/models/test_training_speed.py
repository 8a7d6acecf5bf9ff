"""What makes training fast computes the same as the plain way: layers, batches, precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.atm.data import open_epochs, write_epochs
from models.atm.layers import TemporalSpatialConvolution


def _plainly(network: TemporalSpatialConvolution, x: Tensor) -> Tensor:
    features = network.projection(network.tsconv(x.unsqueeze(1)))
    return features.flatten(2).transpose(1, 2).flatten(1)


def test_smoothing_before_the_filter_is_the_pool_after_it() -> None:
    torch.manual_seed(0)
    network = TemporalSpatialConvolution(7).double()
    network.tsconv[7].p = 0.0  # the draws of dropout fall in another order
    signal = torch.randn(3, 7, 130, dtype=torch.float64)
    gradients = []
    for forward in (network, lambda x: _plainly(network, x)):
        network.zero_grad()
        x = signal.clone().requires_grad_()
        made = forward(x)
        made.square().mean().backward()
        gradients.append([made.detach(), x.grad, *(p.grad for p in network.parameters())])
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-11)


def test_a_batch_gathered_at_once_is_the_batch_of_its_items(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    eeg = rng.normal(size=(8, 3, 80)).astype(np.float32)
    ids = np.arange(8)
    write_epochs(
        tmp_path,
        eeg=eeg,
        image_ids=ids // 2,
        subject_ids=ids,
        features={"RN50": rng.normal(size=(4, 5))},
        ch_names=("A", "B", "C"),
    )
    data = open_epochs(tmp_path, ["RN50"])
    batch = data.picked(["C", "A"]).batch([5, 0, 5])
    np.testing.assert_array_equal(batch.eeg.numpy(), eeg[[5, 0, 5]][:, [2, 0]])
    assert batch.image_ids.tolist() == [2, 0, 2]
    with pytest.raises(ValueError, match="read-only"):
        data.eeg[0] = 0  # the file itself was never in reach
