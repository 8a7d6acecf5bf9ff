"""The mean of free-running windows: what it is, and that it never crosses people."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from app.runtime.messages import AdapterKey, Steer
from app.runtime.smoothing import BREAK, Smoothing, mean_at
from configs import DecoderConfig, EpochsConfig, SessionConfig, load_preset
from pipeline.values import Embedding


def window(k: int, vector: list[float], *, at: float | None = None, **more: object) -> Embedding:
    values = np.array(vector, np.float32)
    more.setdefault("confidence", min(1.0, float(np.linalg.norm(values))))
    return Embedding(values, k, 0.25 * k if at is None else at, **more)  # type: ignore[arg-type]


def test_the_mean_is_exponential_and_begins_from_nothing() -> None:
    smoothing = Smoothing(0.75)
    lengths = [smoothing.take(window(k, [1.0, 0.0]), Steer()).confidence for k in range(4)]
    np.testing.assert_allclose(lengths, [1 - 0.75 ** (k + 1) for k in range(4)], rtol=1e-6)
    mean = smoothing.take(window(4, [0.0, 1.0]), Steer())
    np.testing.assert_allclose(mean.vector, [0.75 * (1 - 0.75**4), 0.25], rtol=1e-6)
    assert (mean.index, mean.t_onset) == (4, 1.0)


def test_on_the_way_lies_the_mean_with_a_part_of_the_newest_window() -> None:
    smoothing = Smoothing(0.75)
    first = smoothing.take(window(0, [1.0, 0.0]), Steer())
    assert smoothing.before is None, "it begins with fog, which is no picture to come from"
    mean = smoothing.take(window(1, [0.0, 1.0]), Steer())
    assert smoothing.before is first
    half = mean_at(0.5, first, mean)
    np.testing.assert_allclose(half.vector, (1 - 0.125) * first.vector + [0.0, 0.125])
    np.testing.assert_array_equal(mean_at(1.0, first, mean).vector, mean.vector)
    smoothing.take(window(2, [1.0, 0.0]), Steer(n_resets=1))
    assert smoothing.before is None, "another's"


def test_windows_that_contradict_one_another_stay_fog() -> None:
    smoothing = Smoothing(0.9)
    for k in range(100):
        mean = smoothing.take(window(k, [(-1.0) ** k, 0.0]), Steer())
    assert mean.confidence is not None
    assert mean.confidence < 0.06
    assert float(np.linalg.norm(mean.vector)) == pytest.approx(mean.confidence, rel=1e-4)


@pytest.mark.parametrize(
    "new",
    [
        {"steer": Steer(AdapterKey("another", "b"))},
        {"steer": Steer(n_resets=1)},
        {"at": 10 * 0.25 + BREAK},
    ],
)
def test_nothing_of_one_person_is_in_the_next_ones_pictures(new: dict[str, object]) -> None:
    smoothing, fresh = Smoothing(0.9), Smoothing(0.9)
    for k in range(10):
        smoothing.take(window(k, [1.0, 0.5], classes=(0.9, 0.1)), Steer())
    steer = new.get("steer", Steer())
    at = new.get("at", 10 * 0.25)
    first = window(10, [0.0, 1.0], at=at, classes=(0.5, 0.5))  # type: ignore[arg-type]
    mean, alone = smoothing.take(first, steer), fresh.take(first, steer)  # type: ignore[arg-type]
    np.testing.assert_array_equal(mean.vector, alone.vector)
    assert (mean.confidence, mean.classes) == (alone.confidence, alone.classes)


def test_classes_and_conditions_are_means_and_nothing_is_made_up() -> None:
    smoothing = Smoothing(0.5)
    kinds = {"classes": (0.9, 0.1), "condition": np.ones(3, np.float32), "confidence": None}
    mean = smoothing.take(window(0, [1.0, 0.0], **kinds), Steer())
    assert mean.confidence is None
    np.testing.assert_allclose(mean.classes, [0.7, 0.3], rtol=1e-6)
    assert mean.condition is not None
    np.testing.assert_allclose(mean.condition, 0.5)


def test_switched_off_it_changes_nothing_and_markers_have_their_own_pictures() -> None:
    one = window(0, [1.0, 0.0])
    assert Smoothing(0.0).take(one, Steer()) is one
    assert load_preset("stage").decoder.smoothing > 0
    assert SessionConfig().decoder.smoothing == 0
    with pytest.raises(ValidationError, match=r"expected 0 unless epochs\.mode is 'free'"):
        SessionConfig(decoder=DecoderConfig(smoothing=0.5), epochs=EpochsConfig(mode="event"))
