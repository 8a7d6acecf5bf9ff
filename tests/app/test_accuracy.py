"""Accuracy against chance: what it counts, and that looking at any time raises no false alarm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.special import betaln

from app.accuracy import (
    Accuracy,
    Identification,
    PermutationTest,
    confidence_sequence,
    shuffled_chance,
)
from pipeline.errors import ConfigurationError

Trials = tuple[Sequence[str], Sequence[str]]
ALPHA = 0.05


def count(labels: Sequence[str], answers: Sequence[str], n_candidates: int) -> Accuracy:
    found = Identification(n_candidates)
    for label, answer in zip(labels, answers, strict=True):
        found.add(label, answer, 1 if label == answer else 2)
    assert found.accuracy is not None
    return found.accuracy


def words(numbers: np.ndarray) -> list[str]:
    return [f"s{number}" for number in numbers]


def test_counts_ranks_and_chance() -> None:
    found = Identification(10)
    assert found.accuracy is None
    labels, answers = "aabbc", "aabca"
    for label, answer, rank in zip(labels, answers, [1, 1, 1, 5, 6], strict=True):
        found.add(label, answer, rank)
    seen = found.accuracy
    assert seen is not None
    assert (seen.n, seen.n_correct, seen.n_top5) == (5, 3, 4)
    assert seen.mean_rank == pytest.approx(2.8)
    # Answers a, a, b, c, a meet the labels of the other four trials 1 + 1 + 1 + 1 + 2 times.
    assert seen.chance == pytest.approx(6 / 20)
    assert shuffled_chance(labels, [{answer} for answer in answers]) == pytest.approx(6 / 20)
    assert (seen.low, seen.high) == confidence_sequence(3, 5)


def test_answering_the_majority_is_no_decoding() -> None:
    """33 of 39 right: the share of the commonest label, and nothing more."""
    labels = ["a"] * 33 + ["b"] * 6
    np.random.default_rng(0).shuffle(labels)
    found = count(labels, ["a"] * 39, 227)
    assert (found.n_correct, found.n) == (33, 39)
    assert found.chance == pytest.approx(33 / 39)
    assert found.p_value == 1.0


def test_nine_of_twenty_three_among_many_is_decoding() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = words(rng.integers(0, 227, 23))
        wrong = words(rng.integers(0, 227, 23))
        is_right = rng.permutation(23) < 9
        answers = [a if ok else b for a, b, ok in zip(labels, wrong, is_right, strict=True)]
        assert count(labels, answers, 227).p_value < 0.01


@pytest.mark.parametrize("repeats", [True, False])
def test_stimuli_drawn_at_random_from_many_leave_the_test_its_power(repeats: bool) -> None:
    """20 of 30 among 227: drawn with repeats, or each once a round, as the app's own come."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = rng.integers(0, 227, 30) if repeats else rng.permutation(227)[:30]
        is_right = rng.permutation(30) < 20
        said = np.where(is_right, drawn, rng.integers(0, 227, 30))
        assert count(words(drawn), words(said), 227).p_value < 1e-12


def test_below_five_trials_no_verdict_is_possible() -> None:
    seen = [count(words(np.arange(n)), words(np.arange(n)), 227) for n in range(1, 7)]
    assert [each.is_few for each in seen] == [True] * 4 + [False] * 2
    assert [each.p_value == 1.0 for each in seen] == [True] * 4 + [False] * 2


def test_a_decoder_below_the_majoritys_rate_is_found_out() -> None:
    """Oddballs: it is right less often than 'never' would be, and yet knows them."""
    rng = np.random.default_rng(0)
    is_target = rng.random(200) < 1 / 6
    said = np.where(is_target, rng.random(200) < 0.8, rng.random(200) < 0.2)
    found = count(words(is_target), words(said), 2)
    assert found.n_correct / found.n < 5 / 6
    assert found.p_value < 0.001


def _balanced(rng: np.random.Generator, n: int) -> Trials:
    return words(rng.integers(0, 20, n)), words(rng.integers(0, 20, n))


def _majority(rng: np.random.Generator, n: int) -> Trials:
    return words(rng.random(n) < 0.15), words(np.zeros(n, bool))


def _mostly_majority(rng: np.random.Generator, n: int) -> Trials:
    return words(rng.random(n) < 0.15), words(rng.random(n) < 0.15)


def _coin(rng: np.random.Generator, n: int) -> Trials:
    return words(rng.integers(0, 2, n)), words(rng.integers(0, 2, n))


def _many(rng: np.random.Generator, n: int) -> Trials:
    return words(rng.integers(0, 227, n)), words(rng.integers(0, 227, n))


def _blocks(rng: np.random.Generator, n: int) -> Trials:
    """Every stimulus once a block, as the session's own stimuli come, against a fixed order."""
    labels = np.concatenate([rng.permutation(20) for _ in range(n // 20)])
    return words(labels), words(np.arange(n) % 20)


@pytest.mark.parametrize("null", [_balanced, _majority, _mostly_majority, _coin, _many, _blocks])
def test_stopping_at_the_best_moment_raises_no_false_alarm(
    null: Callable[[np.random.Generator, int], Trials],
) -> None:
    """Up to 1000 trials, looked at after each: p never rises, so the last is the smallest."""
    rng, n_runs = np.random.default_rng(1), 60
    alarms = 0
    for _ in range(n_runs):
        test = PermutationTest()
        for label, answer in zip(*null(rng, 1000), strict=True):
            test.add(label, answer)
        alarms += test.p_value <= ALPHA
    assert alarms <= ALPHA * n_runs


def test_p_never_rises_and_has_no_bounds_to_run_out_of() -> None:
    rng, test = np.random.default_rng(2), PermutationTest()
    seen = [test.p_value]
    for _ in range(1500):
        label = f"s{rng.integers(0, 227)}"
        test.add(label, label)
        seen.append(test.p_value)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 1.0
    assert 0.0 <= seen[-1] < 1e-300


@pytest.mark.parametrize(("n_correct", "n"), [(0, 1), (1, 1), (3, 10), (33, 39), (40, 40)])
def test_the_ends_of_the_interval_are_where_the_mixture_is_twenty_times(
    n_correct: int, n: int
) -> None:
    low, high = confidence_sequence(n_correct, n)
    assert low <= n_correct / n <= high
    mixture = betaln(n_correct + 0.5, n - n_correct + 0.5) - betaln(0.5, 0.5)
    for rate in (low, high):
        if 0 < rate < 1:
            own = n_correct * np.log(rate) + (n - n_correct) * np.log1p(-rate)
            assert np.exp(mixture - own) == pytest.approx(20.0, rel=1e-4)


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9])
def test_the_interval_holds_the_rate_at_every_look(rate: float) -> None:
    rng, n_runs = np.random.default_rng(3), 150
    looks = np.unique(np.geomspace(1, 1000, 60).astype(int))
    n_missed = 0
    for _ in range(n_runs):
        hits = np.cumsum(rng.random(1000) < rate)
        for n in looks:
            low, high = confidence_sequence(int(hits[n - 1]), int(n))
            if not low <= rate <= high:
                n_missed += 1
                break
    assert n_missed <= 0.05 * n_runs


def test_a_rank_outside_the_candidates_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="rank 6 cannot be counted, expected 1 to 5"):
        Identification(5).add("a", "b", 6)
