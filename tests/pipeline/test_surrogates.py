"""The noise control keeps everything but the time course."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.surrogates import phase_scrambled
from pipeline.values import Epoch, Info


def make_epoch(n_times: int, seed: int = 0) -> Epoch:
    rng = np.random.default_rng(seed)
    times = np.arange(n_times) / 250
    evoked = 20 * np.exp(-(((times - 0.2) / 0.03) ** 2))
    data = rng.normal(0, 5, (4, n_times)) + np.outer([1, 0.5, -0.5, 0.1], evoked)
    return Epoch(
        data.astype(np.float32), -0.2, 0.8, 1.0, "tiger", Info(("A", "B", "C", "D"), 250), 3
    )


@given(st.integers(100, 260), st.integers(0, 2**32))
def test_power_and_covariance_stay(n_times: int, seed: int) -> None:
    epoch = make_epoch(n_times)
    control = phase_scrambled(epoch, seed=seed)
    before, after = (np.abs(np.fft.rfft(e.data, axis=1)) for e in (epoch, control))
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(np.cov(control.data), np.cov(epoch.data), rtol=1e-3, atol=1e-2)
    assert control.event == ""
    assert control.index == epoch.index


def test_the_time_course_goes_and_the_seed_decides() -> None:
    epochs = [make_epoch(251, seed) for seed in range(60)]
    evoked = np.mean([e.data[0] for e in epochs], axis=0).max()
    controls = [phase_scrambled(e, seed=i) for i, e in enumerate(epochs)]
    assert np.abs(np.mean([e.data[0] for e in controls], axis=0)).max() < 0.35 * evoked
    again = phase_scrambled(epochs[0], seed=0)
    np.testing.assert_array_equal(again.data, controls[0].data)
    other = phase_scrambled(epochs[0], seed=1)
    assert np.corrcoef(other.data[0], again.data[0])[0, 1] == pytest.approx(0, abs=0.5)
