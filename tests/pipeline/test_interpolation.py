"""Channels that an epoch lacks: estimated from the others, and which epochs may lack some."""

from __future__ import annotations

import numpy as np
import pytest

from configs import EpochsConfig
from pipeline.epoching import EpochEngine
from pipeline.interpolation import channel_covariance, filled, may_fill
from pipeline.values import Epoch, Info, Outcome

NAMES = tuple(f"E{k}" for k in range(12))


def epoch(data: np.ndarray, names: tuple[str, ...] = NAMES) -> Epoch:
    return Epoch(data.astype(np.float32), -0.2, 0.5, 0.0, "x", Info(names, 100.0), 0)


def mixed(seed: int) -> np.ndarray:
    """Twelve channels of four sources."""
    fixed, rng = np.random.default_rng(1), np.random.default_rng(seed)
    noise = 0.1 * rng.standard_normal((12, 71))
    return fixed.standard_normal((12, 4)) @ rng.standard_normal((4, 71)) + noise


def test_a_missing_channel_is_told_from_the_others() -> None:
    epochs = [epoch(mixed(k)) for k in range(20)]
    # Some of what the covariance is made of lacks a channel itself.
    epochs[3] = epoch(mixed(3)[1:], NAMES[1:])
    covariance = channel_covariance(epochs, NAMES)
    truth = mixed(50)
    found = filled(epoch(truth[2:], NAMES[2:]), NAMES, covariance)
    assert found.info.ch_names == NAMES
    assert np.array_equal(found.data[2:], truth[2:].astype(np.float32))
    for row in range(2):
        assert np.corrcoef(found.data[row], truth[row])[0, 1] > 0.95
    assert may_fill(3, 12)
    assert not may_fill(4, 12)
    assert not may_fill(0, 12)


@pytest.mark.parametrize(("share", "n_kept"), [(0.0, None), (0.25, 10), (0.1, None)])
def test_few_channels_that_swing_cost_themselves(share: float, n_kept: int | None) -> None:
    config = EpochsConfig(tmin=-0.2, tmax=0.5, leave_out_share=share)
    engine = EpochEngine(config, Info(NAMES, 100.0), capacity=1000)
    data = mixed(0).astype(np.float32).repeat(3, axis=1)
    data[4:6, 60] += 1000
    times = np.arange(data.shape[1]) / 100.0
    engine.feed_marker(0.5, "x")
    flags = np.zeros((len(times), len(NAMES)), np.uint8)
    (verdict,) = engine.feed_samples(data, times, flags, is_first=True)
    if n_kept is None:
        assert verdict.outcome is Outcome.ARTIFACT
    else:
        assert verdict.outcome is Outcome.DECODED
        assert verdict.epoch is not None
        assert verdict.epoch.info.n_channels == n_kept
