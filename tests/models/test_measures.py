"""Measures of pictures: their definitions by brute force, their bounds, and who judges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.checkpoints import CheckpointError
from models.evaluation.measuring import Measure, measure
from models.evaluation.networks import Network, alexnet, networks, onnx_network
from models.evaluation.protocol import (
    bootstrap,
    correlations,
    identification,
    repetition_curve,
    score,
)
from models.metrics.perceptual import CHANNELS, AlexNet, load_lpips
from pipeline.errors import ConfigurationError
from pipeline.values import Float32, Uint8


def by_hand(table: np.ndarray, shown: list[int], item: int) -> float:
    """Two-way identification of one item, pair by pair."""
    others = [u for u in shown if u != shown[item]]
    own = table[shown[item], item]
    return float(np.mean([table[u, item] < own for u in others]))


@given(
    shown=st.lists(st.integers(0, 4), min_size=2, max_size=9).filter(lambda x: len(set(x)) > 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_identification_is_the_share_of_pairs_won(shown: list[int], seed: int) -> None:
    # Few values, so that ties occur: they are lost.
    table = np.random.default_rng(seed).integers(0, 4, (5, len(shown))).astype(np.float32)
    found = identification(table, np.array(shown))
    for item, row in enumerate(shown):
        assert found[row, item] == pytest.approx(by_hand(table, shown, item))
    assert found.min() >= 0
    assert found.max() <= 1


def test_identification_of_equal_pictures_is_whole_and_of_one_stimulus_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 30)).astype(np.float32)
    table = correlations(rows, rows)
    assert (identification(table, np.arange(6)).diagonal() == 1.0).all()
    with pytest.raises(ConfigurationError, match="1 distinct picture was shown"):
        identification(table, np.zeros(6, dtype=np.intp))


def test_chance_deals_the_drawings_out_and_is_a_half() -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(size=(20, 200)).astype(np.float32)
    shown = np.arange(200) % 20
    found = identification(table, shown)
    mean = score(found[shown, np.arange(200)].astype(float), shown, by_stimulus=found)
    assert mean.chance == pytest.approx(0.5, abs=0.01)
    assert mean.p_value is not None
    assert mean.p_value > 0.01
    assert mean.low < 0.5 < mean.high


def test_the_bootstrap_draws_stimuli_and_not_items() -> None:
    shown = np.repeat(np.arange(10), 100)
    by_stimulus = np.repeat(np.arange(10) / 10.0, 100)
    low, high = bootstrap(by_stimulus, shown)
    assert high - low > 0.2  # a bootstrap over the 1000 items would give 0.04
    assert bootstrap(np.ones(5), np.arange(5)) == (1.0, 1.0)


def test_averaging_repetitions_helps_by_the_root_of_their_number() -> None:
    rng = np.random.default_rng(2)
    shown = np.repeat(np.arange(8), 16)
    evidence = rng.normal(size=(len(shown), 8)).astype(np.float32)
    evidence[np.arange(len(shown)), shown] += 1.0
    points = repetition_curve(evidence, shown)
    assert [n for n, _, _ in points] == [1, 2, 4, 8, 16]
    assert points[0][2] < 0.75
    assert points[-1][2] > points[0][2] + 0.2


class Toys:
    """Pictures of noise; each drawing is what was shown with some more noise."""

    name = "toys"
    n_copies = 2

    def __init__(self, noise: float, *, n: int = 12) -> None:
        rng = np.random.default_rng(3)
        self.stimuli = [f"s{k % 6}" for k in range(n)]
        self._shown = {f"s{k}": rng.integers(0, 256, (32, 32, 3), np.uint8) for k in range(6)}
        self._noise = noise

    def shown(self, key: str) -> Uint8:
        return self._shown[key]

    def drawn(self, item: int, copy: int) -> Uint8:
        rng = np.random.default_rng([item, copy])
        pixels = self.shown(self.stimuli[item]) + rng.normal(0, self._noise, (32, 32, 3))
        return pixels.clip(0, 255).astype(np.uint8)


def flat(pictures: Uint8) -> tuple[Float32, ...]:
    rows = pictures.reshape(len(pictures), -1).astype(np.float32)
    logits = np.zeros((len(rows), 1000), np.float32)
    logits[:, :64] = rows[:, :64] / 10
    return rows[:, :40], logits


FLAT = Network("flat", "Flat", ("pixels", "logits"), flat, "logits")


def measures(noise: float) -> dict[str, Measure]:
    return {each.name: each for each in measure(Toys(noise), [FLAT]).measures}


def test_the_shown_picture_itself_is_perfect_by_every_measure() -> None:
    found = measures(0.0)
    for name in ("pixcorr", "ssim", "flat_50_way"):
        assert found[name].values == pytest.approx(1.0, abs=1e-5), name
    for name in ("mse", "flat_pixels_distance", "flat_pixels_frechet"):
        assert found[name].values == pytest.approx(0.0, abs=0.05), name
    assert all(m.values.min() == 1.0 for n, m in found.items() if n.endswith("_identification"))
    assert found["pixcorr"].values.shape == (2, 12)


def test_noise_makes_every_measure_worse() -> None:
    clean, noisy = measures(5.0), measures(400.0)
    for name in ("pixcorr", "ssim", "mse", "flat_pixels_distance"):
        better = clean[name].values.mean() - noisy[name].values.mean()
        assert (better > 0) == (clean[name].better == "higher"), name


def test_one_stimulus_is_nothing_to_tell_apart() -> None:
    toys = Toys(1.0)
    toys.stimuli = ["s0"] * 12
    with pytest.raises(ConfigurationError, match="12 pictures of one stimulus"):
        measure(toys, [FLAT])


def test_alexnet_in_torchvision_s_layout_is_read_and_anything_else_refused(tmp_path: Path) -> None:
    state = AlexNet().state_dict() | {"classifier.1.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "alexnet.pth")
    network = alexnet(tmp_path / "alexnet.pth")
    early, late = network.features(np.zeros((1, 8, 8, 3), np.uint8))
    assert (early.shape, late.shape) == ((1, 192 * 31 * 31), (1, 256 * 15 * 15))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "alexnet.pth")
    with pytest.raises(CheckpointError, match="expected torchvision's"):
        alexnet(tmp_path / "alexnet.pth")


def exported(folder: Path, words: dict[str, object]) -> Path:
    """A network that gives each picture's mean colour."""
    from onnx import TensorProto, helper, save

    shape = ["n", 3, 16, 16]
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    given_ = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 1, 1])
    graph = helper.make_graph([node], "toy", [given_], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, folder / "toy.onnx")
    (folder / "toy.json").write_text(json.dumps(words))
    return folder / "toy.onnx"


