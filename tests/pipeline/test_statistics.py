"""Accuracy against chance, checked against published values and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from pipeline.statistics import accuracy


def test_counts_interval_and_p() -> None:
    found = accuracy([1, 1, 2, 5, 6, 10, 3, 1, 4, 9], 10)
    assert (found.n, found.n_correct, found.n_top5) == (10, 3, 7)
    assert found.chance == pytest.approx(0.1)
    assert found.mean_rank == pytest.approx(4.2)
    # Wilson (1927), 3 of 10 at 95 %.
    assert (found.low, found.high) == pytest.approx((0.10779, 0.60322), abs=1e-4)
    # 1 - sum of Binomial(10, 0.1) up to 2.
    assert found.p_value == pytest.approx(0.0701908, abs=1e-6)


def test_at_chance_p_is_rarely_small() -> None:
    rng = np.random.default_rng(0)
    p = [accuracy(rng.integers(1, 21, 60).tolist(), 20).p_value for _ in range(300)]
    assert np.mean(np.array(p) < 0.05) <= 0.08


@pytest.mark.parametrize(("ranks", "n"), [([], 5), ([0], 5), ([6], 5), ([1], 1)])
def test_what_cannot_be_counted_is_refused(ranks: list[int], n: int) -> None:
    with pytest.raises(ConfigurationError, match="cannot be counted"):
        accuracy(ranks, n)
