"""The classes benchmark: who is whose session, the paired comparison, the same epochs for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.benchmarks import classes
from app.errors import AppError
from models.adapters.data import CalibrationData


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "N_BOOTSTRAP", 60)


def recording(name: str, *, seed: int, gain: float = 6.0) -> classes.Recording:
    """Two classes, a wave of the second on the first channel, in noise."""
    rng = np.random.default_rng(seed)
    labels = tuple("ab"[k] for k in rng.permutation(np.arange(80) % 2))
    data = rng.standard_normal((80, 3, 90)) * 4
    data = data + 0.5 * np.roll(data, 1, axis=2)
    wave = gain * np.exp(-(((np.arange(90) - 45) / 8) ** 2))
    data[[label == "b" for label in labels], 0] += wave
    found = CalibrationData(
        epochs=data.astype(np.float32),
        labels=labels,
        onsets=5.0 * np.arange(80),
        channels=("P7", "Pz", "P8"),
        sfreq=100.0,
        tmin=-0.1,
    )
    return classes.Recording(name, classes.SESSION.sub("", name), found)


def test_sessions_of_a_person_are_known_by_their_names() -> None:
    names = ("p300-person1-session2", "p300-person1_ses-03", "p300-person1", "sub-01_run-2_x")
    assert [classes.SESSION.sub("", name) for name in names] == [
        "p300-person1",
        "p300-person1",
        "p300-person1",
        "sub-01_x",
    ]


def test_every_split_that_there_is_on_the_same_epochs() -> None:
    pytest.importorskip("pyriemann")
    first, second = recording("one-session1", seed=1), recording("one-session2", seed=2)
    other = recording("two", seed=3)
    rows = classes._across([first, second, other])
    assert [(row["recording"], row["split"]) for row in rows] == [
        ("one-session1", "by the other sessions"),
        ("one-session2", "by the other sessions"),
        ("one", "sessions pooled, by time"),
        ("everybody (a, b)", "people pooled, by time"),
    ]
    assert [row["epochs"] for row in rows] == [80, 80, 64, 96]
    assert all(float(row["AUC"]) > 0.8 for row in rows)
    assert "| one | sessions pooled, by time | 64 |" in classes.markdown(rows)


def test_sessions_with_different_channels_are_judged_by_what_both_have() -> None:
    pytest.importorskip("pyriemann")
    first, second = recording("one-session1", seed=1).data, recording("one-session2", seed=2).data
    less = replace(second, epochs=second.epochs[:, :2].copy(), channels=second.channels[:2])
    assert classes._judge(first, less).ours.shape == (80, 2)
    assert classes._judge(less, first).ours.shape == (80, 2)


def test_people_who_share_no_cap_are_not_pooled() -> None:
    pytest.importorskip("pyriemann")
    first, other = recording("one", seed=1), recording("two", seed=3)
    renamed = replace(other.data, channels=("Fp1", "Fpz", "P8"))
    assert classes._across([first, replace(other, data=renamed)]) == []


def test_who_shares_no_good_channels_with_the_others_is_left_out_by_name() -> None:
    pytest.importorskip("pyriemann")
    parts = [recording(name, seed=seed) for seed, name in enumerate(("one", "two", "three"))]
    less = replace(parts[1].data, epochs=parts[1].data.epochs[:, :1].copy(), channels=("P7",))
    parts[1] = replace(parts[1], data=less)
    (row,) = classes._across(parts)
    assert (row["recording"], row["epochs"]) == ("one, three (a, b)", 64)


def test_a_short_test_part_is_drawn_in_more_than_its_minutes() -> None:
    """Four minutes drawn with replacement make any small difference look sure."""
    assert len(np.unique(classes._stretches(np.arange(0, 236, 0.7)))) >= 24
    assert len(np.unique(classes._stretches(np.arange(0, 7200, 5.0)))) == 120


def test_worse_by_more_than_noise_is_said() -> None:
    rng = np.random.default_rng(0)
    rows = rng.permutation(np.arange(200) % 2)
    good = 0.5 + 0.4 * (rows - 0.5) + 0.1 * rng.standard_normal(200)
    poor = rng.uniform(size=200)
    both = [np.c_[1 - p, p] for p in (poor, good)]
    judged = classes.Judged(both[0], {"LDA": both[1]}, rows, np.arange(200) // 10)
    assert classes._row("x", "by time", judged)["worse"] == "yes"
    turned = classes.Judged(both[1], {"LDA": both[0]}, rows, judged.groups)
    found = classes._row("x", "by time", turned)
    assert found["worse"] == "no"
    assert found["commonest"] == "0.500"


def test_no_recordings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AppError, match="--data"):
        classes.run_classes_bench()
    pytest.importorskip("pyriemann")
    with pytest.raises(AppError, match="holds"):
        classes.run_classes_bench(data=str(tmp_path))
