"""Euclidean alignment: what it undoes, what drift is, and the state of the online form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alignment import (
    EuclideanAlignment,
    OnlineAlignment,
    alignment_matrix,
    covariance_distance,
    mean_covariance,
)
from pipeline.errors import ShapeError
from pipeline.values import Float64


def _epochs(n: int, n_channels: int, *, seed: int) -> Float64:
    rng = np.random.default_rng(seed)
    mixing = 0.4 * rng.standard_normal((n_channels, n_channels)) + np.diag(
        rng.uniform(1, 4, n_channels)
    )
    return np.asarray(mixing @ rng.standard_normal((n, n_channels, 120)))


@settings(max_examples=20, deadline=None)
@given(n_channels=st.integers(2, 12), seed=st.integers(0, 50))
def test_aligned_epochs_have_the_reference_covariance(n_channels: int, seed: int) -> None:
    epochs = _epochs(30, n_channels, seed=seed)
    other = mean_covariance(_epochs(30, n_channels, seed=seed + 1000))
    own = mean_covariance(epochs)
    matrix = EuclideanAlignment.fit(epochs, other).matrix
    np.testing.assert_allclose(matrix @ own @ matrix.T, other, atol=1e-8 * np.trace(other))
    white = alignment_matrix(mean_covariance(epochs))
    np.testing.assert_allclose(
        white @ mean_covariance(epochs) @ white.T, np.eye(n_channels), atol=1e-8
    )


def test_a_linear_mixing_of_channels_is_undone_up_to_a_rotation_of_equal_power() -> None:
    epochs = _epochs(40, 6, seed=3)
    gains = np.diag(np.linspace(0.2, 4, 6))
    reference = mean_covariance(epochs)
    mended = EuclideanAlignment.fit(gains @ epochs, reference).apply(gains @ epochs)
    raw = np.linalg.norm(gains @ epochs - epochs)
    assert np.linalg.norm(mended - epochs) < 0.6 * raw


def test_distance_is_zero_for_equal_ones_and_does_not_know_units_or_mixing() -> None:
    first, second = (mean_covariance(_epochs(40, 5, seed=k)) for k in (1, 2))
    assert covariance_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert covariance_distance(first, 2 * first) == pytest.approx(np.log(2))
    mixing = np.random.default_rng(0).standard_normal((5, 5))
    both = [mixing @ each @ mixing.T for each in (first, second)]
    assert covariance_distance(*both) == pytest.approx(covariance_distance(first, second), rel=1e-6)
    assert covariance_distance(first, second) == pytest.approx(covariance_distance(second, first))


def test_one_artifact_does_not_turn_the_mean() -> None:
    epochs = _epochs(40, 5, seed=4)
    loud = epochs.copy()
    loud[7] = 50 * np.random.default_rng(1).standard_normal((5, 120)) + 300 * np.sin(
        np.arange(120) / 9
    )
    plain = np.einsum("nct,ndt->cd", loud, loud) / (40 * 120)
    turned = covariance_distance(mean_covariance(epochs), plain)
    assert covariance_distance(mean_covariance(epochs), mean_covariance(loud)) < 0.3 * turned


def test_online_starts_frozen_follows_freezes_and_resets() -> None:
    start, later = _epochs(60, 4, seed=5), 3.0 * _epochs(300, 4, seed=5)
    state = OnlineAlignment(mean_covariance(start))
    np.testing.assert_array_equal(state.matrix, np.eye(4))
    for epoch in later[:100]:
        state.observe(epoch)
    np.testing.assert_array_equal(state.matrix, np.eye(4))
    early = state.drift
    assert early > 0.5
    state.resume()
    for epoch in later[100:]:
        state.observe(epoch)
    assert state.drift > early
    aligned = mean_covariance(state.matrix @ later[-100:])
    assert covariance_distance(aligned, mean_covariance(start)) < 0.3
    state.freeze()
    kept = state.matrix.copy()
    state.observe(later[0])
    np.testing.assert_array_equal(state.matrix, kept)
    state.reset()
    assert state.drift == pytest.approx(0, abs=1e-9)
    assert state.n_seen == 0
    np.testing.assert_array_equal(state.matrix, np.eye(4))


def test_the_same_epochs_give_the_same_state_to_the_bit() -> None:
    epochs = _epochs(50, 4, seed=6)
    states = [OnlineAlignment(mean_covariance(epochs)) for _ in range(2)]
    for state in states:
        state.resume()
        for epoch in epochs:
            state.observe(epoch)
    np.testing.assert_array_equal(states[0].matrix, states[1].matrix)


def test_what_cannot_be_aligned_is_refused_or_left_out() -> None:
    with pytest.raises(ShapeError, match="at least one"):
        mean_covariance(np.zeros((0, 3, 10)))
    with pytest.raises(ShapeError, match="NaN"):
        mean_covariance(np.full((1, 3, 10), np.nan))
    state = OnlineAlignment(np.eye(3))
    with pytest.raises(ShapeError, match="4 channels"):
        state.observe(np.zeros((4, 10)))
    state.observe(np.full((3, 10), np.nan))
    assert state.n_seen == 0
    state.observe(np.zeros((3, 10)))
    assert np.isfinite(state.matrix).all()
