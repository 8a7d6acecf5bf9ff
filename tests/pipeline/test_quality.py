"""Rejection counts every channel type, and names the worst channel."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from pipeline.quality import line_ratio, peak_to_peak, rejection
from pipeline.values import Info

INFO = Info(("Fz", "Oz", "HEOG", "EMG1"), 250.0, ("eeg", "eeg", "eog", "emg"))


@pytest.mark.parametrize("order", list(permutations(["eeg", "eog", "emg"])))
@pytest.mark.parametrize(("loud", "name"), [(0, "Fz"), (1, "Oz"), (2, "HEOG"), (3, "EMG1")])
def test_every_type_counts_in_any_order(order: tuple[str, ...], loud: int, name: str) -> None:
    limits = {"eeg": 100.0, "eog": 200.0, "emg": 300.0}
    spread = np.full(4, 50.0, np.float32)
    table = {kind: limits[kind] for kind in order}
    assert rejection(spread, INFO, reject_uv=table, flat_uv={}) == ""
    spread[loud] = 1000.0
    assert rejection(spread, INFO, reject_uv=table, flat_uv={}).startswith(f"{name} swings 1000")


def test_the_worst_is_named_and_flat_is_found() -> None:
    spread = np.array([150.0, 400.0, 10.0, 10.0], np.float32)
    assert rejection(spread, INFO, reject_uv={"eeg": 100.0}, flat_uv={}).startswith("Oz")
    assert rejection(spread, INFO, reject_uv={}, flat_uv={"eog": 20.0}).startswith("HEOG")
    assert rejection(spread, INFO, reject_uv={}, flat_uv={}) == ""


def test_line_ratio() -> None:
    times = np.arange(500) / 250.0
    noise = np.random.default_rng(0).normal(0, 1, (2, 500))
    quiet = noise.astype(np.float32)
    assert line_ratio(quiet, 250.0, 50.0) < 0.2
    loud = quiet + (50 * np.sin(2 * np.pi * 50 * times)).astype(np.float32)
    assert line_ratio(loud + 1000, 250.0, 50.0) > 0.99
    assert peak_to_peak(loud).shape == (2,)
