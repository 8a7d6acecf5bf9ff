"""Bursts and stalls, under a clock that is an argument."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.lsl.pacing import LINGER, BurstModel, Liveness


def simulate(*, burst: int, sfreq: float, chunk: float, n_bursts: int) -> list[tuple[float, int]]:
    """Pull from a source that sends `burst` samples at once; return (lateness, n) a pull.

    Within a burst the first sample comes a moment before the others, as over a socket.
    """
    arrivals = [
        (k + 1) * burst / sfreq + (1e-4 if within else 0.0)
        for k in range(n_bursts)
        for within in range(burst)
    ]
    model = BurstModel(sfreq, chunk)
    now, taken, pulls = 0.0, 0, []
    while taken < len(arrivals):
        began = now
        now = max(now, min(arrivals[taken], began + chunk))
        n_first = sum(1 for t in arrivals[taken : taken + 200] if t <= now)
        n_more, timeout = model.first(n_samples=n_first, waited=now - began)
        n_rest = 0
        if n_more:
            came = now
            rest = [t for t in arrivals[taken + n_first :][:n_more] if t <= came + timeout]
            n_rest = len(rest)
            now = max(came, rest[-1]) if n_rest == n_more else came + timeout
            model.rest(n_samples=n_rest, waited=now - came)
        if n_first:
            taken += n_first + n_rest
            pulls.append((now - arrivals[taken - 1], n_first + n_rest))
        now += 2e-5
    assert sum(n for _, n in pulls) == len(arrivals)
    return pulls


def test_a_burst_is_taken_whole_and_at_once():
    pulls = simulate(burst=10, sfreq=250, chunk=0.02, n_bursts=50)[10:]
    assert {n for _, n in pulls} == {10}
    assert max(late for late, _ in pulls) < 1e-3


def test_a_burst_longer_than_the_chunk_length_is_taken_whole():
    pulls = simulate(burst=100, sfreq=250, chunk=0.02, n_bursts=20)[5:]
    assert {n for _, n in pulls} == {100}


def test_single_samples_are_gathered_for_one_chunk_length():
    pulls = simulate(burst=1, sfreq=500, chunk=0.02, n_bursts=500)
    assert sum(n for _, n in pulls[5:]) / len(pulls[5:]) > 8
    assert max(late for late, _ in pulls) <= 0.02


@settings(deadline=None, max_examples=40)
@given(
    burst=st.integers(1, 60),
    sfreq=st.sampled_from([125.0, 250.0, 500.0, 1000.0, 2048.0]),
    chunk=st.sampled_from([0.001, 0.01, 0.02, 0.1]),
)
def test_no_sample_waits_longer_than_the_chunk_length(burst, sfreq, chunk):
    pulls = simulate(burst=burst, sfreq=sfreq, chunk=chunk, n_bursts=40)
    assert max(late for late, _ in pulls) <= max(chunk, LINGER) + 1e-4
    if burst > 1 and burst / sfreq >= chunk:  # learned by now; shorter ones are gathered
        assert max(late for late, _ in pulls[-10:]) <= LINGER + 1e-4


def test_an_irregular_stream_is_never_waited_for():
    model = BurstModel(0.0, 0.02)
    assert model.first(n_samples=3, waited=0.5) == (0, 0.0)


def test_a_stall_is_called_within_a_second():
    alive = Liveness(0.0)
    for k in range(100):
        alive.data(k * 0.04)
    last = 99 * 0.04
    assert not alive.stalled(last + 0.85)
    assert alive.stalled(last + 0.95)


def test_a_source_that_sends_every_two_seconds_is_given_three_intervals():
    alive = Liveness(0.0)
    for k in range(10):
        alive.data(k * 2.0)
        alive.data(k * 2.0 + 0.001)  # the second half of the burst
    assert not alive.stalled(18.0 + 5.9)
    assert alive.stalled(18.0 + 6.1)


def test_one_long_silence_does_not_blunt_the_watch():
    alive = Liveness(0.0)
    alive.data(30.0)
    for k in range(20):
        alive.data(30.0 + k * 0.04)
    assert alive.threshold == Liveness.FLOOR
