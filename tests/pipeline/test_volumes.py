"""fMRI in the live path: a vector an event, values that are no numbers, samples without rate."""

from __future__ import annotations

import numpy as np
import pytest

from configs import SessionConfig, load_preset
from pipeline.errors import ConfigurationError, ShapeError
from pipeline.live import LivePath
from pipeline.missing import Missing
from pipeline.values import (
    ClockOffset,
    Epoch,
    Float64,
    Info,
    Outcome,
    Packet,
    StreamInfo,
    StreamRole,
    Verdict,
)
from pipeline.virtual_volumes import VirtualScan
from pipeline.volumes import voxel_vector

V = 4
MARKERS = StreamInfo("m", "Markers", "m", 1, 0.0, "string")
PRESET = load_preset("fmri-ridge-toy")


def _bold(sfreq: float) -> StreamInfo:
    names = tuple(f"v{k}" for k in range(V))
    return StreamInfo(
        "scan", "fMRI", "scan", V, sfreq, "float32", ch_names=names, ch_types=("fmri",) * V
    )


def _run(
    rows: np.ndarray,
    times: Float64,
    onsets: list[float],
    *,
    sfreq: float,
    config: SessionConfig = PRESET,
    probe: float = 0.0,
) -> tuple[LivePath, list[Verdict]]:
    """Markers first, then each sample alone."""
    path = LivePath(config, {StreamRole.EEG: _bold(sfreq), StreamRole.MARKERS: MARKERS})
    verdicts = path.feed(ClockOffset(StreamRole.MARKERS, 0.0, probe))
    waiting = sorted(onsets)
    for row, time in zip(rows, times.tolist(), strict=True):
        while waiting and waiting[0] <= time + 1e-6:
            onset = waiting.pop(0)
            stamps = np.array([onset])
            verdicts += path.feed(Packet(StreamRole.MARKERS, ("cat",), stamps, onset))
        samples = row[np.newaxis].astype(np.float32)
        verdicts += path.feed(Packet(StreamRole.EEG, samples, np.array([time]), time))
    return path, verdicts + path.finish()


def _epoch(n_times: int) -> Epoch:
    data = np.arange(V * n_times, dtype=np.float32).reshape(V, n_times)
    info = Info(tuple(f"v{k}" for k in range(V)), 0.5, ("fmri",) * V)
    return Epoch(data, 0.0, 2.0 * (n_times - 1), 0.0, "cat", info, 0)


def test_the_vector_is_the_mean_of_the_samples_that_count() -> None:
    one, five = _epoch(1), _epoch(5)
    np.testing.assert_array_equal(voxel_vector(one, n_voxels=V, tmax=0.5), one.data[:, 0])
    found = voxel_vector(five, tmin=4.0, tmax=8.0)
    np.testing.assert_allclose(found, five.data[:, 2:].mean(axis=1))
    np.testing.assert_array_equal(voxel_vector(five, tmin=4.5, tmax=5.5), five.data[:, 2])
    with pytest.raises(ShapeError, match="4 voxels, expected 9"):
        voxel_vector(one, n_voxels=9)


def test_each_marker_gets_the_sample_at_it() -> None:
    rows, times = np.random.default_rng(0).normal(size=(12, V)), 2.0 * np.arange(12)
    path, verdicts = _run(rows, times, times.tolist(), sfreq=0.5)
    assert [v.outcome for v in verdicts] == [Outcome.DECODED] * 12
    for row, verdict in zip(rows, verdicts, strict=True):
        assert verdict.epoch is not None
        np.testing.assert_array_equal(verdict.epoch.data[:, 0], row.astype(np.float32))
    assert (path.n_lost, path.n_gaps) == (0, 0)
    assert path.signal_quality.newest == ()


def test_samples_without_a_rate_meet_their_markers() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(2.5, 30.0, 12))
    rows = rng.normal(size=(12, V))
    # The markers' clock is 2 ms ahead by its probe: each lies a little after its sample.
    path, verdicts = _run(rows, times, times.tolist(), sfreq=0.0, probe=0.002)
    assert [v.outcome for v in verdicts] == [Outcome.DECODED] * 12
    kept = [v.epoch.data[:, 0] for v in verdicts if v.epoch is not None]
    np.testing.assert_array_equal(kept, rows.astype(np.float32))
    assert (path.n_lost, path.n_gaps, path.n_received) == (0, 0, 12)


