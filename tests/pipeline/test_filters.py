"""The causal filter: equal to scipy and MNE on the whole file, at any cut."""

from __future__ import annotations

from itertools import pairwise

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from configs.models import FilterConfig
from pipeline import filters
from pipeline.errors import ConfigurationError
from pipeline.filters import CausalFilter, design
from pipeline.values import Info

INFO = Info(("C3", "C4", "Oz"), 250.0)


def _eeg(n_times: int, n_channels: int = 3, offset: float = 2e4) -> np.ndarray:
    rng = np.random.default_rng(3)
    drift = np.cumsum(rng.normal(size=(n_channels, n_times)), axis=1)
    line = 30 * np.sin(2 * np.pi * 50 * np.arange(n_times) / 250.0)
    return (drift + line + offset * np.arange(1, n_channels + 1)[:, None]).astype(np.float32)


def _offline(sos: np.ndarray, data: np.ndarray) -> np.ndarray:
    start = data.astype(np.float64)
    zi = signal.sosfilt_zi(sos)[:, None, :] * start[:, :1]
    return signal.sosfilt(sos, start, zi=zi)[0]


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 700), max_size=12))
def test_any_cut_gives_the_same_bits_as_the_whole(cuts: list[int]) -> None:
    data = _eeg(700)
    whole = CausalFilter(FilterConfig(), INFO).process(data)
    filt = CausalFilter(FilterConfig(), INFO)
    edges = sorted({0, 700, *cuts})
    pieces = [filt.process(data[:, a:b]) for a, b in pairwise(edges)]
    assert np.concatenate(pieces, axis=1).tobytes() == whole.tobytes()


def test_the_kernel_and_the_public_function_give_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, found = _eeg(900), []
    for kernel in (filters._kernel, None):
        monkeypatch.setattr(filters, "_kernel", kernel)
        filt = CausalFilter(FilterConfig(), INFO)
        found.append(b"".join(filt.process(data[:, a : a + 9]).tobytes() for a in range(0, 900, 9)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "config",
    [
        FilterConfig(),
        FilterConfig(l_freq=1.0, h_freq=30.0, order=4, notch_freqs=(50.0, 100.0)),
        FilterConfig(h_freq=None, notch_freqs=()),
    ],
)
def test_equals_scipy_on_the_whole_file(config: FilterConfig) -> None:
    data = _eeg(5000)
    filt = CausalFilter(config, INFO)
    pieces = [filt.process(data[:, at : at + 10]) for at in range(0, 5000, 10)]
    ours = np.concatenate(pieces, axis=1)
    assert np.abs(ours - _offline(design(config, 250.0), data)).max() < 1e-4


def test_equals_mne_forward_filter() -> None:
    data = _eeg(5000, offset=0.0)
    data -= data[:, :1]  # MNE starts from zero state, and so do we at a first sample of zero
    config = FilterConfig()
    filt = CausalFilter(config, INFO)
    theirs = mne.filter.filter_data(
        data.astype(np.float64),
        250.0,
        0.5,
        40.0,
        method="iir",
        phase="forward",
        iir_params={"sos": filt.sos, "output": "sos", "padlen": 0},
        verbose="error",
    )
    assert np.abs(filt.process(data) - theirs).max() < 1e-4


def test_an_electrode_offset_does_not_ring() -> None:
    data = np.full((3, 500), 25_000.0, np.float32)
    assert np.abs(CausalFilter(FilterConfig(), INFO).process(data)).max() < 1e-3


def test_reset_starts_afresh() -> None:
    data = _eeg(300)
    filt = CausalFilter(FilterConfig(), INFO)
    first = filt.process(data)
    filt.reset()
    assert filt.process(data).tobytes() == first.tobytes()


def test_settling_time_holds_for_a_step() -> None:
    for config in (FilterConfig(), FilterConfig(l_freq=None), FilterConfig(order=5)):
        filt = CausalFilter(config, INFO)
        step = np.zeros((3, 8000), np.float32)
        step[:, 1:] = 1000.0
        response = filt.process(step)[0].astype(float)
        end = response[-1]
        late = np.abs(response[1 + round(filt.settling_time * 250) :] - end)
        assert late.max() <= 0.0101 * np.abs(response).max()
        before = np.abs(response[1 : round(filt.settling_time * 250)] - end)
        assert before.max() > 0.01 * np.abs(response).max()
    assert 1.5 < CausalFilter(FilterConfig(), INFO).settling_time < 3.0


def test_group_delay_is_that_of_a_tone_burst() -> None:
    config = FilterConfig(notch_freqs=())
    filt = CausalFilter(config, INFO)
    times = np.arange(2500) / 250.0
    envelope = np.exp(-((times - 5) ** 2) / (2 * 0.5**2))
    burst = (100 * envelope * np.sin(2 * np.pi * 10 * times)).astype(np.float32)
    power = filt.process(np.tile(burst, (3, 1)))[0].astype(float) ** 2
    centre = (power * times).sum() / power.sum()
    assert centre - 5 == pytest.approx(filt.group_delay(10.0), abs=1e-3)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (FilterConfig(h_freq=125.0), "filter.h_freq is 125 Hz"),
        (FilterConfig(l_freq=130.0, h_freq=None), "filter.l_freq is 130 Hz"),
    ],
)
def test_an_edge_above_nyquist_is_one_sentence(config: FilterConfig, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}, expected .* below 125 Hz"):
        CausalFilter(config, INFO)


def test_no_filter_is_the_identity() -> None:
    # A notch above half the rate has nothing to take out.
    filt = CausalFilter(FilterConfig(l_freq=None, h_freq=None, notch_freqs=(150.0,)), INFO)
    data = _eeg(50)
    assert filt.process(data).tobytes() == data.tobytes()
    assert filt.settling_time == 0.0
    assert filt.group_delay() == 0.0
