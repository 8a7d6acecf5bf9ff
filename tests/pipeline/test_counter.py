"""Counters as boards have them: whatever the pattern, no loss is made up and none is missed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.counter import CounterPattern, SampleCounter
from pipeline.counter_learning import learn_pattern
from pipeline.stretches import Stretch
from pipeline.timebase import TimeBase
from pipeline.values import Float64

FS = 250.0
GANGLION = CounterPattern(repeats=2, last=100, first_repeats=1)
PATTERNS = {
    "cyton": CounterPattern(last=255),
    "daisy": CounterPattern(step=2, last=254),
    "ganglion": GANGLION,
    "ganglion 19 bits": CounterPattern(repeats=2, last=200, first_repeats=1, second=101),
    "older firmware": CounterPattern(last=200),
    "older still": CounterPattern(last=199),
    "short of a byte": CounterPattern(last=254),
    "muse": CounterPattern(repeats=12, last=65535),
    "from one": CounterPattern(last=100, first=1),
}


@dataclass(frozen=True)
class Sent:
    """What a board sends: numbers, and which samples of the whole they are."""

    counts: Float64
    packages: list[np.ndarray]


def _sent(pattern: CounterPattern, n_times: int, start: int = 0) -> Sent:
    """Numbers of `n_times` samples, and the samples of each package."""
    lap: list[int] = []
    value = float(pattern.first)
    while True:
        lap += [int(value)] * pattern.repeats_of(value)
        if value == pattern.last:
            break
        value = pattern.after(value)
    counts = np.array(lap)[(start + np.arange(n_times)) % len(lap)].astype(np.float64)
    edges = np.flatnonzero(np.diff(counts)) + 1
    return Sent(counts, np.split(np.arange(n_times), edges))


def _run(
    counts: Float64, stamps: Float64, cuts: list[int] | None = None, **options: object
) -> tuple[TimeBase, list[Stretch]]:
    base = TimeBase(FS, has_counter=True, **options)  # type: ignore[arg-type]
    stretches: list[Stretch] = []
    data = np.arange(len(counts), dtype=np.float32)[np.newaxis]
    edges = [0, *(cuts or range(25, len(counts), 25)), len(counts)]
    for low, high in pairwise(edges):
        part = slice(low, high)
        bad = np.zeros(high - low, dtype=bool)
        stretches += base.feed(data[:, part], stamps[part], bad, counts[part])
    return base, stretches + base.finish()


def _values(stretches: list[Stretch]) -> Float64:
    return np.concatenate([s.data[0] for s in stretches]).astype(np.float64)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("jitter", [0.0, 0.005, 0.02])
def test_no_board_loses_samples_that_came(name: str, jitter: float) -> None:
    sent = _sent(PATTERNS[name], 6000, start=37)
    noise = np.random.default_rng(3).normal(0, jitter, 6000) if jitter else np.zeros(6000)
    base, stretches = _run(sent.counts, 10 + np.arange(6000) / FS + noise)
    assert base.n_lost == 0
    assert base.n_duplicates == 0
    assert base.counter_note == ""
    np.testing.assert_array_equal(_values(stretches), np.arange(6000))


@settings(max_examples=25, deadline=None)
@given(
    step=st.sampled_from([1, 1, 1, 2, 4]),
    last=st.sampled_from([99, 100, 127, 199, 200, 252, 254, 255, 1023]),
    repeats=st.sampled_from([1, 1, 2, 3, 5, 12]),
    start=st.integers(0, 5000),
    jitter=st.sampled_from([0.0, 0.001, 0.004]),
    losses=st.lists(st.tuples(st.floats(0.5, 0.98), st.integers(1, 6)), max_size=6),
    seed=st.integers(0, 99),
)
@example(1, 254, 1, 0, 0.0, [], 0)
@example(1, 255, 12, 0, 0.0, [(0.6, 1)], 0)
def test_lost_packages_are_counted_in_samples(
    step: int,
    last: int,
    repeats: int,
    start: int,
    jitter: float,
    losses: list[tuple[float, int]],
    seed: int,
) -> None:
    pattern = CounterPattern(step, repeats, last=last - last % step)
    n_times = max(3000, 4 * (pattern.lap or 0))
    sent = _sent(pattern, n_times, start)
    keep = np.ones(n_times, dtype=bool)
    for share, n_packages in losses:
        at = int(share * len(sent.packages))
        for package in sent.packages[at : at + n_packages]:
            keep[package] = False
    keep[-1] = True
    noise = np.random.default_rng(seed).normal(0, 1, n_times) * jitter
    stamps = 10 + np.arange(n_times) / FS + noise
    base, stretches = _run(sent.counts[keep], stamps[keep])
    assert base.counter_note == ""
    assert base.n_lost == n_times - keep.sum()
    assert len(_values(stretches)) == keep.sum()


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(PATTERNS)),
    cuts=st.lists(st.integers(1, 1999), max_size=30),
    start=st.integers(0, 300),
    seed=st.integers(0, 9),
)
def test_where_the_stream_is_cut_changes_no_bit(
    name: str, cuts: list[int], start: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sent = _sent(PATTERNS[name], 2000, start)
    keep = rng.random(2000) > 0.01
    counts, stamps = (
        sent.counts[keep],
        (10 + np.arange(2000) / FS + rng.normal(0, 0.003, 2000))[keep],
    )
    whole = _run(counts, stamps, cuts=[len(counts)])
    parts = _run(counts, stamps, cuts=sorted(c for c in set(cuts) if c < len(counts)))
    assert whole[0].n_lost == parts[0].n_lost
    assert whole[0].counter_note == parts[0].counter_note
    for read in (lambda s: s.timestamps, lambda s: s.data[0]):
        np.testing.assert_array_equal(
            np.concatenate([read(s) for s in whole[1]]), np.concatenate([read(s) for s in parts[1]])
        )


@pytest.mark.parametrize(
    ("name", "n_samples"), [("ganglion", 2), ("muse", 12), ("cyton", 1), ("daisy", 1)]
)
def test_a_lost_package_is_as_many_samples_as_it_holds(name: str, n_samples: int) -> None:
    sent = _sent(PATTERNS[name], 4000)
    keep = np.ones(4000, dtype=bool)
    keep[next(p for p in sent.packages if p[0] > 2500)] = False
    base, _ = _run(sent.counts[keep], (10 + np.arange(4000) / FS)[keep])
    assert base.n_lost == n_samples


def test_a_counter_that_means_nothing_is_said_and_the_stamps_count() -> None:
    counts = np.random.default_rng(0).integers(0, 256, 3000).astype(np.float64)
    number = np.concatenate((np.arange(1500), np.arange(1600, 3100)))
    base, stretches = _run(counts, 10 + number / FS)
    assert base.n_lost == 100
    assert "no pattern is found" in base.counter_note
    assert len(_values(stretches)) == 3000


def test_a_counter_that_contradicts_the_stamps_later_is_said() -> None:
    """It begins as a count of samples, and then skips every tenth number."""
    counts = np.concatenate((np.arange(1000), 1000 + np.arange(4000) * 10 // 9)) % 65536.0
    base, stretches = _run(counts, 10 + np.arange(5000) / FS)
    assert "more than the stamps" in base.counter_note
    # Of 444 that the numbers told of; the rest is what the shaken line saw.
    assert base.n_lost <= 15
    assert len(_values(stretches)) == 5000


def test_what_a_board_describes_is_begun_with() -> None:
    """Every package of two comes once: only the description tells that half is lost."""
    sent = _sent(CounterPattern(repeats=2, last=255), 4000)
    base, _ = _run(sent.counts, 10 + np.arange(4000) / FS, pattern=CounterPattern(repeats=2))
    assert base.n_lost == 0
    older = _sent(PATTERNS["older firmware"], 4000)
    base, _ = _run(older.counts, 10 + np.arange(4000) / FS, pattern=CounterPattern(repeats=2))
    assert (base.n_lost, base.counter_note) == (0, "")


def test_a_pattern_is_described_and_read_back() -> None:
    for pattern in PATTERNS.values():
        desc = {"acquisition": [{"counter": [pattern.to_table()]}]}
        assert CounterPattern.of_stream(desc) == pattern
    for table in ({"step": ["0"]}, {"repeats": ["x"]}, {"last": ["-1"]}, "text"):
        assert CounterPattern.of_stream({"acquisition": [{"counter": [table]}]}) is None
    assert CounterPattern.of_stream({}) is None


@pytest.mark.parametrize("name", ["ganglion", "ganglion 19 bits", "older firmware"])
def test_a_stretch_of_two_laps_shows_the_whole_pattern(name: str) -> None:
    counts = _sent(PATTERNS[name], 1000).counts.tolist()
    assert learn_pattern(counts, [k / FS for k in range(1000)], FS) == PATTERNS[name]


def test_every_second_sample_lost_is_not_a_step_of_two() -> None:
    counts = [float(k % 256) for k in range(0, 400, 2)]
    stamps = [k / FS for k in range(0, 400, 2)]
    found = learn_pattern(counts, stamps, FS)
    assert found is not None
    assert found.step == 1


def test_distances_are_in_samples() -> None:
    counter = SampleCounter(GANGLION)
    counter.begin(99.0)
    counter.accept([100.0, 100.0, 0.0], 0, 3)
    assert counter.is_next(1.0)
    assert not counter.is_next(0.0)
    assert counter.advance(2.0, 3.0) == 3
    assert counter.advance(0.0, 202.0) == 201
    assert counter.advance(150.0, 2.0) is None
