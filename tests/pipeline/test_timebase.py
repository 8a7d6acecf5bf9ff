"""The time base: smooth times, exact loss, and no chunk border anywhere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stretches import Stretch
from pipeline.timebase import TimeBase

FS = 250.0


def _feed(
    base: TimeBase,
    stamps: np.ndarray,
    *,
    counts: np.ndarray | None = None,
    values: np.ndarray | None = None,
    cuts: list[int] | None = None,
) -> list[Stretch]:
    """Feed a one-channel stream whose values are sample numbers, cut as asked."""
    n_times = len(stamps)
    values = np.arange(n_times) if values is None else values
    data = values.astype(np.float32)[None]
    edges = sorted({0, n_times, *(cut % (n_times + 1) for cut in cuts or [])})
    out: list[Stretch] = []
    for low, high in pairwise(edges):
        out += base.feed(
            data[:, low:high],
            stamps[low:high],
            np.zeros(high - low, bool),
            None if counts is None else counts[low:high],
        )
    return out + base.finish()


def _all(stretches: list[Stretch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    times = np.concatenate([s.timestamps for s in stretches])
    values = np.concatenate([s.data[0] for s in stretches])
    segments = np.concatenate([np.full(len(s.timestamps), s.segment) for s in stretches])
    return times, values, segments


def _jitter(n_times: int, size: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-size, size, n_times)


def test_a_clean_stream_is_one_run_with_its_own_stamps() -> None:
    stamps = 1e5 + np.arange(5000) / FS
    base = TimeBase(FS)
    times, values, segments = _all(_feed(base, stamps, cuts=list(range(0, 5000, 10))))
    np.testing.assert_allclose(times, stamps, atol=1e-9)
    np.testing.assert_array_equal(values, np.arange(5000))
    assert set(segments) == {0}
    assert (base.n_lost, base.n_gaps, base.n_duplicates) == (0, 0, 0)


@pytest.mark.parametrize("size", [0.001, 0.005])
def test_jitter_is_smoothed_below_half_a_sample(size: float) -> None:
    true = 50 + np.arange(15_000) / FS
    base = TimeBase(FS)
    times, _, _ = _all(_feed(base, true + _jitter(15_000, size)))
    assert base.n_gaps == 0
    assert (np.diff(times) > 0).all()
    assert np.abs(times - true)[100:].max() < 0.5 / FS
    assert np.abs(times - true)[2500:].max() < 0.15 / FS


def test_gaussian_jitter_of_5_ms_makes_no_gap() -> None:
    true = 50 + np.arange(60_000) / FS
    base = TimeBase(FS)
    noise = np.random.default_rng(5).normal(0, 0.005, 60_000)
    times, _, _ = _all(_feed(base, true + noise))
    assert base.n_gaps == 0
    assert np.abs(times - true)[500:].max() < 0.5 / FS


@pytest.mark.parametrize("n_chunk", [4, 10, 32])
@pytest.mark.parametrize("jitter", [0.0, 0.005])
def test_one_stamp_a_chunk_makes_no_gap(n_chunk: int, jitter: float) -> None:
    number = np.arange(9600)
    push = number // n_chunk * n_chunk
    stamps = 10 + push / FS + _jitter(9600, jitter)[push]
    base = TimeBase(FS)
    times, values, _ = _all(_feed(base, stamps, cuts=list(range(0, 9600, n_chunk))))
    assert (base.n_gaps, base.n_duplicates, len(values)) == (0, 0, 9600)
    step = np.diff(times)[1000:] * FS
    assert (np.abs(step - 1) < 0.25).all()


@pytest.mark.parametrize("rate", [247.0, 249.9, 250.02, 253.0])
def test_a_wrong_nominal_rate_is_learnt(rate: float) -> None:
    true = 10 + np.arange(15_000) / rate
    base = TimeBase(FS)
    times, _, _ = _all(_feed(base, true + _jitter(15_000, 0.001)))
    assert base.n_gaps == 0
    assert base.effective_sfreq == pytest.approx(rate, rel=1e-4)
    assert np.abs(times - true)[250:].max() < 0.5 / FS


@pytest.mark.parametrize("n_lost", [1, 2, 10, 250, 2500])
def test_loss_is_counted_from_clean_stamps(n_lost: int) -> None:
    number = np.concatenate((np.arange(3000), np.arange(3000 + n_lost, 6000 + n_lost)))
    base = TimeBase(FS)
    stamps = 10 + number / FS + _jitter(6000, 1e-5)
    times, values, segments = _all(_feed(base, stamps))
    assert base.n_lost == n_lost
    assert [b.n_lost for b in base.breaks] == [n_lost]
    assert [b.sample for b in base.breaks] == [3000]
    np.testing.assert_array_equal(segments, np.repeat([0, 1], 3000))
    np.testing.assert_allclose(times, stamps, atol=1e-4)
    assert len(values) == 6000


@pytest.mark.parametrize("n_lost", [2, 5, 25, 250])
def test_loss_is_counted_under_5_ms_jitter(n_lost: int) -> None:
    number = np.concatenate((np.arange(5000), np.arange(5000 + n_lost, 10_000 + n_lost)))
    true = 10 + number / FS
    base = TimeBase(FS)
    times, _, segments = _all(_feed(base, true + _jitter(10_000, 0.005)))
    assert base.n_lost == n_lost
    assert base.n_gaps == 1
    border = int(np.flatnonzero(np.diff(segments))[0]) + 1
    assert 5000 <= border <= 5000 + 0.3 * FS
    error = np.abs(times - true)
    assert error[500:5000].max() < 0.5 / FS
    assert error[border + 75 :].max() < 0.5 / FS


def test_loss_is_exact_with_a_counter_under_jitter_and_random_loss() -> None:
    """Goal E4: 5 ms jitter, 1 % random loss, a 1 s gap."""
    rng = np.random.default_rng(11)
    keep = rng.random(30_000) > 0.01
    keep[15_000:15_250] = False
    keep[0] = keep[-1] = True
    number = np.flatnonzero(keep)
    true = 10 + number / FS
    base = TimeBase(FS, has_counter=True)
    times, values, _ = _all(
        _feed(base, true + _jitter(len(number), 0.005), counts=number % 256.0, values=number)
    )
    assert base.n_lost == 30_000 - len(number)
    np.testing.assert_array_equal(values, number.astype(np.float32))
    late = np.arange(len(number)) > 250
    assert np.abs(times - true)[late].max() < 0.5 / FS


@pytest.mark.parametrize("wrap", [256, 65536, 2**24])
@pytest.mark.parametrize("n_lost", [0, 1, 7, 255, 256, 300])
def test_counter_wraps(wrap: int, n_lost: int) -> None:
    number = np.concatenate((np.arange(2000), np.arange(2000 + n_lost, 4000 + n_lost)))
    start = wrap - 1100
    counts = ((start + number) % wrap).astype(float)
    base = TimeBase(FS, has_counter=True)
    out = _feed(base, 10 + number / FS + _jitter(4000, 0.002), counts=counts)
    # A loss of whole wraps of an 8-bit counter shows in the stamps alone.
    assert base.n_lost == n_lost
    assert sum(len(s.timestamps) for s in out) == 4000


def test_repeated_packets_are_dropped() -> None:
    number = np.concatenate((np.arange(500), np.arange(480, 500), np.arange(500, 1000)))
    for counts in (None, number % 256.0):
        base = TimeBase(FS, has_counter=counts is not None)
        stamps = 10 + number / FS
        _, values, segments = _all(_feed(base, stamps, counts=counts, values=number))
        np.testing.assert_array_equal(values, np.arange(1000))
        assert base.n_duplicates == 20
        assert set(segments) == {0}


def test_single_repeats_under_jitter_are_dropped() -> None:
    number = np.repeat(np.arange(2000), np.where(np.arange(2000) % 97 == 5, 2, 1))
    stamps = (10 + np.arange(2000) / FS + _jitter(2000, 0.005))[number]
    base = TimeBase(FS)
    _, values, _ = _all(_feed(base, stamps, values=number))
    np.testing.assert_array_equal(values, np.arange(2000))
    assert base.n_lost == base.n_gaps == 0


def test_a_stray_stamp_is_replaced_by_the_line() -> None:
    true = 10 + np.arange(5000) / FS
    stamps = true.copy()
    stamps[2000] += 0.5
    stamps[3000] -= 0.5
    stamps[4000] = np.nan
    base = TimeBase(FS)
    times, _, segments = _all(_feed(base, stamps))
    np.testing.assert_allclose(times, true, atol=1e-6)
    assert set(segments) == {0}
    assert base.n_strays == 2


@pytest.mark.parametrize("jump", [5.0, -5.0])
def test_a_clock_jump_starts_a_run(jump: float) -> None:
    stamps = 100 + np.arange(4000) / FS
    stamps[2000:] += jump
    base = TimeBase(FS)
    times, values, segments = _all(_feed(base, stamps))
    np.testing.assert_array_equal(segments, np.repeat([0, 1], 2000))
    np.testing.assert_allclose(times, stamps, atol=1e-6)
    assert len(values) == 4000
    assert base.n_lost == (1250 if jump > 0 else 0)


def test_offset_follows_probes_but_not_a_wild_one() -> None:
    base = TimeBase(FS)
    base.add_probe(1000.0, 900.0)
    out: list[Stretch] = []
    for i in range(12):
        number = np.arange(i * 1250, (i + 1) * 1250)
        sender = 100 + number / FS
        out += base.feed(number.astype(np.float32)[None], sender, np.zeros(1250, bool))
        offset = 900.0 + 1e-4 * (i + 1)
        base.add_probe(float(sender[-1]) + offset, offset + (3.0 if i == 5 else 0.0))
    out += base.finish()
    times, values, _ = _all(out)
    values = values.astype(np.float64)
    truth = 100 + values / FS + 900 + 1e-4 * np.floor(values / 1250)
    assert np.abs(times - truth).max() < 1.1e-4 * 2
    assert base.n_gaps == 0
    assert (np.diff(times) > 0).all()


def test_a_lasting_jump_of_the_offset_starts_a_run() -> None:
    base = TimeBase(FS)
    base.add_probe(0.0, 1.0)
    zeros = np.zeros((1, 250), np.float32)
    flags = np.zeros(250, bool)
    first = base.feed(zeros, 10 + np.arange(250) / FS, flags)
    base.add_probe(5.0, 6.0)
    base.add_probe(10.0, 6.001)
    second = base.feed(zeros, 11 + np.arange(250) / FS, flags)
    assert [s.segment for s in first + second] == [0, 1]
    assert second[0].timestamps[0] == pytest.approx(17.001, abs=1e-6)
    assert base.n_lost == 0


def test_return_of_the_stream_starts_a_run() -> None:
    base = TimeBase(FS)
    zeros = np.zeros((1, 250), np.float32)
    flags = np.zeros(250, bool)
    base.feed(zeros, 10 + np.arange(250) / FS, flags)
    base.restart("the stream returned")
    (after,) = base.feed(zeros, 13 + np.arange(250) / FS, flags)
    base.finish()
    assert after.is_first
    assert after.segment == 1
    assert base.breaks[0].reason == "the stream returned"
    assert base.n_lost == 500


def _hostile(rng: np.random.Generator, n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Stamps and numbers with loss, repeats, strays, jitter and jumps."""
    number = np.flatnonzero(rng.random(n_times) > 0.003)
    if rng.random() < 0.7:
        at = int(rng.integers(1, len(number) - 1))
        number = number[(number < number[at]) | (number > number[at] + int(rng.integers(1, 400)))]
    at = int(rng.integers(0, max(1, len(number) - 30)))
    size = int(rng.integers(0, 30))
    stamps = 10 + number / FS + rng.normal(0, rng.choice([0, 1e-4, 5e-3]), len(number))
    number = np.concatenate((number[: at + size], number[at:]))
    stamps = np.concatenate((stamps[: at + size], stamps[at:]))
    strays = rng.random(len(stamps)) < 0.002
    stamps[strays] += rng.choice([-1, 0.3, np.nan], strays.sum())
    if rng.random() < 0.4:
        stamps[int(rng.integers(len(stamps))) :] += rng.choice([5.0, -5.0])
    return stamps, number


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    has_counter=st.booleans(),
    cuts=st.lists(st.integers(0, 3000), max_size=40),
)
def test_any_cut_gives_the_same_bits(seed: int, has_counter: bool, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    stamps, number = _hostile(rng, 1500)
    counts = number % 256.0 if has_counter else None
    whole = TimeBase(FS, has_counter=has_counter)
    parts = TimeBase(FS, has_counter=has_counter)
    a = _all(_feed(whole, stamps, counts=counts, values=number))
    b = _all(_feed(parts, stamps, counts=counts, values=number, cuts=cuts))
    for left, right in zip(a, b, strict=True):
        assert left.tobytes() == right.tobytes()
    assert list(whole.breaks) == list(parts.breaks)
    assert whole.n_lost == parts.n_lost
    assert whole.n_duplicates == parts.n_duplicates
    # Nothing vanishes uncounted, and time goes up inside each run.
    assert len(a[0]) + whole.n_duplicates == len(stamps)
    assert (np.diff(a[0])[np.diff(a[2]) == 0] > 0).all()


@pytest.mark.parametrize("n_chunk", [1, 10])
def test_a_sender_that_stalls_and_catches_up_loses_nothing(n_chunk: int) -> None:
    """One delay a chunk, 3 ms on average, and 0.5 % of chunks 50 ms late."""
    rng = np.random.default_rng(1)
    true = 10 + np.arange(30_000) / FS
    n_pushes = len(true) // n_chunk
    delay = rng.exponential(0.003, n_pushes)
    delay += (rng.random(n_pushes) < 0.005 * n_chunk / 10) * rng.exponential(0.05, n_pushes)
    push = np.maximum.accumulate(true[n_chunk - 1 :: n_chunk] + delay)
    stamps = (push[:, None] - np.arange(n_chunk)[::-1] / FS).ravel()
    base = TimeBase(FS)
    times, _, _ = _all(_feed(base, stamps))
    assert (base.n_gaps, base.n_lost, base.n_duplicates, len(times)) == (0, 0, 0, 30_000)
    error = (times - true)[2500:]  # the mean delay of the sender cannot be known
    assert np.abs(error - np.median(error)).max() < 0.5 / FS
