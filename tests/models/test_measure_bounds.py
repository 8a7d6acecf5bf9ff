"""Measures of a whole set: bounds, symmetries, and variants that are not to be mixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.evaluation.measuring import Measure, measure
from models.evaluation.networks import Network
from models.pictures.shipped import load_network, load_quick_network, network_input
from pipeline.values import Float32, Uint8

N, SIDE = 8, 8


class Pictures:
    """Drawings beside what was shown, each its own stimulus."""

    name, n_copies = "made up", 1

    def __init__(self, shown: Uint8, drawn: Uint8) -> None:
        self.stimuli: Sequence[str] = [f"{k:02d}" for k in range(len(shown))]
        self._shown, self._drawn = shown, drawn

    def shown(self, key: str) -> Uint8:
        return self._shown[int(key)]

    def drawn(self, item: int, _copy: int) -> Uint8:
        return self._drawn[item]


def _features(pictures: Uint8) -> tuple[Float32, ...]:
    """A wide layer, a narrow one, and classes: linear, so that what they give is known."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32) / 255
    narrow = np.random.default_rng(0).normal(size=(flat.shape[1], 4)).astype(np.float32)
    logits = np.zeros((len(flat), 1000), np.float32)
    logits[:, : flat.shape[1]] = 20 * flat
    return flat, flat @ narrow, logits


NETWORK = Network("fid-inception", "Inception", ("2048", "64", "logits"), _features, "logits")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long an item is measured of one: `test_metrics` has its bounds."""
    monkeypatch.setattr("models.evaluation.measuring.MOST_STRUCTURE", 1)


def measures(shown: Uint8, drawn: Uint8) -> dict[str, Measure]:
    found = measure(Pictures(shown, drawn), [NETWORK])
    return {each.name: each for each in found.measures}


def value(found: Measure) -> float:
    return float(np.nanmean(found.values))


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 999))
def test_each_measure_keeps_its_bounds_and_symmetries(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 256, (2, N, SIDE, SIDE, 3)).astype(np.uint8)
    there, back, same = measures(one, other), measures(other, one), measures(one, one)
    for name, each in there.items():
        low, high = (0.0, 1.0) if name.endswith(("identification", "way")) else (-1.0, 1.0)
        if name.endswith("distance"):
            low, high = 0.0, 2.0
        if name.endswith("frechet"):
            low, high = 0.0, np.inf
        if name.endswith("inception_score"):
            low, high = 1.0, 1000.0
        assert low - 1e-6 <= np.nanmin(each.values), name
        assert np.nanmax(each.values) <= high + 1e-6, name
    for name in ("pixcorr", "ssim", "ssim_by_column", "mse", "fid-inception_64_distance"):
        np.testing.assert_allclose(there[name].values, back[name].values, atol=1e-6)
    for layer in ("2048", "64"):
        name = f"fid-inception_{layer}_frechet"
        assert value(there[name]) == pytest.approx(value(back[name]), rel=1e-5, abs=1e-6)
        assert value(same[name]) == pytest.approx(0.0, abs=1e-4)
        assert value(same[f"fid-inception_{layer}_identification"]) == 1.0
    assert value(same["mse"]) == pytest.approx(0.0, abs=1e-6)
    for name in ("pixcorr", "ssim", "ssim_by_column"):
        assert value(same[name]) == pytest.approx(1.0, abs=1e-6)


def test_the_two_frechet_distances_are_other_figures_under_other_names() -> None:
    """FID of the 2048 features and of the 64 early ones: one protocol each, never mixed."""
    rng = np.random.default_rng(0)
    shown, drawn = rng.integers(0, 256, (2, N, SIDE, SIDE, 3)).astype(np.uint8)
    found = measures(shown, drawn // 2)
    wide, narrow = (found[f"fid-inception_{layer}_frechet"] for layer in ("2048", "64"))
    assert wide.title != narrow.title
    assert abs(value(wide) - value(narrow)) > 0.1 * value(wide)
    assert wide.is_published
    assert narrow.is_published


def test_the_quick_network_is_the_network() -> None:
    """The shipped graph on ONNX Runtime gives what torch gives, whatever the batch."""
    pictures = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3)).astype(np.uint8)
    quick = load_quick_network(threads=1)(network_input(pictures))
    with torch.inference_mode():
        slow = load_network()(network_input(pictures))
    for one, other in zip(quick, slow, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
