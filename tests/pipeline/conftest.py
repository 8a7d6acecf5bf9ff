"""Streams and packets that the tests of the core share."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.values import StreamInfo, StreamRole


@pytest.fixture
def streams() -> dict[StreamRole, StreamInfo]:
    """A 4-channel 250 Hz headset and a string marker stream."""
    return make_streams(4, 250.0)


def make_streams(n_channels: int, sfreq: float) -> dict[StreamRole, StreamInfo]:
    """Infos of a labelled headset and a marker stream."""
    eeg = StreamInfo(
        name="headset",
        type="EEG",
        source_id="headset-1",
        n_channels=n_channels,
        sfreq=sfreq,
        channel_format="float32",
        ch_names=tuple(f"E{i}" for i in range(n_channels)),
        ch_units=("microvolts",) * n_channels,
        ch_types=("EEG",) * n_channels,
    )
    markers = StreamInfo(
        name="stimuli",
        type="Markers",
        source_id="stimuli-1",
        n_channels=1,
        sfreq=0.0,
        channel_format="string",
    )
    return {StreamRole.EEG: eeg, StreamRole.MARKERS: markers}


def make_eeg(n_times: int, n_channels: int, sfreq: float, seed: int = 0) -> np.ndarray:
    """Noise, alpha, line and an electrode's offset, (n_times, n_channels) float32 microvolts."""
    rng = np.random.default_rng(seed)
    times = np.arange(n_times)[:, None] / sfreq
    signal = rng.normal(0, 8, (n_times, n_channels)) + 10 * np.sin(2 * np.pi * 10 * times)
    signal += 20 * np.sin(2 * np.pi * 50 * times) + 2000 * np.arange(1, n_channels + 1)
    return signal.astype(np.float32)
