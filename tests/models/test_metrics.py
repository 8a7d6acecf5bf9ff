"""Metrics are what their publications define, and keep their bounds and symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from models.metrics.classification import draw_rivals, expected_n_way_top_k, n_way_top_k
from models.metrics.pairs import METRICS, n_way_scores, pairwise_scores, values
from models.metrics.pictures import (
    correlation_distances,
    pixel_correlations,
    prepared,
    structural_similarities,
    two_way,
)
from models.metrics.retrieval import cosines, pearsons, retrieval, top_k
from models.metrics.scoring import score_pictures
from pipeline.errors import ShapeError
from tests.models.golden import load


@pytest.mark.golden
def test_n_way_top_k_matches() -> None:
    file = load("nway_topk_accuracy")
    probabilities, ids = (file.inputs[k].numpy() for k in ("probs", "class_ids"))
    for name in (k for k in file.outputs if k.startswith("acc_")):
        ways, k = (int("".join(filter(str.isdigit, part))) for part in name.split("_")[1:])
        draws = file.inputs[f"draws_{ways}way"].numpy()
        mean, deviation = n_way_top_k(probabilities, ids, draws, k=k)
        file.check(name, mean)
        file.check(name.replace("acc", "std"), deviation)
    file.assert_all_checked()


@pytest.mark.golden
def test_pairwise_scores_match() -> None:
    file = load("pairwise_image_scores")
    pred, gt = file.inputs["pred"].numpy(), file.inputs["gt"].numpy()
    draws = file.inputs["nway_draws"].numpy()
    for name, metric in (("mse", "mse_wrapped"), ("pcc", "pcc"), ("ssim", "ssim")):
        table = values(pred, gt, metric)
        file.check(f"value_{name}", table)
        file.check(f"pairwise_{name}", pairwise_scores(table, metric))
        file.check(f"nway_{name}", n_way_scores(table, metric, draws))
    first = [each.transpose(0, 3, 1, 2) for each in (pred, gt)]
    table = values(*first, "mse_wrapped")
    file.check("pairwise_mse_channels_first", pairwise_scores(table, "mse_wrapped"))
    table = values(pred, gt, "mse")
    file.check("value_mse_float_images", table)
    file.check("pairwise_mse_float_images", pairwise_scores(table, "mse"))
    file.assert_all_checked()


@pytest.mark.golden
def test_mindeye_metrics_match() -> None:
    file = load("mindeye_metrics")
    x = file.inputs
    real, made = x["real_features"].double().numpy(), x["recon_features"].double().numpy()
    counts = two_way(made, real)
    file.check("two_way_counts", counts)
    for name in ("two_way", "two_way_from_dict"):
        file.check(name, counts.mean() / (len(counts) - 1))
    file.check("correlation_distance", correlation_distances(made, real).mean())
    images, recons = prepared(x["images"]), prepared(x["recons"])
    file.check("pixcorr_each", pixel_correlations(recons, images))
    file.check("pixcorr", pixel_correlations(recons, images).mean())
    similar = structural_similarities(recons, images)
    file.check("ssim_each", similar)
    file.check("ssim", similar.mean())
    brain, clip = x["brain"].double().numpy(), x["clip"].double().numpy()
    for k in (int(n.removeprefix("fwd_top")) for n in file.outputs if n.startswith("fwd_top")):
        found = retrieval(brain, clip, k=k)
        file.check(f"fwd_top{k}", found.brain_of_image)
        file.check(f"bwd_top{k}", found.image_of_brain)
    file.check("cosine_rows_are_clip", cosines(clip, brain))
    file.check("pairwise_cosine", cosines(brain, clip))
    file.check("pearson", pearsons(brain, clip))
    file.assert_all_checked()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.integers(2, 20), st.integers(1, 3))
def test_the_closed_form_is_where_the_draws_tend(seed: int, n_way: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(60), size=3)
    ids = rng.integers(0, 60, 3)
    draws = draw_rivals(ids, 60, n_way=n_way, n_trials=100, seed=seed)
    assert not (draws == ids[:, None, None]).any()
    mean, _ = n_way_top_k(probabilities, ids, draws, k=k)
    expected = expected_n_way_top_k(probabilities, ids, n_way=n_way, k=k)
    assert ((expected >= 0) & (expected <= 1 + 1e-12)).all()
    np.testing.assert_allclose(mean, expected, atol=6 * 0.5 / 100**0.5)
    if n_way <= k:
        np.testing.assert_allclose(expected, 1)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999))
def test_bounds_and_symmetries(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 6, 5))
    np.testing.assert_allclose(cosines(a, b), cosines(b, a).T)
    assert np.abs(pearsons(a, b)).max() <= 1 + 1e-12
    own = retrieval(a, a)
    assert (own.image_of_brain, own.brain_of_image, own.n) == (1.0, 1.0, 6)
    assert top_k(cosines(a, b), 6) == 1.0
    there, back = retrieval(a, b), retrieval(b, a)
    assert there.image_of_brain == back.brain_of_image
    assert (two_way(a, a) == 5).all()
    np.testing.assert_allclose(correlation_distances(3 * a + 2, a), 0, atol=1e-12)
    order = rng.permutation(6)
    np.testing.assert_array_equal(two_way(a[order], b[order]), two_way(a, b)[order])
    pictures = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for metric in METRICS:
        table = values(pictures, pictures, metric)
        np.testing.assert_allclose(table, table.T)
        assert (pairwise_scores(table, metric) == 1).all()


def test_known_traps_are_apart() -> None:
    dark = np.full((8, 8, 3), 10, np.uint8)
    light = np.full((8, 8, 3), 250, np.uint8)
    # 10 - 250 wraps to 16 and its square to 0: the published metric sees no difference at all.
    assert values([dark], [light], "mse_wrapped")[0, 0] == 0
    assert values([dark], [light], "mse")[0, 0] == 240**2
    generator = torch.Generator().manual_seed(0)
    images = prepared(torch.rand(2, 3, 16, 16, generator=generator))
    others = prepared(images + 0.3 * torch.rand(images.shape, generator=generator))
    plain = structural_similarities(others, images)
    old = structural_similarities(others, images, columns_are_channels=True)
    assert (np.abs(plain - old) > 0.02).all()
    np.testing.assert_allclose(structural_similarities(images, images), 1)
    np.testing.assert_allclose(pixel_correlations(images, images), 1)


def test_similarity_by_column_is_scikit_images() -> None:
    rng = np.random.default_rng(1)
    pictures = torch.from_numpy(rng.random((2, 3, 425, 425), dtype=np.float32))
    pictures[1] = 0.7 * pictures[0] + 0.3 * pictures[1]
    a, b = (rgb2gray(each.permute(1, 2, 0).numpy()) for each in pictures)
    expected = structural_similarity(
        a,
        b,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )
    found = structural_similarities(pictures[:1], pictures[1:], columns_are_channels=True)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_pictures_of_anybody_are_scored_by_pixels() -> None:
    rng = np.random.default_rng(0)
    originals = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    found = score_pictures(list(originals), list(originals))
    for name, scores in found.items():
        np.testing.assert_allclose(scores, 1, err_msg=name)
    with pytest.raises(ShapeError, match="3 pictures and 2 originals"):
        score_pictures(list(originals), list(originals[:2]))