def test_a_repeated_or_unstamped_sample_without_a_rate_is_dropped() -> None:
    rows = np.ones((4, V))
    path, _ = _run(rows, np.array([1.0, 1.0, np.nan, 9.0]), [], sfreq=0.0)
    assert (path.n_duplicates, path.n_strays) == (1, 1)


def test_a_gap_in_a_slow_stream_is_one_gap() -> None:
    """The jitter of a stream below 1 Hz must not turn negative after a large step."""
    times = 2.0 * np.array([0, 1, 2, 3, 4, 5, 40, 41, 42, 43, 44, 45])
    path, verdicts = _run(np.ones((12, V)), times, [4.0, 88.0], sfreq=0.5)
    assert [v.outcome for v in verdicts] == [Outcome.DECODED] * 2
    assert path.n_gaps == 1
    assert path.jitter >= 0


def test_zero_stands_for_voxels_that_are_no_numbers() -> None:
    rows, times = np.ones((6, V)), 2.0 * np.arange(6)
    rows[:, 1] = np.nan
    rows[3] = np.nan
    path, verdicts = _run(rows, times, times.tolist(), sfreq=0.5)
    outcomes = [v.outcome for v in verdicts]
    assert outcomes == [Outcome.DECODED] * 3 + [Outcome.ARTIFACT] + [Outcome.DECODED] * 2
    assert "not finite" in verdicts[3].reason
    first = verdicts[0].epoch
    assert first is not None
    assert first.data[:, 0].tolist() == [1.0, 0.0, 1.0, 1.0]
    assert first.quality["n_bad_channels"] == 1
    assert path.take_news()[0].startswith("1 of 4 channels hold values that are no numbers")
    assert not path.screening.summary()


def test_without_the_setting_such_a_channel_is_left_out_as_before() -> None:
    rows, times = np.ones((6, V)), 2.0 * np.arange(6)
    rows[:, 1] = np.nan
    epochs = PRESET.epochs.model_copy(update={"fill_missing": False})
    config = PRESET.model_copy(update={"epochs": epochs})
    path, verdicts = _run(rows, times, times.tolist(), sfreq=0.5, config=config)
    assert verdicts[0].outcome is Outcome.ARTIFACT
    assert verdicts[-1].epoch is not None
    assert verdicts[-1].epoch.data.shape == (V - 1, 1)
    assert [each.ch_name for each in path.screening.summary()] == ["v1"]


def test_any_cut_fills_in_the_same() -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(size=(V, 9)).astype(np.float32)
    flags = (rng.random((9, V)) < 0.3).astype(np.uint8)
    whole, left = Missing(V, 100).fill(data, flags, 0)
    for step in (1, 2, 4):
        pieces, missing = [], Missing(V, 100)
        for low in range(0, 9, step):
            part = slice(low, low + step)
            pieces.append(missing.fill(data[:, part], flags[part], low))
        np.testing.assert_array_equal(np.concatenate([d for d, _ in pieces], axis=1), whole)
        np.testing.assert_array_equal(np.concatenate([f for _, f in pieces]), left)
        counts = (flags != 0).sum(axis=1)
        assert missing.n_missing(0, 9) == counts.max()


def test_the_simulated_code_is_linear_and_its_snr_is_the_stated_one() -> None:
    e = np.eye(16, dtype=np.float32)[:2]
    silent, noisy = (VirtualScan(6000, 16, snr=snr, seed=3) for snr in (0.0, 2.0))
    first = silent.respond(e[0])
    np.testing.assert_array_equal(first, VirtualScan(6000, 16, snr=0.0, seed=3).respond(e[1]))
    many = np.stack([first, *(silent.respond(None) for _ in range(39))])
    assert 0.9 < many.std() < 1.1
    signal = noisy.respond(e[0]) * np.sqrt(5.0) - first
    active = np.abs(signal) > 1e-3
    assert 0.37 < active.mean() < 0.43
    assert 1.9 < signal[active].std() < 2.1
    both = VirtualScan(6000, 16, snr=2.0, seed=3)
    total = both.respond(e[0] + e[1]) * np.sqrt(5.0) - first
    other = VirtualScan(6000, 16, snr=2.0, seed=3).respond(e[1]) * np.sqrt(5.0) - first
    np.testing.assert_allclose(total, signal + other, atol=1e-4)
    with pytest.raises(ConfigurationError, match="SNR of -1"):
        VirtualScan(3, 2, snr=-1.0)