def test_a_network_in_onnx_judges_by_its_description(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    words = {"title": "Toy", "side": 16, "layers": ["mean"], "mean": [0, 0, 0], "std": [1, 1, 1]}
    network = onnx_network(exported(tmp_path, words))
    (rows,) = network.features(np.full((2, 40, 40, 3), 51, np.uint8))
    assert rows == pytest.approx(0.2, abs=1e-5)
    for broken in ({"title": "Toy"}, words | {"side": 0}, words | {"layers": ["a", "b"]}):
        with pytest.raises(ConfigurationError, match="expected"):
            onnx_network(exported(tmp_path, broken))


def test_what_is_not_here_is_said_and_never_replaced(tmp_path: Path) -> None:
    found, absent = networks(tmp_path)
    assert [each.name for each in found] == ["efficientnet-lite0"]
    assert len(absent) == 8
    assert any(each.startswith("CLIP two-way: left out, clip is not here") for each in absent)
    with pytest.raises(ConfigurationError, match="is no folder"):
        networks(tmp_path / "nothing")


def lpips_folder(folder: Path) -> AlexNet:
    """AlexNet and LPIPS' channels with random weights, in the published layouts."""
    torch.manual_seed(0)
    network = AlexNet()
    torch.save(network.state_dict(), folder / "alexnet.pth")
    lines = {f"lin{k}.model.1.weight": torch.rand(1, n, 1, 1) for k, n in enumerate(CHANNELS)}
    torch.save(lines, folder / "lpips-alex.pth")
    return network


def test_lpips_is_its_formula_and_a_distance(tmp_path: Path) -> None:
    network = lpips_folder(tmp_path)
    lines = torch.load(tmp_path / "lpips-alex.pth", weights_only=True)
    measure_ = load_lpips(network, tmp_path / "lpips-alex.pth")
    one, other = torch.rand(2, 1, 3, 64, 64)
    # As its authors write it: differences of normalised activations, weighted, averaged, summed.
    shift = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    with torch.no_grad():
        a, b = (network.activations((2 * x - 1 - shift) / scale) for x in (one, other))
    expected = 0.0
    for k, pair in enumerate(zip(a, b, strict=True)):
        x, y = (each / each.norm(dim=1, keepdim=True).add(1e-10) for each in pair)
        weighted = (x - y).square() * lines[f"lin{k}.model.1.weight"]
        expected += float(weighted.sum(dim=1).mean())
    p, q = measure_(one), measure_(other)
    assert float((p - q).square().sum()) == pytest.approx(expected, rel=1e-4)
    torch.save({"lin0.model.1.weight": torch.zeros(2)}, tmp_path / "lpips-alex.pth")
    with pytest.raises(CheckpointError, match=r"has no lin0\.model\.1\.weight of shape"):
        load_lpips(network, tmp_path / "lpips-alex.pth")


@pytest.mark.parametrize("most", [100, 2])
def test_lpips_stands_among_the_measures(
    tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without the distances to every shown picture, of some of the items."""
    monkeypatch.setattr("models.evaluation.measuring.MOST_APART", most)
    monkeypatch.setattr("models.evaluation.measuring.MOST_STRUCTURE", 2)
    lpips_folder(tmp_path)
    found, absent = networks(tmp_path)
    assert [each.name for each in found][1:] == ["alexnet", "lpips"]
    assert not any(each.startswith("LPIPS") for each in absent)
    measured = measure(Toys(0.0), [each for each in found if each.name == "lpips"])
    by_name = {each.name: each for each in measured.measures}
    values = by_name["lpips"].values
    assert np.isfinite(values[0]).sum() == 2
    assert np.nanmax(values) == pytest.approx(0.0, abs=1e-6)
    assert "PixCorr, LPIPS and SSIM: of 2 items" in measured.notes[0]
    assert ("lpips_identification" in by_name) == (most == 100)
    if most == 100:
        assert np.nanmin(by_name["lpips_identification"].values) == 1.0
