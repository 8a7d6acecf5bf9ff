"""Latencies differ between people: windows that follow them, and finding them again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from models.adapters import OnlineAligned
from models.adapters.latency_warps import learn_warps
from models.adapters.methods.latency import Expected, subject_warp
from models.adapters.network_base import NetworkBase, NetworkBatch
from models.embedded.encoder import load_encoder
from models.embedded.encoder_input import N_CONDITIONS, N_TIMES, N_VIRTUAL, SFREQ, TMAX, TMIN
from models.embedded.encoder_network import UNMEASURED, EncoderNetwork, straight_features
from models.embedded.time_warps import N_BINS, WARPS, grid_matrices, window_edges, window_matrix
from models.embedded.training_pool import pool_covariance
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Float32, Float64, Info
from pipeline.virtual_brain.subject import draw_subject
from research.embedded.encoder_batches import MONTAGES
from research.embedded.encoder_pool import EpochPool
from research.embedded.moments import Mean, Moments

AVERAGE = WARPS.index((1.0, 0.0))
TIMES = TMIN + np.arange(N_TIMES) / SFREQ


def test_the_average_timing_is_the_plain_mean_over_windows() -> None:
    x = torch.randn(3, 5, N_TIMES, generator=torch.Generator().manual_seed(0))
    windows = torch.from_numpy(window_matrix(1.0, 0.0).astype(np.float32))
    torch.testing.assert_close((x @ windows).flatten(1), straight_features(x))
    np.testing.assert_array_equal(grid_matrices()[AVERAGE], window_matrix(1.0, 0.0))
    edges = window_edges()
    assert len(edges) == N_BINS + 1
    assert edges[0] == pytest.approx(0.044)
    assert edges[-1] == pytest.approx(0.716)


@settings(max_examples=60, deadline=None)
@given(scale=st.floats(0.9, 1.1), shift=st.floats(-0.04, 0.04))
def test_windows_are_means_and_follow_a_line(scale: float, shift: float) -> None:
    """A constant stays, and a ramp's means are its values at the moved windows' middles."""
    windows = window_matrix(scale, shift)
    np.testing.assert_allclose(windows.sum(axis=0), 1.0, atol=1e-9)
    moved = np.minimum(scale * window_edges() + shift, TIMES[-1] + 0.5 / SFREQ)
    middles = (moved[1:] + moved[:-1]) / 2
    # What is cut to less than a sample is the last sample itself, half a sample off at most.
    near = np.where(np.diff(moved) < 1 / SFREQ, 1 / SFREQ / 2, 1 / SFREQ / 4)
    assert (np.abs(TIMES @ windows - middles) <= near).all()


@pytest.mark.parametrize(("scale", "shift"), [(0.94, 0.012), (1.06, -0.024), (1.0, 0.024)])
def test_what_came_late_or_stretched_reads_as_on_time(scale: float, shift: float) -> None:
    latencies = np.array([0.1, 0.24, 0.4, 0.6])[:, None]
    on_time = np.exp(-0.5 * ((TIMES - latencies) / 0.02) ** 2) @ window_matrix(1.0, 0.0)
    moved = np.exp(-0.5 * ((TIMES - scale * latencies - shift) / 0.02) ** 2)
    assert np.abs(moved @ window_matrix(scale, shift) - on_time).max() < 0.1
    assert np.abs(moved @ window_matrix(1.0, 0.0) - on_time).max() > 0.2


def _network() -> EncoderNetwork:
    torch.manual_seed(1)
    network = EncoderNetwork().eval()
    torch.nn.init.normal_(network.timing, std=0.02)
    torch.nn.init.normal_(network.memory)
    return network


def test_timings_are_weighed_and_can_be_given() -> None:
    network = _network()
    x = torch.randn(4, N_VIRTUAL, N_TIMES)
    conditions = torch.rand(4, N_CONDITIONS)
    with torch.inference_mode():
        readings, log_timing = network.readings(x, conditions)
        assert readings.shape == (4, len(WARPS), network.config.n_features)
        torch.testing.assert_close(log_timing.exp().sum(dim=1), torch.ones(4))
        assert float(log_timing.std()) > 0.05, "the epoch itself has a say"
        bias = torch.full((len(WARPS),), -200.0)
        bias[3] = 0.0
        again, told = network.readings(x, conditions, warp_bias=bias)
        torch.testing.assert_close(again, readings)
        assert float(told[:, 3].exp().min()) > 0.999
        # The deep path starts at zero and the factor at one: the evidence is that timing's reading.
        torch.testing.assert_close(
            network.evidence(x, conditions, warp_bias=bias), readings[:, 3], atol=1e-4, rtol=1e-3
        )


def test_the_pool_says_which_timing_made_an_epoch() -> None:
    pool = EpochPool(seed=0, rates=(250.0,), seconds=16.0)
    pictures = load_gallery().subset(kind="upright").embeddings[:200]
    made = pool.channels(
        rng=np.random.default_rng(0),
        ch_names=MONTAGES["cyton"][0],
        sfreq=250.0,
        subject_number=7,
        embeddings=pictures,
        snr=np.ones(len(pictures)),
    )
    subject = draw_subject(7)
    assert (made.scale == subject.latency_scale).all()
    jitter = made.shift - subject.latency_shift
    assert 0.004 < jitter.std() < 0.008
    assert abs(jitter.mean()) < 0.002


def _session(number: int, n: int) -> tuple[list[Epoch], Float64]:
    """Epochs of one person, and the embeddings of what was shown."""
    names, rate = MONTAGES["cap32"]
    pictures = load_gallery().subset(kind="upright").embeddings
    rng = np.random.default_rng(number)
    shown = pictures[rng.integers(len(pictures), size=n)]
    made = EpochPool(seed=1, rates=(rate,), seconds=30.0).channels(
        rng=rng,
        ch_names=names,
        sfreq=rate,
        subject_number=number,
        embeddings=shown,
        snr=np.ones(n),
    )
    info = Info(names, SFREQ)
    epochs = [
        Epoch(data=data, tmin=TMIN, tmax=TMAX, t_onset=float(k), event="", info=info, index=k)
        for k, data in enumerate(made.channels)
    ]
    return epochs, shown.astype(np.float64)


@pytest.mark.parametrize("number", [1102, 1104])
def test_a_persons_timing_is_found_from_a_minute(number: int) -> None:
    epochs, shown = _session(number, 45)
    names = epochs[0].info.ch_names
    channels = np.stack([epoch.data for epoch in epochs]).astype(np.float64)
    batch = NetworkBatch(names, channels - channels.mean(axis=1, keepdims=True))
    view = NetworkBase(load_encoder())
    found = subject_warp(batch, shown, view, Expected.of(view, names))
    subject = draw_subject(number)
    for latency in (0.1, 0.5):
        true = subject.latency_scale * latency + subject.latency_shift
        assert found[0] * latency + found[1] == pytest.approx(true, abs=0.012)


def test_the_linear_path_in_channels_is_the_encoders() -> None:
    names, _ = MONTAGES["cyton"]
    view = NetworkBase(load_encoder())
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(6, len(names), N_TIMES)).cumsum(axis=2)
    batch = NetworkBatch(names, noise - noise.mean(axis=1, keepdims=True))
    x, conditions = (torch.from_numpy(each) for each in batch.inputs())
    with torch.inference_mode():
        readings = view.network.readings(x, conditions)[0][:, AVERAGE].numpy()
        bias = view.network.mixture(conditions) @ view.network.straight_bias
    expected = Expected.of(view, names)
    scaled = batch.channels / batch.scale[:, None, None]
    means = scaled @ window_matrix(1.0, 0.0)
    ours = np.einsum("ncp,cpf->nf", means, expected.weights) + bias.numpy()
    assert np.abs(x.numpy()).max() < 8, "nothing was clipped, or the two would differ"
    np.testing.assert_allclose(ours, readings, atol=2e-3 * np.abs(readings).max())


def test_warps_are_learnt_from_epochs_that_are_each_unsure() -> None:
    rng = np.random.default_rng(0)
    prior = rng.normal(size=len(WARPS))
    at = 6
    likelihood = 0.7 * rng.normal(size=(200, len(WARPS)))
    likelihood[:, at] += 1.0
    single = special.log_softmax(likelihood + prior, axis=1)
    bias = learn_warps(single, prior)
    learnt = special.softmax(special.log_softmax(prior) + bias)
    assert learnt[at] > 0.9 > np.exp(single[:, at]).mean()
    np.testing.assert_allclose(learn_warps(np.zeros((0, len(WARPS))), prior), 0.0, atol=1e-9)


def test_a_session_learns_latencies_without_labels_keeps_and_forgets_them() -> None:
    epochs, shown = _session(1102, 120)
    encoder = load_encoder()
    frozen = OnlineAligned(encoder, reference=pool_covariance)
    follows = OnlineAligned(encoder, reference=pool_covariance)
    follows.resume()
    before = encoder.encode(epochs[0]).vector

    def agreement(vectors: Float32) -> float:
        return float((vectors[-60:] * shown[60:]).sum(axis=1).mean())

    def decoded(aligned: OnlineAligned, epoch: Epoch) -> Float32:
        aligned.observe(epoch)
        return aligned.encode(epoch).vector

    still = np.stack([decoded(frozen, epoch) for epoch in (epochs[0], *epochs[60:])])
    np.testing.assert_array_equal(still[0], before)
    learnt = np.stack([decoded(follows, epoch) for epoch in epochs])
    assert agreement(learnt) > agreement(still) + 0.05
    again = OnlineAligned(encoder, reference=pool_covariance)
    again.resume()
    repeated = [decoded(again, epoch) for epoch in epochs[:10]]
    np.testing.assert_array_equal(repeated, learnt[:10])  # a replay repeats it
    follows.freeze()
    kept = follows.encode(epochs[0]).vector
    for epoch in epochs[60:65]:
        follows.observe(epoch)
    np.testing.assert_array_equal(follows.encode(epochs[0]).vector, kept)
    assert not np.array_equal(kept, before)
    follows.reset()
    np.testing.assert_array_equal(follows.encode(epochs[0]).vector, before)


@pytest.mark.parametrize("kind", ["sines", "patterns"])
def test_what_is_like_nothing_in_training_is_doubted(kind: str) -> None:
    """A test signal, or a brain whose responses resemble no picture's, gives no sure picture."""
    names = MONTAGES["cap32"][0]
    rng = np.random.default_rng(0)

    def strange() -> Float64:
        if kind == "sines":
            rates, phases = rng.uniform(3, 20, (32, 1)), rng.uniform(0, 6.3, (32, 1))
            return np.asarray(30 * np.sin(2 * np.pi * rates * TIMES + phases))
        bumps = np.exp(-0.5 * ((TIMES - rng.uniform(0.05, 0.7, (6, 1))) / 0.05) ** 2)
        return np.asarray(
            3 * rng.normal(size=(32, N_TIMES)) + 20 * rng.normal(size=(32, 6)) @ bumps
        )

    info, encoder = Info(names, SFREQ), load_encoder()
    epochs = [
        Epoch(
            data=strange().astype(np.float32),
            tmin=TMIN,
            tmax=TMAX,
            t_onset=0.0,
            event="",
            info=info,
            index=k,
        )
        for k in range(30)
    ]

    def lengths(some: list[Epoch]) -> Float64:
        return np.array([np.linalg.norm(encoder.encode(epoch).vector) for epoch in some])

    usual = _session(1104, 60)[0]
    doubted, sure = lengths(epochs), lengths(usual)
    encoder.network.strange_from.fill_(UNMEASURED)
    before, unchanged = lengths(epochs), lengths(usual)
    assert np.median(before) > 0.7, "without the limit it would be sure of itself"
    assert np.median(doubted) < 0.1
    assert np.isclose(sure, unchanged, atol=1e-4).mean() > 0.95, "what it knows stays as it is"


def test_two_means_are_told_apart_by_fishers_discriminant() -> None:
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(4, 4))
    here = rng.normal(size=(4000, 4)) @ mixing + np.array([0.5, 0.0, -0.3, 1.0])
    there = Mean()
    for part in np.array_split(here - np.array([0.2, 0.4, 0.0, 0.1]), 3):
        there.add(torch.from_numpy(part))
    moments = Moments()
    for part in np.array_split(here, 4):
        moments.add(torch.from_numpy(part), torch.zeros(len(part), 2))
    expected: Float64 = np.linalg.solve(np.cov(here.T, bias=True), np.array([0.2, 0.4, 0.0, 0.1]))
    np.testing.assert_allclose(moments.against(there.value, 0.0).numpy(), expected, rtol=1e-6)
